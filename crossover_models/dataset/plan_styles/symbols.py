"""Furniture as a draftsman draws it: generic symbols, roughly where things stand, some of them never drawn.

Nothing here is taken from the models' outlines: a symbol has its category's usual size drawn towards the true one,
stands off by some decimetres and may be turned, so that no plan is a stencil of the point cloud.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Furnishing
from crossover_models.dataset.plan_styles.canvas import Canvas, Ink

LEFT_OUT = 0.25
MADE_UP = 0.12
_POSITION_M, _SIZE, _TURN_RAD, _QUARTER_TURN = 0.18, 0.16, 0.09, 0.08
_LEAST_SIDE_M, _HIGHEST_FOOT_M = 0.28, 0.6

# Shape and usual footprint (depth, width) in metres, by words in a category's name; the first that fits counts.
_KINDS: tuple[tuple[tuple[str, ...], str, tuple[float, float]], ...] = (
    (("crib", "bed"), "bed", (2.05, 1.5)),
    (("armchair",), "sofa", (0.85, 0.85)),
    (("sofa", "couch"), "sofa", (0.9, 2.0)),
    (("stool", "ottoman", "pouf"), "round", (0.4, 0.4)),
    (("chair", "seat", "bench"), "chair", (0.5, 0.5)),
    (("night", "coffee table", "side table"), "box", (0.5, 0.6)),
    (("table",), "table", (0.9, 1.5)),
    (("desk", "workstation"), "table", (0.75, 1.5)),
    (("sink", "basin"), "basin", (0.5, 0.6)),
    (("toilet",), "toilet", (0.65, 0.4)),
    (("bath", "shower"), "tub", (0.8, 1.6)),
    (("stove", "oven", "cooker"), "stove", (0.6, 0.6)),
    (("plant", "lamp", "bin", "basket"), "plant", (0.45, 0.45)),
    (("wardrobe", "cabinet", "shel", "locker", "dresser", "fridge", "cupboard", "rack"), "storage", (0.5, 1.0)),
)
_MADE_UP_KINDS = (("chair", (0.5, 0.5)), ("box", (0.4, 0.5)), ("plant", (0.45, 0.45)), ("storage", (0.4, 0.9)))


@dataclass(frozen=True)
class Symbol:
    """One drawn piece: pose (3,) in the scene frame (x is its front) and footprint (depth, width), metres."""

    shape: str
    pose: NDArray[np.float64]
    size_m: tuple[float, float]


def _kind(category: str) -> tuple[str, tuple[float, float] | None]:
    for words, shape, size in _KINDS:
        if any(word in category for word in words):
            return shape, size
    return "box", None


def footprint(piece: Furnishing) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Planar pose (3,) in the map frame and (depth, width); along the map's axes where a piece's pose is unknown."""
    points = piece.mesh.vertices[:, :2].astype(np.float64)
    yaw = 0.0
    if piece.T_map_object is not None:
        yaw = float(np.arctan2(piece.T_map_object[1, 0], piece.T_map_object[0, 0]))
    turn = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
    own = points @ turn.T
    low, high = own.min(axis=0), own.max(axis=0)
    center = turn.T @ ((low + high) / 2)
    return np.array([*center, yaw]), (float(high[0] - low[0]), float(high[1] - low[1]))


