"""CrossOver's unified encoders: text (1D), images and floor plans (2D), points and meshes (3D) into one space."""

from crossover_models.encoders.errors import EncoderError
from crossover_models.encoders.unified import UnifiedEncoder, load_encoder

__all__ = ["EncoderError", "UnifiedEncoder", "load_encoder"]
