"""Nearest places among many.

An index over unit vectors that is filtered before the search, changed in place, and opened from disk without being
read.

A map below :data:`~crossover_models.index.choice.FLAT_PLACES` places keeps its small exact indexes in memory
(:mod:`crossover_models.retrieval`), so that a map stays one file.
"""
