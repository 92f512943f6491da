"""Buildings and an encoder for tests of the map database."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Building, Door, Furnishing, Level, Lift, Mesh, Place
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan

DIM = 16


@dataclass(frozen=True)
class NamedProfile:
    """A profile with nothing but a name."""

    name: str = "digest"


class DigestEncoder:
    """Unit vectors drawn from a digest of what is encoded: equal input, equal vector."""

    embedding_dim = DIM
    profile = NamedProfile()

    def __init__(self, fingerprint: str = "0123456789abcdef") -> None:
        self.fingerprint = fingerprint

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Views -> (16,)."""
        return self._vector(b"i" + b"".join(image.tobytes() for image in images))

    def encode_point_cloud(
        self, points: NDArray[np.float32], colors: NDArray[np.uint8] | None = None
    ) -> NDArray[np.float32]:
        """Points -> (16,)."""
        return self._vector(b"p" + points.tobytes())

    def encode_mesh(self, meshes: Sequence[Mesh]) -> NDArray[np.float32]:
        """Meshes -> (16,)."""
        return self._vector(b"m" + b"".join(mesh.vertices.tobytes() for mesh in meshes))

    def encode_floor_plan(self, plan: FloorPlan, polygon: NDArray[np.float64]) -> NDArray[np.float32]:
        """Plan -> (16,)."""
        return self._vector(b"f" + plan.occupancy.tobytes() + polygon.tobytes())

    def encode_text(self, text: str) -> NDArray[np.float32]:
        """Text -> (16,)."""
        return self._vector(b"t" + text.encode())

    def _vector(self, data: bytes) -> NDArray[np.float32]:
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(data).digest()[:8], "little"))
        vector = rng.normal(size=DIM).astype(np.float32)
        return vector / np.linalg.norm(vector)


def random_mesh(rng: np.random.Generator, colored: bool) -> Mesh:
    """A handful of triangles anywhere."""
    vertices = rng.normal(size=(6, 3)).astype(np.float32)
    faces = rng.integers(0, 6, (4, 3)).astype(np.int32)
    return Mesh(vertices, faces, rng.integers(0, 256, (4, 3)).astype(np.uint8) if colored else None)


def random_plan(rng: np.random.Generator, resolution_m: float = 0.05) -> FloorPlan:
    """Cells of all three kinds, an occupied frame around."""
    shape = tuple(int(n) for n in rng.integers(8, 40, 2))
    cells = rng.choice(np.array([FREE, OCCUPIED, UNKNOWN], dtype=np.int8), shape)
    cells[[0, -1]] = OCCUPIED
    cells[:, [0, -1]] = OCCUPIED
    x, y = rng.normal(size=2) * 30
    return FloorPlan(cells, resolution_m, (float(x), float(y)))


def random_building(seed: int, building_id: str = "tower", levels: int = 2) -> Building:
    """Levels and places that hold any subset of what they may hold, the subset drawn too."""
    rng = np.random.default_rng(seed)
    some = lambda: bool(rng.random() < 0.5)  # noqa: E731
    made = []
    for n in range(levels):
        places = []
        for k in range(int(rng.integers(1, 4))):
            furnishings = tuple(
                Furnishing(f"object {n}.{k}.{j}", "chair", random_mesh(rng, some()), "chair/3" if some() else "")
                for j in range(int(rng.integers(0, 3)))
            )
            places.append(
                Place(
                    f"L{n}-{k}",
                    f"Küche {k}",
                    "kitchen" if some() else "",
                    rng.normal(size=(int(rng.integers(3, 9)), 2)),
                    tuple(f"Sentence {j} of {k}." for j in range(int(rng.integers(0, 3)))),
                    tuple(
                        np.full((24, 32, 3), rng.integers(0, 256, 3), dtype=np.uint8)
                        for _ in range(int(rng.integers(0, 3)))
                    ),
                    rng.normal(size=(50, 3)).astype(np.float32) if some() else None,
                    furnishings,
                )
            )
        made.append(
            Level(
                f"L{n}",
                f"Level {n}",
                3.1 * n,
                2.7,
                random_plan(rng),
                tuple(places),
                random_mesh(rng, True) if some() else None,
                tuple(Door(rng.normal(size=(2, 2)), "hinged") for _ in range(int(rng.integers(0, 3)))),
                tuple(Lift(f"lift {j}", rng.normal(size=2)) for j in range(int(rng.integers(0, 2)))),
                rng.normal(size=3),
                rng.integers(0, 256, (20, 30, 3)).astype(np.uint8) if some() else None,
            )
        )
    return Building(building_id, tuple(made), f"drawn by hand, seed {seed}")
