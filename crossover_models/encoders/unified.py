"""The unified encoders: raw data of any modality in, a code of the shared space out, which is a vector alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossover_models.building import Mesh
from crossover_models.encoders.checkpoint import (
    Checkpoint,
    checkpoint_kind,
    find_checkpoint,
    fingerprint,
    load_checkpoint,
    load_strictly,
)
from crossover_models.encoders.errors import EncoderError
from crossover_models.encoders.front_ends import FeatureSizes, ImageFrontEnd, TextFrontEnd, open_front_ends
from crossover_models.encoders.inputs import checked_images, cloud_voxels, surface_points
from crossover_models.encoders.network import UnifiedNetwork
from crossover_models.encoders.plan_patch import plan_features
from crossover_models.encoders.profile import EncoderProfile
from crossover_models.floor_plan import FloorPlan
from crossover_models.observation import Code

if TYPE_CHECKING:
    from crossover_models.sets.encoder import SetsEncoder


def pick_device(device: str) -> str:
    """``auto`` is CUDA where there is one.

    Raises:
        EncoderError: unknown name, or CUDA where there is none.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise EncoderError(f"device: must be auto, cpu or cuda, got {device!r}")
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise EncoderError("device: cuda was asked for and torch sees none")
    return "cuda" if device != "cpu" and available else "cpu"


class UnifiedEncoder:
    """Encoders of one checkpoint, in evaluation mode; the same input always gives the same vector on one machine.

    Codes have no tokens: places are compared by the cosine of their vectors.
    """

    interaction = None

    def __init__(self, checkpoint: Checkpoint, image: ImageFrontEnd, text: TextFrontEnd, device: str = "cpu") -> None:
        """Load strictly.

        Raises:
            EncoderError: tensors missing, unexpected, reshaped or not finite; or not those that the description names.
        """
        self.profile: EncoderProfile = checkpoint.profile
        self.device = device
        self.fingerprint = fingerprint(self.profile, checkpoint.state, image, text)
        described = checkpoint.description.get("fingerprint")
        sizes = FeatureSizes(image.view_dim, image.plan_dim, text.dim)
        self.network = UnifiedNetwork(self.profile, sizes)
        load_strictly(self.network, checkpoint.state, str(checkpoint.path))
        if described is not None and described != self.fingerprint:
            raise EncoderError(
                f"{checkpoint.path}: fingerprint {self.fingerprint} is not the {described} that its .json describes"
            )
        self.network.eval().requires_grad_(False).to(device)
        self._image, self._text = image, text

    @property
    def embedding_dim(self) -> int:
        """D."""
        return self.profile.embedding_dim

    @property
    def runtime(self) -> str:
        """What runs the image network, and why; measured when it is first asked for."""
        choice = getattr(self._image, "choice", None)
        return choice.sentence() if choice is not None else "torch"

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Code:
        """Views of one place, each (H, W, 3) uint8 RGB of any size -> (D,) unit norm; one view is enough.

        Raises:
            EncoderError: no view, or one that is no such picture.
        """
        views = self._image.views(checked_images(images))
        with torch.inference_mode():
            mask = torch.ones(1, len(views), dtype=torch.bool, device=self.device)
            return _code(self.network.images(views[None].to(self.device), mask))

    def encode_point_cloud(self, points: NDArray[np.float32], colors: NDArray[np.uint8] | None = None) -> Code:
        """Gravity-aligned points (N, 3), metres, z = 0 on the floor, x and y anywhere -> (D,) unit norm.

        Args:
            points: finite, floating point.
            colors: (N, 3) uint8 RGB or None.

        Raises:
            EncoderError: an empty cloud, points that are not finite, or shapes that do not agree.
        """
        voxels = cloud_voxels(self.profile, points, colors)
        coordinates = torch.from_numpy(np.pad(voxels.coordinates, ((0, 0), (1, 0)))).to(self.device)
        with torch.inference_mode():
            return _code(self.network.points(coordinates, torch.from_numpy(voxels.features).to(self.device), 1))

    def encode_mesh(self, meshes: Sequence[Mesh], poses: Sequence[NDArray[np.float64] | None] | None = None) -> Code:
        """CAD models of one place in a gravity-aligned frame, z = 0 on the floor -> (D,) unit norm, by the 3D encoder.

        Args:
            meshes: one an object.
            poses: of the models' own frames, which this encoder does not look at.

        Raises:
            EncoderError: no mesh, or none with a surface.
        """
        points, colors = surface_points(meshes, self.profile.mesh_points_per_m2, self.profile.mesh_max_points)
        return self.encode_point_cloud(points, colors)

    def encode_floor_plan(self, plan: FloorPlan, polygon: NDArray[np.float64]) -> Code:
        """The metric patch of a plan around a place's outline (N, 2), map frame, metres -> (D,) unit norm.

        Raises:
            EncoderError: an outline that is none, or nothing drawn around it.
        """
        features = plan_features(self._image, self.profile, plan, polygon)[None]
        with torch.inference_mode():
            return _code(self.network.floor_plan(features.to(self.device)))

    def encode_text(self, text: str | Sequence[str]) -> Code:
        """A description or referrals, in one string or several that are joined -> (D,) unit norm.

        Raises:
            EncoderError: nothing but white space.
        """
        parts = (text,) if isinstance(text, str) else tuple(text) if isinstance(text, Sequence) else (text,)
        if not all(isinstance(part, str) for part in parts) or not "".join(parts).strip():
            raise EncoderError(f"text: must say something, got {text!r}")
        features = self._text.texts([" ".join(part.strip() for part in parts if part.strip())])
        with torch.inference_mode():
            return _code(self.network.text(features.to(self.device)))


if TYPE_CHECKING:
    SceneEncoder = UnifiedEncoder | SetsEncoder


def _code(batch: Tensor) -> Code:
    vector = batch[0].float().cpu().numpy()
    if not np.isfinite(vector).all():
        raise EncoderError("embedding: not finite; the weights overflow on this input")
    return Code(np.asarray(vector, dtype=np.float32))


def load_encoder(checkpoint: str = "", device: str = "auto") -> SceneEncoder:
    """The encoders of a checkpoint: a safetensors file, a directory with one, or "" for the shipped one.

    What the JSON beside the file says decides which kind of encoder it is.

    Raises:
        EncoderError: whatever is wrong with the checkpoint, the front ends or the device, in one line.
    """
    where = pick_device(device)
    path = find_checkpoint(checkpoint)
    kind = checkpoint_kind(path)
    if kind == "sets":
        from crossover_models.sets.encoder import open_sets_encoder

        return open_sets_encoder(path, where)
    if kind:
        raise EncoderError(f"{path}: kind {kind!r} is no encoder's")
    read = load_checkpoint(checkpoint)
    image, text = open_front_ends(read.profile, where)
    return UnifiedEncoder(read, image, text, where)
