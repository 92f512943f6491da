"""CrossOver's stages (arXiv 2502.15011, section 3) as the training loop takes them."""
