"""Figures, benchmarks and reports."""
