"""CrossOver's encoders: text (1D), images and floor plans (2D), points and meshes (3D) into one space."""

from typing import TYPE_CHECKING

from crossover_models.encoders.errors import EncoderError
from crossover_models.encoders.unified import UnifiedEncoder, load_encoder

if TYPE_CHECKING:
    from crossover_models.encoders.unified import SceneEncoder

__all__ = ["EncoderError", "SceneEncoder", "UnifiedEncoder", "load_encoder"]
