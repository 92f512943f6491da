"""CrossOver as published (arXiv 2502.15011): the three stages with the official checkpoints' names and shapes."""
