"""Large models brought down to a budget of triangles without losing what a person would miss.

A drawn model is many loose pieces: panels of two triangles beside a knob of thousands. Edge collapse over the whole
would take the panel first, since flattening it costs nothing; so every piece keeps its triangles up to a common limit,
and only pieces above it are reduced. Leaves too many for that are thinned out and those left enlarged, which keeps the
foliage's surface (Cook et al., Stochastic Simplification of Aggregate Detail, SIGGRAPH 2007).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

_LEAST_FACES = 8
_LEAST_WEIGHT = 0.02
_BODY = 40
_MOST_GROWTH = 2.2
_KEPT_AREA = 0.88
_LOOKED_AT = 600
_GRIDS = (128, 96, 64, 48, 40, 32, 28, 24, 20, 16, 14, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1)


@dataclass(frozen=True)
class Piece:
    """Triangles of one color: points (V, 3), faces (F, 3) into them."""

    points: NDArray[np.float64]
    faces: NDArray[np.int64]
    color: tuple[int, int, int]


def simplified(pieces: list[Piece], budget: int) -> list[Piece]:
    """The same surface in about ``budget`` triangles; unchanged where there are no more than that."""
    if sum(len(piece.faces) for piece in pieces) <= budget:
        return pieces
    loose = [part for piece in pieces for part in _loose(_welded(piece)) if len(part.faces)]
    if not loose:
        return pieces
    loose = _thinned(loose, budget)
    limits = _limits(loose, budget)
    return [p if len(p.faces) <= most else _reduced(p, int(most)) for p, most in zip(loose, limits, strict=True)]


def _limits(pieces: list[Piece], budget: int) -> NDArray[np.int64]:
    """The most triangles each piece may have so that all together keep the budget; large ones may have more."""
    counts = np.array([len(piece.faces) for piece in pieces])
    reach = np.array([float(np.linalg.norm(np.ptp(piece.points, axis=0))) for piece in pieces])
    weight = np.maximum(reach / max(float(reach.max()), 1e-9), _LEAST_WEIGHT)
    low, high = 0.0, float((counts / weight).max())
    for _ in range(40):
        middle = (low + high) / 2
        fits = np.minimum(counts, np.maximum(weight * middle, _LEAST_FACES)).sum() <= budget
        low, high = (middle, high) if fits else (low, middle)
    return np.maximum(weight * low, _LEAST_FACES).astype(np.int64)


def _welded(piece: Piece) -> Piece:
    # Seams of texture coordinates split vertices; joined they let edges collapse.
    scale = max(float(np.ptp(piece.points, axis=0).max()), 1e-9)
    points, inverse = np.unique(np.round(piece.points / scale, 6), axis=0, return_inverse=True)
    return Piece(points * scale, _proper(inverse.reshape(-1)[piece.faces]), piece.color)


def _proper(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Without triangles that have a corner twice."""
    a, b, c = faces.T
    return np.asarray(faces[(a != b) & (b != c) & (a != c)], dtype=np.int64)


def _loose(piece: Piece) -> list[Piece]:
    """Pieces that hang together, in order of their first triangle."""
    if not len(piece.faces):
        return []
    a, b, c = piece.faces.T
    links = coo_array((np.ones(2 * len(a)), (np.r_[a, b], np.r_[b, c])), shape=(len(piece.points),) * 2)
    label = connected_components(links, directed=False)[1][a]
    order = np.argsort(label, kind="stable")
    cuts = np.flatnonzero(np.diff(label[order])) + 1
    groups = sorted(np.split(order, cuts), key=lambda group: int(group[0]))
    return [_compact(piece.points, piece.faces[group], piece.color) for group in groups]


def _compact(points: NDArray[np.float64], faces: NDArray[np.int64], color: tuple[int, int, int]) -> Piece:
    used, renumbered = np.unique(faces, return_inverse=True)
    return Piece(points[used], renumbered.reshape(-1, 3), color)


