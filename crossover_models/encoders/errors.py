"""What encoders refuse."""

from __future__ import annotations


class EncoderError(ValueError):
    """Input or weights that cannot be used; the message names the field or tensor and its value."""
