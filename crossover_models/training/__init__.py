"""Training of the encoders on generated rooms."""
