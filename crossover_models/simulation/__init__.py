"""Simulated buildings, sensors and robot runs; everything made here is called simulated wherever it is shown."""
