"""A small building that holds every modality, and an encoder that hashes what it is given, for tests of databases."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Building, Door, Furnishing, Level, Lift, Mesh, Place
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan
from crossover_models.observation import Code

DIM = 24


@dataclass(frozen=True)
class NamedProfile:
    """The only thing a build asks of a profile."""

    name: str = "hash"


@dataclass(frozen=True)
class HashEncoder:
    """Unit vectors from a hash of the input: equal input, equal vector; a text that contains ``refused`` is refused."""

    fingerprint: str = "0123456789abcdef"
    embedding_dim: int = DIM
    profile: NamedProfile = NamedProfile()
    refused: str = "?"
    interaction: None = None

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Code:
        """Of views."""
        return self._code(b"image", *(image.tobytes() for image in images))

    def encode_point_cloud(self, points: NDArray[np.float32], colors: NDArray[np.uint8] | None = None) -> Code:
        """Of a cloud."""
        return self._code(b"cloud", points.tobytes())

    def encode_mesh(self, meshes: Sequence[Mesh], poses: Sequence[NDArray[np.float64] | None] | None = None) -> Code:
        """Of furniture."""
        return self._code(b"mesh", *(mesh.vertices.tobytes() for mesh in meshes))

    def encode_floor_plan(self, plan: FloorPlan, polygon: NDArray[np.float64]) -> Code:
        """Of a plan and outline."""
        return self._code(b"plan", plan.occupancy.tobytes(), polygon.tobytes())

    def encode_text(self, text: str | Sequence[str]) -> Code:
        """Of a description."""
        said = text if isinstance(text, str) else " ".join(text)
        if self.refused in said:
            raise ValueError(f"text: {self.refused!r} is refused")
        return self._code(b"text", said.encode())

    def _code(self, *parts: bytes) -> Code:
        seed = int.from_bytes(hashlib.sha256(b"|".join(parts)).digest()[:8], "little")
        vector = np.random.default_rng(seed).normal(size=self.embedding_dim)
        return Code(np.asarray(vector / np.linalg.norm(vector), dtype=np.float32))


def box(x: float, y: float, color: tuple[int, int, int] | None = (200, 10, 30)) -> Mesh:
    """A block of 0.5 x 0.4 x 0.7 m at (x, y)."""
    corners = [(x + 0.5 * i, y + 0.4 * j, 0.7 * k) for k in (0, 1) for j in (0, 1) for i in (0, 1)]
    quads = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    faces = [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    colors = None if color is None else np.tile(np.array(color, dtype=np.uint8), (len(faces), 1))
    return Mesh(np.array(corners, dtype=np.float32), np.array(faces, dtype=np.int32), colors)


def full_building(building_id: str = "house", seed: int = 0) -> Building:
    """Two levels: one with every modality and two rooms, one bare (a plan and a room, nothing else)."""
    rng = np.random.default_rng(seed)
    occupancy = np.full((37, 53), UNKNOWN, dtype=np.int8)
    occupancy[3:30, 4:50] = FREE
    occupancy[3, 4:50] = occupancy[29, 4:50] = OCCUPIED
    occupancy[3:30, 4] = occupancy[3:30, 49] = OCCUPIED
    occupancy[3:20, 25 + seed % 3] = OCCUPIED
    plan = FloorPlan(occupancy, 0.1, (-1.25, 7.5))
    smooth = np.linspace(0, 255, 48)[None, :, None] * np.array([1.0, 0.5, 0.25]) + np.zeros((32, 1, 1))
    images = (smooth.astype(np.uint8), np.full((16, 24, 3), (10, 200, 90), dtype=np.uint8))
    square = np.array([[-0.8, 7.9], [1.2, 7.9], [1.2, 10.0], [-0.8, 10.0]])
    kitchen = Place(
        "K1", "Kitchen 1.04", "kitchen", square, ("A kitchen.", "It holds a fridge \u2013 and a sink."), images,
        rng.normal(size=(50, 3)).astype(np.float32),
        (Furnishing("o1", "fridge", box(0, 8.5), "fridge/3"), Furnishing("o2", "box", box(0.4, 9, None))),
    )  # fmt: skip
    store = Place("S1", "Store", "", square + np.array([2.0, 0.0]))
    drawing = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    ground = Level(
        "L1", "Ground floor", 0.0, 2.75, plan, (kitchen, store), box(0, 8),
        (Door(np.array([[1.2, 9.0], [1.2, 9.9]]), "double_swing"), Door(np.array([[0.0, 7.8], [0.9, 7.8]]))),
        (Lift("north lift", np.array([3.0, 9.0])),), np.array([4.0, -2.0, 0.3]), drawing,
    )  # fmt: skip
    bare = FloorPlan(np.full((8, 9), UNKNOWN, dtype=np.int8), 0.25, (0.0, 0.0))
    attic = Level("L2", "Attic", 2.9, 2.0, bare, (Place("A1", "Attic", "", np.array([[0, 0], [2, 0], [2, 2.0]])),))
    return Building(building_id, (ground, attic), f"planted {building_id}")
