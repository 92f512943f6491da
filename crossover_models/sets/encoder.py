"""The encoder with explicit sets: raw data of any modality in, vector and tokens out.

What it makes of raw data is what training and evaluation make of the same data through the cache of features
(:mod:`crossover_models.dataset.extract`, :mod:`crossover_models.sets.batches`); the same functions are called.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossover_models.building import Furnishing, Mesh
from crossover_models.dataset.extract import FeatureSettings, model_points, thinned
from crossover_models.dataset.objects import scene_object
from crossover_models.dataset.scene import SceneObject, ScenePoints
from crossover_models.encoders.checkpoint import SCHEMA_VERSION
from crossover_models.encoders.efficientnet import EfficientNetLite0, pooled_view
from crossover_models.encoders.errors import EncoderError
from crossover_models.encoders.front_ends import FeatureSizes, ImageFrontEnd, TextFrontEnd
from crossover_models.encoders.inputs import checked_cloud, checked_images, surface_points
from crossover_models.encoders.minilm import MiniLM
from crossover_models.encoders.plan_patch import plan_features
from crossover_models.encoders.profile import SMALL, EncoderProfile
from crossover_models.encoders.shapes import SHAPE_POINTS, spread
from crossover_models.floor_plan import FloorPlan
from crossover_models.observation import Code
from crossover_models.sets import batches
from crossover_models.sets.checkpoint import SetsModel, load_model
from crossover_models.sets.codes import Codes
from crossover_models.sets.inputs import (
    MeshInput,
    PlanInput,
    ViewsInput,
    cloud_input,
    mesh_raster,
    object_geometry,
    padded,
    placed,
)
from crossover_models.sets.interaction import Interaction
from crossover_models.sets.palette import palette
from crossover_models.sets.raster import plan_raster
from crossover_models.sets.tokens import pack

_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+")
_LEAST_AREA_M2 = 1e-9


class MapsFrontEnd(ImageFrontEnd, Protocol):
    """An image front end that gives its maps too, as recognition of objects needs them."""

    def maps(self, images: Sequence[NDArray[np.uint8]]) -> tuple[Tensor, Tensor]:
        """Pictures -> maps (V, 112, 14, 14) and (V, 1280, 7, 7)."""


class SetsEncoder:
    """Encoders of one checkpoint, in evaluation mode; the same input always gives the same code on one machine."""

    def __init__(
        self,
        model: SetsModel,
        image: MapsFrontEnd,
        text: TextFrontEnd,
        name: str = "edge",
        device: str = "cpu",
    ) -> None:
        """Take a model on front ends.

        Raises:
            EncoderError: front ends of other widths than the model was trained on.
        """
        sizes = FeatureSizes(image.view_dim, image.plan_dim, text.dim)
        if sizes != model.sizes:
            raise EncoderError(f"sizes: the checkpoint was trained on {model.sizes}, the front ends give {sizes}")
        settings = model.settings
        self.profile: EncoderProfile = replace(
            SMALL, name=name, embedding_dim=settings.embedding_dim, backbone=settings.backbone
        )
        self.device = device
        self.fingerprint = model_fingerprint(model, self.profile, image, text)
        self.interaction: Interaction | None = Interaction.of(model.scores)
        self._model, self._image, self._text = model, image, text
        for part in model.parts().values():
            part.eval().requires_grad_(False).to(device)

    @property
    def embedding_dim(self) -> int:
        """D of the vectors."""
        return self.profile.embedding_dim

    @property
    def runtime(self) -> str:
        """What runs the image network, and why; measured when it is first asked for."""
        choice = getattr(self._image, "choice", None)
        return choice.sentence() if choice is not None else "torch"

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Code:
        """Views of one place, each (H, W, 3) uint8 RGB of any size -> code without layout; one view is enough.

        Where the cameras stood is not known here, so what poses would say is zero.

        Raises:
            EncoderError: no view, or one that is no such picture.
        """
        pictures = checked_images(images)
        with torch.inference_mode():
            mid, last = self._image.maps(pictures)
            seen = ViewsInput(
                _array(pooled_view(last)),
                _array(self._model.recognizer.evidence(mid.to(self.device), last.to(self.device))),
                np.array([palette(picture) for picture in pictures]),
                np.zeros(4, dtype=np.float32),
            )
            widths = self._model.sizes.view, seen.evidence.shape[1]
            return self._code(self._model.network.images(*self._moved(batches.views_tensors([seen], widths))))

    def encode_point_cloud(self, points: NDArray[np.float32], colors: NDArray[np.uint8] | None = None) -> Code:
        """Gravity-aligned points (N, 3), metres, z = 0 on the floor, x and y anywhere -> code with layout.

        Args:
            points: finite, floating point.
            colors: (N, 3) uint8 RGB or None.

        Raises:
            EncoderError: an empty cloud, points that are not finite, or shapes that do not agree.
        """
        cloud, rows = thinned(ScenePoints(checked_cloud(points, colors)), FeatureSettings().spacing_m)
        kept = cloud.points[rows], None if colors is None else colors[rows]
        seen = cloud_input(*kept, None, self._model.settings.backbone, least=1)
        assert seen is not None
        with torch.inference_mode():
            tensors = self._moved(batches.cloud_tensors([seen], None)[:4])
            return self._code(self._model.network.points(*tensors)[0])

    def encode_mesh(self, meshes: Sequence[Mesh], poses: Sequence[NDArray[np.float64] | None] | None = None) -> Code:
        """CAD models of one place in a gravity-aligned frame, z = 0 on the floor -> code with layout.

        Args:
            meshes: one an object.
            poses: (4, 4) each, of the models' own frames (x forward, footprint centered, z = 0 below), None where
                unknown: then that frame is taken to be parallel to the meshes'.

        Raises:
            EncoderError: no mesh, none with a surface, or another number of poses.
        """
        if poses is not None and len(poses) != len(meshes):
            raise EncoderError(f"poses: {len(poses)} for {len(meshes)} meshes")
        surface_points(meshes, 1.0, 1)  # Says what is wrong with all of them together.
        objects = _objects(meshes, poses if poses is not None else [None] * len(meshes))
        models, row = model_points(objects, FeatureSettings().cad_points)
        with torch.inference_mode():
            chosen = np.stack([spread(model, SHAPE_POINTS) for model in models])
            shapes = _array(self._model.shapes(torch.from_numpy(chosen).to(self.device)))
            at = np.array([o.T_scene_object for o in objects], dtype=np.float32)
            sizes = np.array([o.size_m for o in objects], dtype=np.float32)
            points = [placed(models[k], size, pose) for k, size, pose in zip(row, sizes, at, strict=True)]
            seen = MeshInput(
                np.concatenate([shapes[row], object_geometry(sizes, at)], axis=1),
                np.full(len(objects), -1, dtype=np.int64),
                mesh_raster(np.concatenate(points)),
            )
            tensors = batches.mesh_tensors([seen], seen.shapes.shape[1], None)[:3]
            models_shapes, mask, rasters = self._moved(tensors)
            network = self._model.network
            return self._code(network.mesh(models_shapes, mask, network.laid(rasters, "points"))[0])

    def encode_floor_plan(self, plan: FloorPlan, polygon: NDArray[np.float64]) -> Code:
        """The plan around a place's outline (N, 2), map frame, metres -> code with layout.

        Raises:
            EncoderError: an outline that is none, or nothing drawn around it.
        """
        features = plan_features(self._image, self.profile, plan, polygon)
        seen = PlanInput(_array(features), plan_raster(plan, np.asarray(polygon, dtype=np.float64)))
        with torch.inference_mode():
            drawn, rasters = self._moved(batches.plan_tensors([seen], self._model.sizes.plan))
            network = self._model.network
            return self._code(network.floor_plan(drawn, network.laid(rasters, "plan")))

    def encode_text(self, text: str | Sequence[str]) -> Code:
        """Statements about a place, or one string of sentences that is taken apart -> code without layout.

        Raises:
            EncoderError: nothing but white space.
        """
        parts = _SENTENCE_ENDS.split(text) if isinstance(text, str) else text
        strings = isinstance(parts, Sequence) and all(isinstance(part, str) for part in parts)
        said = [part.strip() for part in parts if part.strip()] if strings else []
        if not said:
            raise EncoderError(f"text: must say something, got {text!r}")
        features = _array(self._text.texts(said))
        with torch.inference_mode():
            return self._code(self._model.network.text(*self._moved(padded([features], features.shape[1]))))

    def _moved(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(tensor.to(self.device) for tensor in tensors)

    def _code(self, codes: Codes) -> Code:
        vector, attributes = _array(codes.vector[0]), _array(codes.attributes[0])
        layout, colors = (None if part is None else _array(part[0]) for part in (codes.layout, codes.colors))
        if not all(np.isfinite(values).all() for values in (vector, attributes, layout, colors) if values is not None):
            raise EncoderError("embedding: not finite; the weights overflow on this input")
        return Code(vector, pack(attributes if self._model.settings.objects else attributes[:0], layout, colors))


def _objects(meshes: Sequence[Mesh], poses: Sequence[NDArray[np.float64] | None]) -> tuple[SceneObject, ...]:
    """Those with a surface, each in its own frame as a data set has it."""
    pieces = [Furnishing(str(i), "", m, "", pose) for i, (m, pose) in enumerate(zip(meshes, poses, strict=True))]
    return tuple(scene_object(piece, np.eye(4)) for piece in pieces if _area_m2(piece.mesh) > _LEAST_AREA_M2)


def _area_m2(mesh: Mesh) -> float:
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    sides = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return float(np.linalg.norm(sides, axis=1).sum() / 2.0)


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return np.asarray(tensor.float().cpu().numpy(), dtype=np.float32)


def model_fingerprint(model: SetsModel, profile: EncoderProfile, image: ImageFrontEnd, text: TextFrontEnd) -> str:
    """First 16 hex digits of the SHA-256 over settings, vocabularies, front ends' weights and every trained tensor.

    Codes of encoders with different fingerprints must never be compared.
    """
    digest = hashlib.sha256()
    header = {
        "schema": SCHEMA_VERSION,
        "kind": "sets",
        "sets": model.settings.to_mapping(),
        "profile": profile.to_mapping(),
        "categories": model.categories,
        "attributes": model.attributes.to_json(),
        "front_ends": {"image": [image.name, image.weights_sha256], "text": [text.name, text.weights_sha256]},
    }
    digest.update(json.dumps(header, sort_keys=True).encode())
    state = model.state()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def open_sets_encoder(path: Path, device: str = "cpu") -> SetsEncoder:
    """The encoder of a file that :func:`crossover_models.sets.checkpoint.save_model` wrote.

    Raises:
        EncoderError: whatever is wrong with the checkpoint; or it is not the one that its description names.
    """
    model, about = load_model(path)
    encoder = SetsEncoder(
        model, EfficientNetLite0(device, live=True), MiniLM(device), str(about.get("name", "edge")), device
    )
    described = about.get("fingerprint")
    if described is not None and described != encoder.fingerprint:
        raise EncoderError(f"{path}: fingerprint {encoder.fingerprint} is not the {described} that its .json describes")
    return encoder
