"""Scans as the unified encoders see them, with the published augmentation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossover_models.dataset.features import SceneFeatures
from crossover_models.encoders.inputs import Voxels, cloud_voxels
from crossover_models.encoders.profile import EncoderProfile
from crossover_models.sets.inputs import padded
from crossover_models.training.errors import TrainingError

UNIFIED = ("rgb", "point", "floor_plan", "referral")
"""What stage 3 contrasts with the fused scene."""
MOST_REFERRALS = 10
LEAST_POINTS = 50
_FRAMES = ("I1", "I10")
Array = NDArray[np.float32]


@dataclass(frozen=True)
class UnifiedBatch:
    """Raw-data features of B scans; rows of what is absent hold zeros.

    Attributes:
        views: (B, V, view) and which exist (B, V).
        plans: (B, plan).
        texts: (B, text).
        clouds: voxels (N, 4) with batch index and features (N, C) of the scans in ``cloud_rows``.
        cloud_rows: (P,) rows of the batch.
        present: name -> (B,) bool.
    """

    views: tuple[Tensor, Tensor]
    plans: Tensor
    texts: Tensor
    clouds: tuple[Tensor, Tensor]
    cloud_rows: Tensor
    present: dict[str, Tensor]


def scene_text(scan: SceneFeatures) -> Array | None:
    """One vector of the description and up to 10 referrals: their mean, as of one text that joins them; (text,)."""
    said = np.concatenate([scan.texts[1:], scan.referrals[:MOST_REFERRALS]])
    if not len(said):
        return None
    mean = said.mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), dtype=np.float32)


def augmented(points: Array, rng: np.random.Generator) -> Array:
    """The published augmentation of a cloud (N, 3), metres (CrossOver's supplement, section B).

    Size by U(.8, 1.25), small rotations of sigma .06 clipped at .18 rad, shift U(-.1, .1), jitter of sigma .01 clipped
    at .05, and 5 to 14 % of the points overwritten by one of them. The turn about z follows in the voxels.
    """
    a, b, c = np.clip(rng.normal(0.0, 0.06, 3), -0.18, 0.18)
    turn = np.array([[1.0, -c, b], [c, 1.0, -a], [-b, a, 1.0]])  # of first order: the angles are small
    out = points @ turn.T * rng.uniform(0.8, 1.25) + rng.uniform(-0.1, 0.1, 3)
    out = out + np.clip(rng.normal(0.0, 0.01, out.shape), -0.05, 0.05)
    lost = rng.random(len(out)) < rng.uniform(0.05, 0.14)
    out[lost] = out[int(rng.integers(len(out)))]
    return np.asarray(out, dtype=np.float32)


def unified_batch(
    scans: Sequence[SceneFeatures], profile: EncoderProfile, rng: np.random.Generator | None, item: str = ""
) -> UnifiedBatch:
    """What the unified encoders are fed.

    Args:
        scans: B of them.
        profile: says how clouds become voxels.
        rng: draws the augmentation and every second view; None for all of each scan as it is.
        item: "I1" or "I10" for frames (and no clouds), "Pd" for the cloud of the robot's drive, instead of the map's.
    """
    views = [_views(scan, rng, item) for scan in scans]
    # Frames alone are asked for without clouds: those cost most, and would be thrown away.
    clouds = [None if item in _FRAMES else _cloud(scan, profile, rng, item == "Pd") for scan in scans]
    plans = [
        None if not len(s.plans) else s.plans[0 if rng is None else int(rng.integers(len(s.plans)))] for s in scans
    ]
    texts = [scene_text(scan) for scan in scans]
    rows = [i for i, cloud in enumerate(clouds) if cloud is not None]
    there = [cloud for cloud in clouds if cloud is not None]
    first = scans[0]
    channels = profile.backbone.in_channels
    coordinates = [np.pad(c.coordinates, ((0, 0), (1, 0)), constant_values=i) for i, c in enumerate(there)]
    return UnifiedBatch(
        padded(views, first.views.shape[1]),
        _stacked(plans, first.plans.shape[1]),
        _stacked(texts, first.texts.shape[1]),
        (
            torch.from_numpy(np.concatenate([np.zeros((0, 4), np.int64), *coordinates])),
            torch.from_numpy(np.concatenate([np.zeros((0, channels), np.float32), *(c.features for c in there)])),
        ),
        torch.tensor(rows, dtype=torch.int64),
        {
            "rgb": torch.tensor([len(v) > 0 for v in views]),
            "point": torch.tensor([c is not None for c in clouds]),
            "floor_plan": torch.tensor([p is not None for p in plans]),
            "referral": torch.tensor([t is not None for t in texts]),
        },
    )


def raw_present(scan: SceneFeatures) -> dict[str, bool]:
    """Which of :data:`UNIFIED` a scan has."""
    return {
        "rgb": len(scan.views) > 0,
        "point": len(scan.points) >= LEAST_POINTS,
        "floor_plan": len(scan.plans) > 0,
        "referral": scene_text(scan) is not None,
    }


def check_contrasted(contrasted: Collection[str], scans: Sequence[Mapping[str, bool]]) -> None:
    """Refuse a training set that lacks a modality: its encoder would be written as random as it began.

    Args:
        contrasted: modalities that the stage learns.
        scans: which modalities each training scan has.

    Raises:
        TrainingError: names the first that fewer than two scans have.
    """
    for name in contrasted:
        having = sum(scan[name] for scan in scans)
        if having < 2:
            raise TrainingError(
                f"{name}: {having} of {len(scans)} training scans have it; a contrast needs at least two"
            )


def _views(scan: SceneFeatures, rng: np.random.Generator | None, item: str) -> Array:
    if item in _FRAMES:
        return scan.drive_views[: int(item[1:])]
    return scan.views if rng is None else scan.views[int(rng.integers(2)) :: 2]


def _cloud(
    scan: SceneFeatures, profile: EncoderProfile, rng: np.random.Generator | None, driven: bool
) -> Voxels | None:
    points = scan.drive_points if driven else scan.points
    colors = scan.colors if scan.colored.any() and not driven else None
    if len(points) < LEAST_POINTS:
        return None
    if rng is None:
        return cloud_voxels(profile, points, colors)
    return cloud_voxels(profile, augmented(points, rng), colors, float(rng.integers(4) * np.pi / 2))


def _stacked(rows: Sequence[Array | None], width: int) -> Tensor:
    return torch.from_numpy(np.stack([np.zeros(width, np.float32) if row is None else row for row in rows]))
