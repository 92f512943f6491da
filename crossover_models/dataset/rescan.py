"""The same rooms on another day: furniture moved, gone or new; what stands on a piece goes where the piece goes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from crossover_models.building import Furnishing, Level, Mesh
from crossover_models.dataset.scene import Scene, SceneError
from crossover_models.geometry import inverse_se3, transform_points_se3
from crossover_models.simulation.furniture import WALL_MOUNTED
from crossover_models.simulation.settings import RunSettings
from crossover_models.simulation.variation import refurnished

CHANGES = RunSettings(furniture_dropped=0.1, furniture_moved=0.4, furniture_added=0.1)
SMALL_GONE = 0.25
"""Share of small things that nobody left where they were."""
_ON_FLOOR_M = 0.05
_MOVED_M, _TURNED_RAD = 0.02, np.deg2rad(2.0)


@dataclass(frozen=True)
class SceneChanges:
    """Ids of objects of a rescan that stand elsewhere, are no longer there, or are new; sorted."""

    moved: tuple[str, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]


def scene_changes(reference: Scene, again: Scene) -> SceneChanges:
    """What happened to a room between two scans, by the poses of its objects: both are in the same scene frame.

    Raises:
        SceneError: they are not of the same room.
    """
    if reference.room_id != again.room_id:
        raise SceneError(f"scans {reference.scan_id} and {again.scan_id}: different rooms")
    before = {o.object_id: o.T_scene_object for o in reference.objects}
    after = {o.object_id: o.T_scene_object for o in again.objects}
    moved = []
    for name in before.keys() & after.keys():
        T = inverse_se3(before[name]) @ after[name]
        turn = np.arccos(np.clip((np.trace(T[:3, :3]) - 1) / 2, -1.0, 1.0))
        if np.linalg.norm(T[:3, 3]) > _MOVED_M or turn > _TURNED_RAD:
            moved.append(name)
    return SceneChanges(
        tuple(sorted(moved)), tuple(sorted(before.keys() - after.keys())), tuple(sorted(after.keys() - before.keys()))
    )


def supports(pieces: Collection[Furnishing]) -> dict[str, str]:
    """Which pieces stand on or in another one: object id -> id of the lowest piece that carries it."""
    bounds = {f.object_id: (f.mesh.vertices.min(axis=0), f.mesh.vertices.max(axis=0)) for f in pieces}
    ground = [f for f in pieces if bounds[f.object_id][0][2] < _ON_FLOOR_M]
    carried: dict[str, str] = {}
    for thing in pieces:
        low, high = bounds[thing.object_id]
        if low[2] < _ON_FLOOR_M or thing.category in WALL_MOUNTED:
            continue
        middle = (low[:2] + high[:2]) / 2
        below = []
        for piece in ground:
            first, last = bounds[piece.object_id]
            if (first[:2] <= middle).all() and (middle <= last[:2]).all() and low[2] <= last[2] + _ON_FLOOR_M:
                below.append((abs(float(last[2] - low[2])), piece.object_id))
        if below:
            carried[thing.object_id] = min(below)[1]
    return carried


def rearranged(level: Level, rng: np.random.Generator, split: str) -> Level:
    """The level some days later; new pieces are models of ``split``. Object ids stay, ways stay open."""
    carried = {t: s for place in level.places for t, s in supports(place.furnishings).items()}
    before = {f.object_id: f for place in level.places for f in place.furnishings}
    bare = tuple(
        replace(place, furnishings=tuple(f for f in place.furnishings if f.object_id not in carried))
        for place in level.places
    )
    changed, _ = refurnished(replace(level, places=bare), CHANGES, rng, split)
    after = {f.object_id: f for place in changed.places for f in place.furnishings}
    places = []
    for place, old in zip(changed.places, level.places, strict=True):
        things = []
        for thing in old.furnishings:
            if thing.object_id not in carried or rng.random() < SMALL_GONE:
                continue
            support = carried[thing.object_id]
            if support in after:
                followed = _followed(thing, before[support], after[support])
                if followed is not None:
                    things.append(followed)
        places.append(replace(place, furnishings=(*place.furnishings, *things)))
    return replace(changed, places=tuple(places))


def with_pieces_gone(level: Level, share: float, rng: np.random.Generator) -> Level:
    """The level without ``share`` of its pieces and without what stood on them."""
    places = []
    for place in level.places:
        carried = supports(place.furnishings)
        gone = {f.object_id for f in place.furnishings if rng.random() < share}
        kept = tuple(f for f in place.furnishings if not {f.object_id, carried.get(f.object_id)} & gone)
        places.append(replace(place, furnishings=kept))
    return replace(level, places=tuple(places))


def _followed(thing: Furnishing, before: Furnishing, after: Furnishing) -> Furnishing | None:
    """The thing where its support took it; None where nobody knows how the support went."""
    if after is before:
        return thing
    if before.T_map_object is None or after.T_map_object is None:
        return None
    T = after.T_map_object @ inverse_se3(before.T_map_object)
    vertices = transform_points_se3(T, thing.mesh.vertices).astype(np.float32)
    pose = None if thing.T_map_object is None else T @ thing.T_map_object
    return replace(thing, mesh=Mesh(vertices, thing.mesh.faces, thing.mesh.face_colors), T_map_object=pose)
