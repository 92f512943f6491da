"""ProcTHOR's objects with models of a furniture library in their boxes, and small things set down on what is there."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Polygon

from crossover_models.building import BuildingError, Furnishing, Mesh
from crossover_models.geometry import transform_points_se3
from crossover_models.simulation.cad.library import FittedModel, FurnitureLibrary
from crossover_models.simulation.cad.parametric import ParametricLibrary
from crossover_models.simulation.procthor.labels import CLOSED, Label, label_of
from crossover_models.simulation.procthor.source import Asset, RawObject, RawRoom, footprint
from crossover_models.simulation.shapes import joined, moved
from crossover_models.simulation.support import resting_height

_RUN_M = 0.62
_TUCKED_M = 0.2
_IN_WALL_M = 0.02
_FALLBACK = ParametricLibrary()


class RoomDresser:
    """Fits models to a room's objects; equal assets get equal models."""

    def __init__(self, room: RawRoom, library: FurnitureLibrary, split: str, rng: np.random.Generator) -> None:
        self._room, self._library, self._split, self._rng = room, library, split, rng
        self._models: dict[str, FittedModel] = {}
        self._inside = Polygon(room.outline).buffer(_IN_WALL_M, join_style="mitre")
        self._seen: Counter[str] = Counter()
        self._made: list[Furnishing] = []

    def furnishings(self, place_id: str) -> tuple[Furnishing, ...]:
        """Everything in the room; what lies in closed cupboards or finds no place to stand is left out."""
        order = sorted(self._room.objects, key=lambda o: o.asset.asset_type in ("Chair", "Stool"))
        areas: list[tuple[str, Polygon, float, float]] = []
        placed: list[tuple[RawObject, Furnishing]] = []
        for item in order:
            label = label_of(item.asset.asset_type, item.asset.asset_id)
            if label is None:
                continue
            T_map_object = self._untucked(item, label, areas)
            if T_map_object is None:
                continue
            bottom = float(T_map_object[2, 3])
            area = Polygon(footprint(T_map_object, item.asset.size_m))
            areas.append((label.category, area, bottom, bottom + item.asset.size_m[2]))
            placed.append((item, self._furnishing(place_id, item.asset, label, T_map_object)))
        for item, piece in placed:
            shift = np.eye(4)
            if piece.T_map_object is not None:
                shift = piece.T_map_object @ np.linalg.inv(item.T_map_object)
            self._set_down(place_id, item, piece, shift)
        return tuple(self._made)

    def _furnishing(self, place_id: str, asset: Asset, label: Label, T_map_object: NDArray[np.float64]) -> Furnishing:
        model = self._model(asset, label)
        points = transform_points_se3(T_map_object, model.mesh.vertices).astype(np.float32)
        self._seen[label.category] += 1
        object_id = f"{place_id}/{label.category.replace(' ', '_')}_{self._seen[label.category]}"
        mesh = Mesh(points, model.mesh.faces, model.mesh.face_colors)
        piece = Furnishing(object_id, label.category, mesh, model.model_id, T_map_object)
        self._made.append(piece)
        return piece

    def _model(self, asset: Asset, label: Label) -> FittedModel:
        if asset.asset_id not in self._models:
            kind = asset.asset_id.split("_")[1] if asset.asset_type == "CounterTop" else ""
            if kind in ("L", "C"):
                self._models[asset.asset_id] = self._counter(asset, kind)
            else:
                self._models[asset.asset_id] = self._fitted(label, np.array(asset.size_m))
        return self._models[asset.asset_id]

    def _fitted(self, label: Label, size_m: NDArray[np.float64]) -> FittedModel:
        for library in (self._library, _FALLBACK):
            for category in label.models:
                found = library.fitted(category, size_m, self._split, self._rng)
                if found is not None:
                    return found
        raise BuildingError(f"{self._room.where}: no model of category {label.category!r} in any furniture library")

    def _counter(self, asset: Asset, kind: str) -> FittedModel:
        """Counters around a corner: a run along the back, and legs to the front on the right or on both sides."""
        depth, width, height = asset.size_m
        label = Label("counter", ("counter",))
        back = self._fitted(label, np.array([min(_RUN_M, depth), width, height]))
        parts = [moved(back.mesh, (-depth / 2 + min(_RUN_M, depth) / 2, 0.0, 0.0))]
        reach = depth - _RUN_M
        if reach > 0.2:
            leg = self._fitted(label, np.array([_RUN_M, reach, height]))
            x = depth / 2 - reach / 2
            parts.append(moved(leg.mesh, (x, -width / 2 + _RUN_M / 2, np.pi / 2)))
            if kind == "C":
                parts.append(moved(leg.mesh, (x, width / 2 - _RUN_M / 2, -np.pi / 2)))
        return FittedModel(joined(parts), back.model_id)

    def _untucked(
        self, item: RawObject, label: Label, areas: list[tuple[str, Polygon, float, float]]
    ) -> NDArray[np.float64] | None:
        """The object's pose; a chair is drawn out from under its table until its back stands free.

        None where it then stands in something else or in a wall.
        """
        T, size = item.T_map_object, item.asset.size_m
        if item.asset.asset_type not in ("Chair", "Stool"):
            return T
        bottom, top = float(T[2, 3]), float(T[2, 3]) + size[2]
        mine = Polygon(footprint(T, size))
        under = [a for name, a, low, high in areas if low < top and bottom < high and a.intersects(mine)]
        if not under:
            return T
        table = max(under, key=lambda a: a.intersection(mine).area)
        away = np.array(mine.centroid.coords[0]) - np.array(table.centroid.coords[0])
        ring = footprint(T, size)
        sides = np.asarray(table.exterior.coords, dtype=np.float64)
        if not table.exterior.is_ccw:
            sides = sides[::-1]
        best: tuple[float, NDArray[np.float64]] | None = None
        for a, b in itertools.pairwise(sides):
            normal = np.array([b[1] - a[1], a[0] - b[0]]) / np.linalg.norm(b - a)
            inside = -float(((ring - a) @ normal).min())
            # On the side on which it stands, not through the table.
            if float(away @ normal) > -1e-9 and (best is None or inside < best[0]):
                best = inside, normal
        if best is None or best[0] <= _TUCKED_M:
            return T
        moved_out = T.copy()
        moved_out[:2, 3] += (best[0] - _TUCKED_M) * best[1]
        area = Polygon(footprint(moved_out, size))
        others = [a for _, a, low, high in areas if a is not table and low < top and bottom < high]
        if not self._inside.contains(area) or any(area.intersection(a).area > 0.01 for a in others):
            return None
        return moved_out

    def _set_down(self, place_id: str, item: RawObject, parent: Furnishing, shift: NDArray[np.float64]) -> None:
        """Children of an object: each on the parent's surface nearest to where ProcTHOR has it."""
        taken: list[tuple[Polygon, float, float]] = []
        for child in item.children:
            label = label_of(child.asset.asset_type, child.asset.asset_id)
            T = shift @ child.T_map_object
            if label is None or self._hidden(item, child):
                continue
            size = child.asset.size_m
            for inwards in (0.0, 0.25, 0.5):
                at = T.copy()
                if parent.T_map_object is not None:
                    at[:2, 3] += inwards * (parent.T_map_object[:2, 3] - at[:2, 3])
                corners = footprint(at, size)
                z = resting_height(parent.mesh, corners, size[2], float(at[2, 3]))
                area = Polygon(corners)
                if z is None or not self._inside.contains(area):
                    continue
                if any(low < z + size[2] and z < high and area.intersects(other) for other, low, high in taken):
                    continue
                at[2, 3] = z
                taken.append((area, z, z + size[2]))
                self._furnishing(place_id, child.asset, label, at)
                break

    @staticmethod
    def _hidden(item: RawObject, child: RawObject) -> bool:
        """It lies in a drawer or behind a door."""
        top = item.T_map_object[2, 3] + item.asset.size_m[2]
        return item.asset.asset_type in CLOSED and bool(child.T_map_object[2, 3] < top - 0.1)