def draw_symbols(
    pieces: tuple[Furnishing, ...],
    rooms: tuple[NDArray[np.float64], ...],
    origin: NDArray[np.float64],
    room: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[Symbol, ...]:
    """What of the furniture is drawn, and how far from the truth; a few pieces are drawn that are not there.

    Args:
        pieces: furniture in the map frame.
        rooms: (N, 2) outline in the scene frame of the room of each piece; nobody draws a bed through a wall.
        origin: (2,) of the scene frame.
        room: (N, 2) outline in the scene frame, where made-up pieces are drawn.
        rng: of the draftsman.
    """
    out = []
    for piece, own in zip(pieces, rooms, strict=True):
        pose, size = footprint(piece)
        if piece.mesh.vertices[:, 2].min() > _HIGHEST_FOOT_M or min(size) < 0.1 or max(size) < _LEAST_SIDE_M:
            continue
        if rng.random() < LEFT_OUT:
            continue
        shape, usual = _kind(piece.category)
        blend = 0.0 if usual is None else rng.uniform(0.2, 0.7)
        drawn = np.array(size) * (1 - blend) + blend * np.array(usual if usual is not None else size)
        drawn *= np.exp(rng.normal(0.0, _SIZE, 2))
        turn = rng.normal(0.0, _TURN_RAD) if rng.random() < 0.5 else 0.0
        if rng.random() < _QUARTER_TURN:
            turn += float(rng.choice([np.pi / 2, np.pi, -np.pi / 2]))
        at = np.add(pose, [*rng.normal(0.0, _POSITION_M, 2), turn])
        at[:2] -= origin
        out.append(_within(Symbol(shape, at, (float(drawn[0]), float(drawn[1]))), own))
    for _ in range(rng.binomial(max(1, len(pieces)), MADE_UP)):
        shape, usual = _MADE_UP_KINDS[int(rng.integers(len(_MADE_UP_KINDS)))]
        at = rng.uniform(room.min(axis=0), room.max(axis=0))
        pose = np.array([*at, rng.choice([0.0, np.pi / 2, np.pi, -np.pi / 2])])
        out.append(_within(Symbol(shape, pose, usual), room))
    return tuple(out)


def _within(symbol: Symbol, room: NDArray[np.float64]) -> Symbol:
    """Pushed into the rectangle around a room, as far as it fits."""
    x, y, yaw = symbol.pose
    half = np.abs([[np.cos(yaw), np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]) @ np.array(symbol.size_m) / 2
    low, high = room.min(axis=0) + half, room.max(axis=0) - half
    middle = (low + high) / 2
    at = np.clip([x, y], np.minimum(low, middle), np.maximum(high, middle))
    return Symbol(symbol.shape, np.array([*at, yaw]), symbol.size_m)


def paint_symbol(canvas: Canvas, symbol: Symbol, ink: Ink, fill: Ink | None) -> None:
    """Draw one symbol; ``fill`` None leaves it hollow."""
    x, y, yaw = symbol.pose
    depth, width = symbol.size_m
    axes = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])

    def place(points: list[tuple[float, float]]) -> NDArray[np.float64]:
        """Fractions of half the footprint (forward, left) to the scene frame."""
        return np.asarray(np.array(points) * [depth / 2, width / 2] @ axes.T + [x, y])

    def box(x0: float, y0: float, x1: float, y1: float) -> None:
        canvas.line(place([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]), ink, closed=True)

    def oval(cx: float, cy: float, rx: float, ry: float) -> None:
        angle = np.linspace(0, 2 * np.pi, 25)[:-1]
        canvas.line(place([(cx + rx * np.cos(a), cy + ry * np.sin(a)) for a in angle]), ink, closed=True)

    rounded = symbol.shape in ("round", "plant")
    angle = np.linspace(0, 2 * np.pi, 33)[:-1]
    square = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
    outline = [(float(np.cos(a)), float(np.sin(a))) for a in angle] if rounded else square
    if fill is not None:
        canvas.fill([place(outline)], fill)
    canvas.line(place(outline), ink, closed=True)
    match symbol.shape:
        case "bed":
            canvas.line(place([(-0.4, -1), (-0.4, 1)]), ink)
            box(-0.92, -0.85, -0.55, -0.1)
            box(-0.92, 0.1, -0.55, 0.85)
        case "sofa":
            canvas.line(place([(1, -0.75), (-0.5, -0.75), (-0.5, 0.75), (1, 0.75)]), ink)
        case "chair":
            canvas.line(place([(-0.6, -1), (-0.6, 1)]), ink)
        case "basin":
            oval(0.1, 0.0, 0.6, 0.7)
        case "tub":
            oval(0.0, 0.0, 0.8, 0.85)
        case "toilet":
            canvas.line(place([(-0.5, -1), (-0.5, 1)]), ink)
            oval(0.2, 0.0, 0.65, 0.75)
        case "stove":
            for cx in (-0.45, 0.45):
                for cy in (-0.45, 0.45):
                    oval(cx, cy, 0.28, 0.28)
        case "plant":
            for a in np.arange(6) * np.pi / 3:
                canvas.line(place([(0, 0), (0.9 * np.cos(a), 0.9 * np.sin(a))]), ink)
        case "storage":
            canvas.line(place([(-1, -1), (1, 1)]), ink)
            canvas.line(place([(-1, 1), (1, -1)]), ink)
