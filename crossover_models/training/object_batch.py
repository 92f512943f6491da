"""Scans -> objects as stage 1 sees them: crops, points, CAD models and referrals through the frozen front ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossover_models.dataset.features import Array, SceneFeatures
from crossover_models.encoders.shapes import SHAPE_POINTS, ShapeEncoder, frozen, object_locations, object_points, spread
from crossover_models.reference.objects import OBJECT_MODALITIES, ObjectBatch

_SHAPES_AT_ONCE = 32


@dataclass(frozen=True)
class SceneObjects:
    """Frozen features of one scan's K objects.

    Attributes:
        features: modality -> (K, width), zero for absent ones.
        present: modality -> (K,) bool.
        locations: "point", "cad" -> (K, 6) [mean xyz, extents], metres, scene frame.
    """

    features: dict[str, Array]
    present: dict[str, NDArray[np.bool_]]
    locations: dict[str, Array]


class ObjectSource:
    """Objects of scans, kept in memory once they were made (about 5 kB an object).

    Args:
        shapes: frozen here.
        points: of an object that the shape encoder sees.
    """

    def __init__(self, shapes: ShapeEncoder, points: int = SHAPE_POINTS) -> None:
        self._shapes, self._points = frozen(shapes), points
        # By identity, and the scan is kept with it: two sets may have scans of the same name.
        self._made: dict[int, tuple[SceneFeatures, SceneObjects]] = {}

    def widths(self, scan: SceneFeatures) -> dict[str, int]:
        """Modality -> width of its features; every scan of the same feature cache has the same."""
        return {
            "rgb": scan.object_views.shape[1],
            "point": self._shapes.dim,
            "cad": self._shapes.dim,
            "referral": scan.referrals.shape[1],
        }

    def objects(self, scan: SceneFeatures) -> SceneObjects:
        """Features of a scan's objects."""
        kept = self._made.get(id(scan))
        if kept is None:
            kept = self._made[id(scan)] = (scan, self._make(scan))
        return kept[1]

    def present(self, scan: SceneFeatures) -> dict[str, bool]:
        """Modality -> whether any object of the scan has it."""
        return {name: bool(mask.any()) for name, mask in self.objects(scan).present.items()}

    def batch(self, scans: Sequence[SceneFeatures], device: torch.device | None = None) -> ObjectBatch:
        """Objects of B scans, padded to the most objects that one of them has (at least one slot).

        Raises:
            ValueError: no scans.
        """
        if not scans:
            raise ValueError("scans: none to make a batch of")
        made = [self.objects(scan) for scan in scans]
        slots = max(1, *(len(one.present["rgb"]) for one in made))

        def padded(arrays: list[NDArray[np.float32]] | list[NDArray[np.bool_]]) -> Tensor:
            out = np.zeros((len(arrays), slots, *arrays[0].shape[1:]), dtype=arrays[0].dtype)
            for row, array in zip(out, arrays, strict=True):
                row[: len(array)] = array
            return torch.from_numpy(out).to(device)

        return ObjectBatch(
            features={name: padded([one.features[name] for one in made]) for name in OBJECT_MODALITIES},
            present={name: padded([one.present[name] for one in made]) for name in OBJECT_MODALITIES},
            locations={name: padded([one.locations[name] for one in made]) for name in ("point", "cad")},
        )

    def _make(self, scan: SceneFeatures) -> SceneObjects:
        clouds, has_cloud = object_points(scan, self._points)
        has_cad = scan.object_cad >= 0
        models = np.array([spread(model, self._points) for model in scan.cad_points], dtype=np.float32)
        referrals, has_referral = mean_referrals(scan)
        points = np.zeros((len(clouds), self._shapes.dim), dtype=np.float32)
        points[has_cloud] = self._shape(clouds[has_cloud])
        cad = np.zeros_like(points)
        if has_cad.any():
            cad[has_cad] = self._shape(models)[scan.object_cad[has_cad]]
        has_crop = scan.object_crops > 0
        crops = np.where(has_crop[:, None], scan.object_views, np.float32(0.0))
        features = {"rgb": crops, "point": points, "cad": cad, "referral": referrals}
        present = {"rgb": has_crop, "point": has_cloud, "cad": has_cad, "referral": has_referral}
        return SceneObjects(features, present, object_locations(scan))

    def _shape(self, points: Array) -> Array:
        """(n, P, 3) -> (n, dim)."""
        device = next(self._shapes.parameters()).device
        parts = [np.zeros((0, self._shapes.dim), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(points), _SHAPES_AT_ONCE):
                some = torch.from_numpy(points[start : start + _SHAPES_AT_ONCE]).to(device)
                parts.append(self._shapes(some).float().cpu().numpy())
        return np.concatenate(parts)


def mean_referrals(
    scan: SceneFeatures, chosen: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Mean of the referrals about each object.

    Args:
        scan: R referrals about K objects.
        chosen: (R,) which of them count; None for all.

    Returns:
        (K, text), zero without any; (K,) which objects have one.
    """
    rows = np.arange(len(scan.referrals)) if chosen is None else np.flatnonzero(chosen)
    about = scan.referral_objects[rows]
    counts = np.bincount(about, minlength=len(scan.object_ids))
    total = np.zeros((len(scan.object_ids), scan.referrals.shape[1]), dtype=np.float32)
    np.add.at(total, about, scan.referrals[rows])
    total /= np.maximum(counts, 1)[:, None]
    return total, counts > 0
