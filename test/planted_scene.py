"""A small scene with every field filled, planted so that each value can be told from every other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from crossover_models.building import Mesh
from crossover_models.dataset.scene import (
    Drive,
    PlanDrawing,
    Referral,
    Scene,
    SceneObject,
    ScenePoints,
    View,
)
from crossover_models.geometry import se3_from_se2
from crossover_models.observation import Modality


def planted_view(seed: int, labels: bool = True) -> View:
    """A smooth picture of 32 x 24 with its depth and instances."""
    row, col = np.mgrid[0:24, 0:32]
    image = np.stack([4 * col + seed, 5 * row + 2 * seed, 60 + col + row], axis=-1).astype(np.uint8)
    depth = (0.5 + 0.0123 * col + 0.04 * row).astype(np.float32)
    depth[0, 0] = 0.0
    instance = np.where(col > 20, 1, np.where(col > 10, 0, -1)).astype(np.int32)
    intrinsics = np.array([[20.0 + seed, 0.0, 15.5], [0.0, 20.0, 11.5], [0.0, 0.0, 1.0]])
    pose = se3_from_se2([seed, 0.25, 0.3], 1.2)
    return View(image, pose, intrinsics, depth if labels else None, instance if labels else None)


def planted_cloud(count: int = 50, spread_m: float = 3.0) -> ScenePoints:
    """Points of which every other one is colored."""
    rng = np.random.default_rng(4)
    points = rng.uniform(-spread_m, spread_m, (count, 3)).astype(np.float32)
    colored = np.arange(count) % 2 == 0
    colors = np.where(colored[:, None], rng.integers(1, 256, (count, 3)), 0).astype(np.uint8)
    return ScenePoints(points, colors, colored, (np.arange(count) % 3 - 1).astype(np.int32))


def planted_scene(scan_id: str = "scan_1", split: str = "train", **changes: object) -> Scene:
    """A room with two objects, the second one without CAD."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.5]], dtype=np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)
    mesh = Mesh(vertices, faces, np.array([[10, 20, 30], [200, 100, 0]], dtype=np.uint8))
    scene = Scene(
        scan_id=scan_id,
        room_id=f"{split}_room",
        building_id=f"{split}_building",
        category="kitchen",
        split=split,
        source="planted",
        reference_id="scan_0",
        polygon=np.array([[-1.0, -2.0], [3.5, -2.0], [3.5, 2.0]]),
        views=(planted_view(1), planted_view(2, labels=False)),
        cloud=planted_cloud(),
        objects=(
            SceneObject(
                "a", "chair", se3_from_se2([1.0, 2.0, 0.5], 0.1), np.array([1.0, 1.0, 1.5]), mesh, f"{split}/7"
            ),
            SceneObject("b", "plant", se3_from_se2([0.0, 1.0, -2.0]), np.array([0.3, 0.4, 0.5])),
        ),
        plans=(
            PlanDrawing(
                np.arange(20 * 30, dtype=np.uint16).reshape(20, 30).astype(np.uint8), "line", 0.05, (-1.0, 0.5)
            ),
            PlanDrawing(planted_view(3).image, "filled", 0.025, (0.0, -3.25)),
        ),
        description=("A kitchen.", "Here one cooks: \u00e9t\u00e9."),
        referrals=(Referral("b", "the plant"),),
        drive=Drive((planted_view(4, labels=False),), ScenePoints(planted_cloud(9).points)),
        withheld=frozenset({Modality.TEXT}),
    )
    return replace(scene, **changes)  # type: ignore[arg-type]
