"""Mutated inputs for everything that reads what others wrote, in child processes, so that a death is counted too."""