def _thinned(pieces: list[Piece], budget: int) -> list[Piece]:
    """Fewer and larger leaves, where even a few triangles for each are too many."""
    # The largest few make up the model's body; they are never dropped, and half of the budget is theirs.
    body = np.argsort([-_area(piece.points, piece.faces) for piece in pieces], kind="stable")[:_BODY]
    small = np.ones(len(pieces), dtype=bool)
    small[body] = False
    counts = np.array([len(piece.faces) for piece in pieces])
    cost = np.minimum(counts, _LEAST_FACES)
    room = budget - min(int(counts[~small].sum()), budget // 2)
    if not small.any() or cost[small].sum() <= room:
        return pieces
    share = room / float(cost[small].sum())
    growth = min(1.0 / np.sqrt(share), _MOST_GROWTH)
    kept, spent, count = [], 0.0, 0
    for piece, is_small in zip(pieces, small, strict=True):
        if not is_small:
            kept.append(piece)
            continue
        spent += share
        if spent >= count + 1:
            count += 1
            center = piece.points.mean(axis=0)
            kept.append(Piece(center + (piece.points - center) * growth, piece.faces, piece.color))
    return kept


def _area(points: NDArray[np.float64], faces: NDArray[np.int64]) -> float:
    corners = points[faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return float(0.5 * np.linalg.norm(cross, axis=1).sum())


def _reduced(piece: Piece, target: int) -> Piece:
    """One piece in about ``target`` triangles: by edge collapse, unless that tears holes; else on a grid."""
    import fast_simplification

    whole = _area(piece.points, piece.faces)
    less = float(np.clip(1.0 - target / len(piece.faces), 0.0, 0.999))
    small, faces = fast_simplification.simplify(piece.points.astype(np.float32), piece.faces.astype(np.int32), less)
    collapsed = _compact(np.asarray(small, np.float64), np.asarray(faces, np.int64), piece.color)
    area = _area(collapsed.points, collapsed.faces)
    reached = 0 < len(collapsed.faces) <= 2 * target
    wide = np.ptp(piece.points, axis=0) > 1e-3 * np.ptp(piece.points, axis=0).max()
    kept = np.ptp(collapsed.points, axis=0)[wide] / np.ptp(piece.points, axis=0)[wide] if reached else np.zeros(1)
    if reached and area > _KEPT_AREA * whole and (kept > 0.9).all():
        return collapsed
    clustered = _clustered(piece, target)
    if not len(clustered.faces):
        # Bolts and rods too thin for any grid: their box is all that is seen of them.
        return collapsed if reached else _box(piece)
    if not reached:
        return clustered
    return collapsed if _miss(piece, collapsed) <= _miss(piece, clustered) else clustered


def _box(piece: Piece) -> Piece:
    low, high = piece.points.min(axis=0), piece.points.max(axis=0)
    corner = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)], dtype=np.float64)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [(q[0], q[i], q[i + 1]) for q in quads for i in (1, 2)]
    return Piece(low + corner * (high - low), np.array(faces, dtype=np.int64), piece.color)


def _miss(piece: Piece, other: Piece) -> float:
    """How far the surface of one lies from the other's where it is missed most (95th percentile)."""
    seen = cKDTree(_spread(other, 4 * _LOOKED_AT)).query(_spread(piece, _LOOKED_AT))[0]
    return float(np.percentile(seen, 95))


def _spread(piece: Piece, count: int) -> NDArray[np.float64]:
    """Points (count, 3) all over a surface, the same ones every time."""
    rng = np.random.default_rng(0)
    a, b, c = (piece.points[piece.faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) + 1e-15
    face = np.searchsorted(np.cumsum(area) / area.sum(), (np.arange(count) + 0.5) / count).clip(0, len(area) - 1)
    u, v = rng.random((2, count, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    return np.asarray(a[face] + u * (b - a)[face] + v * (c - a)[face], dtype=np.float64)


def _clustered(piece: Piece, target: int) -> Piece:
    """Vertices merged on the finest grid that leaves about ``target`` triangles."""
    low, extent = piece.points.min(axis=0), float(np.ptp(piece.points, axis=0).max())
    merged = piece.faces
    first = np.arange(len(piece.points))
    for cells in _GRIDS:
        keys = np.floor((piece.points - low) / max(extent / cells, 1e-12) + 0.5).astype(np.int64)
        _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        merged = _proper(group.reshape(-1)[piece.faces])
        if len(merged):
            merged = merged[np.sort(np.unique(np.sort(merged, axis=1), axis=0, return_index=True)[1])]
        if len(merged) <= 1.2 * target:
            break
    return _compact(piece.points[first], merged, piece.color)
