"""The paper's tasks and metrics (arXiv 2502.15011, section 4), by rank and over whole galleries."""
