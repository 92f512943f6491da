"""Frames of an Open-RMF building's levels: metres a pixel, and where each level lies over the reference level.

Semantics as in rmf_building_map_tools: the reference level's scale is the mean over its measurements; every other level
is turned, scaled and moved onto it by the fiducials they share.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossover_models.building import BuildingError
from crossover_models.map_database.rmf_file import Array, DrawnLevel, RmfFile

LOGGER = logging.getLogger(__name__)
DISAGREEMENT = 0.05


@dataclass(frozen=True)
class LevelFrame:
    """``scale`` metres a unit, and T_building_map (3,) of the level's frame (drawing times scale)."""

    scale: float
    T_building_map: Array


def level_frames(path: Path, rmf: RmfFile, scales: Mapping[str, float]) -> dict[str, LevelFrame]:
    """Scale and placing of every level; ``scales`` (metres a pixel, by level) overrule the file.

    Raises:
        BuildingError: a level without any source of scale, or an override for a level that does not exist.
    """
    unknown = sorted(set(scales) - set(rmf.levels))
    if unknown:
        raise BuildingError(f"{path}: scale given for level {unknown[0]}, but it has {', '.join(rmf.levels)}")
    if rmf.metric:
        return {name: LevelFrame(1.0, np.zeros(3)) for name in rmf.levels}
    reference = rmf.levels[rmf.reference]
    scale = scales.get(rmf.reference) or _measured(path, reference)
    if scale is None:
        raise _no_scale(path, rmf.reference)
    frames = {rmf.reference: LevelFrame(scale, np.zeros(3))}
    for name, level in rmf.levels.items():
        if name != rmf.reference:
            frames[name] = _placed(path, level, reference, scale, scales.get(name))
    return frames


def _placed(
    path: Path, level: DrawnLevel, reference: DrawnLevel, reference_scale: float, override: float | None
) -> LevelFrame:
    """Frame of a level by the fiducials it shares with the reference level."""
    shared = [name for name in reference.fiducials if name in level.fiducials]
    a = np.array([reference.fiducials[name] for name in shared]).reshape(-1, 2)
    b = np.array([level.fiducials[name] for name in shared]).reshape(-1, 2)
    first, second = np.triu_indices(len(shared), 1)
    da, db = a[second] - a[first], b[second] - b[first]
    apart = (np.linalg.norm(da, axis=1) > 1e-9) & (np.linalg.norm(db, axis=1) > 1e-9)
    da, db = da[apart], db[apart]
    measured = _measured(path, level)
    turn = 0.0
    fiducial_scale = None
    if len(da):
        difference = np.arctan2(da[:, 1], da[:, 0]) - np.arctan2(db[:, 1], db[:, 0])
        turn = float(np.arctan2(np.sin(difference).sum(), np.cos(difference).sum()))
        ratio = float((np.linalg.norm(db, axis=1) / np.linalg.norm(da, axis=1)).mean())
        fiducial_scale = reference_scale / ratio
    scale = override or fiducial_scale or measured
    if scale is None:
        raise _no_scale(path, level.name)
    if measured is not None and abs(scale / measured - 1) > DISAGREEMENT:
        LOGGER.warning(
            "%s: level %s: %.5f m/px is used, its own measurements say %.5f", path.name, level.name, scale, measured
        )
    if not shared:
        LOGGER.warning(
            "%s: level %s: no fiducial shared with %s; it is laid over it unmoved",
            path.name,
            level.name,
            reference.name,
        )
        return LevelFrame(scale, np.zeros(3))
    cos, sin = np.cos(turn), np.sin(turn)
    turned = scale * b @ np.array([[cos, sin], [-sin, cos]])
    shift = (reference_scale * a - turned).mean(axis=0)
    return LevelFrame(scale, np.array([shift[0], shift[1], turn]))


# Metres a unit beyond which a measurement is a slip of the pen.
MIN_SCALE, MAX_SCALE = 1e-9, 1e9


def _measured(path: Path, level: DrawnLevel) -> float | None:
    """Metres a unit, the mean over the level's measurements."""
    ratios = []
    for (i, j), distance in level.measurements:
        length = float(np.linalg.norm(level.vertices[i] - level.vertices[j]))
        if not (length > 0 and np.isfinite(distance) and MIN_SCALE * length < distance < MAX_SCALE * length):
            raise BuildingError(
                f"{path}: level {level.name}: measurement {i}-{j}: {distance} m over {length:.1f} px gives no scale"
            )
        ratios.append(distance / length)
    if not ratios:
        return None
    if max(ratios) / min(ratios) - 1 > DISAGREEMENT:
        LOGGER.warning(
            "%s: level %s: its measurements disagree, %.5f to %.5f m/px; their mean is used",
            path.name, level.name, min(ratios), max(ratios),
        )  # fmt: skip
    return float(np.mean(ratios))


def _no_scale(path: Path, name: str) -> BuildingError:
    return BuildingError(
        f"{path}: level {name}: no measurement, so its scale is unknown; draw one or pass "
        f"--scale {name}=METRES_PER_PIXEL"
    )
