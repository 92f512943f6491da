"""One room as the trainer sees it: frozen features and raw points, and their files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from crossover_models.training.errors import CacheError as CacheError

Array = NDArray[np.float32]


@dataclass(frozen=True)
class RoomSample:
    """Everything of one simulated room that training and evaluation use.

    Attributes:
        room_id: building and place.
        category: room type.
        survey_views: (V, view) frozen features of the map's pictures.
        robot_views: (T, view) frozen features of frames along a robot's short drive, in order.
        survey_colors: (V, C) color histograms of the map's pictures, for the trivial baseline only.
        robot_colors: (T, C) of the robot's frames.
        plans: (G, plan) frozen features of the floor plan, first as the encoder makes them, then turned and shifted.
        texts: (S, text) frozen features: all sentences joined first, then each one.
        survey_points: (N, 3) the map's cloud, metres, z = 0 on the floor.
        robot_points: (M, 3) what a robot's lidar gathered on its drive, same frame.
        mesh_points: (K, 3) surface points of the furniture; empty for a bare room.
        mesh_object: (K,) which piece each belongs to.
        mesh_colors: (C,) color histogram of the furniture's surfaces.
    """

    room_id: str
    category: str
    survey_views: Array
    robot_views: Array
    survey_colors: Array
    robot_colors: Array
    plans: Array
    texts: Array
    survey_points: Array
    robot_points: Array
    mesh_points: Array
    mesh_object: NDArray[np.int32]
    mesh_colors: Array


_HALF = ("survey_views", "robot_views", "plans")
_WHOLE = (
    "survey_colors",
    "robot_colors",
    "texts",
    "survey_points",
    "robot_points",
    "mesh_points",
    "mesh_object",
    "mesh_colors",
)


def save_samples(path: Path, samples: Sequence[RoomSample], key: str) -> None:
    """Write the rooms of one building; the file is whole or absent at any moment.

    Args:
        path: safetensors file.
        samples: rooms.
        key: hash of everything that decides the content; :func:`load_samples` compares it.
    """
    tensors: dict[str, NDArray[np.generic]] = {}
    for index, sample in enumerate(samples):
        for name in _HALF:
            tensors[f"{index}.{name}"] = np.ascontiguousarray(getattr(sample, name), dtype=np.float16)
        for name in _WHOLE:
            tensors[f"{index}.{name}"] = np.ascontiguousarray(getattr(sample, name))
    rooms = json.dumps([[s.room_id, s.category] for s in samples])
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, metadata={"key": key, "rooms": rooms})
    partial.replace(path)


def load_samples(path: Path, key: str) -> list[RoomSample]:
    """Read the rooms of one building.

    Raises:
        CacheError: not a readable file of ours, or made with other settings.
    """
    try:
        with safe_open(path, framework="numpy") as stream:
            metadata = stream.metadata() or {}
            if metadata.get("key") != key:
                raise CacheError(f"{path}: cached with other settings; remove it or choose another directory")
            samples = []
            for index, (room_id, category) in enumerate(json.loads(metadata["rooms"])):
                half = {name: stream.get_tensor(f"{index}.{name}").astype(np.float32) for name in _HALF}
                whole = {name: stream.get_tensor(f"{index}.{name}") for name in _WHOLE}
                samples.append(RoomSample(room_id, category, **half, **whole))
            return samples
    except (SafetensorError, KeyError, OSError) as error:
        raise CacheError(f"{path}: not a readable cache file ({error}); remove it to have it made again") from None
