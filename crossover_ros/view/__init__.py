"""The live page of ``crossover view``: what the localizer says, for machines with a browser and nothing else."""
