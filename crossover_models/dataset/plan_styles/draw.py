"""The styles of floor plans, and drawing a room in some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Level, Place
from crossover_models.dataset.plan_styles.canvas import Canvas, Ink
from crossover_models.dataset.plan_styles.content import PlanContent, plan_content
from crossover_models.dataset.plan_styles.rasters import density_drawing, occupancy_drawing
from crossover_models.dataset.plan_styles.symbols import draw_symbols, paint_symbol
from crossover_models.dataset.scene import PlanDrawing

STYLES = ("line", "filled", "furnished", "unfurnished", "hand-drawn", "scale-bar", "occupancy", "density")
RESOLUTION_M = 0.025
SCALE_ERROR, SKEW = 0.012, 0.004
"""Standard deviations of a draftsman's errors; drawings by hand have four times these."""
_OPEN_KINDS = ("passage", "opening", "arch")


class PlanStyleError(ValueError):
    """A style that does not exist, or a number of drawings that cannot be made."""


@dataclass(frozen=True)
class _Look:
    """How one drawing is done."""

    paper: Ink
    ink: Ink
    wall: Ink | None
    floor: Ink | None
    piece: Ink | None
    width_px: int
    furnished: bool
    wobble_m: float = 0.0
    error: float = 1.0
    scale_bar: bool = False


def draw_plans(
    level: Level,
    place: Place,
    rng: np.random.Generator,
    styles: Sequence[str] | None = None,
    count: int = 1,
) -> tuple[PlanDrawing, ...]:
    """``count`` drawings of a place and its surroundings in the scene frame (see :func:`scene_origin`), to scale.

    Every drawing is a draftsman's of its own: window, scale error of about 1 %, line widths, door swings and furniture
    symbols differ; symbols are generic and only near the true pieces. Levels without a structure mesh, doors or
    furniture give drawings of their raster alone.

    Args:
        level: with its plan, doors and, where known, structure and furnishings.
        place: one of the level's.
        rng: decides everything that is free.
        styles: of :data:`STYLES`, to be drawn from (each once before any twice); None for all.
        count: number of drawings.

    Raises:
        PlanStyleError: an unknown style, no style, or a negative count.
    """
    known = STYLES if styles is None else tuple(styles)
    for style in known:
        if style not in STYLES:
            raise PlanStyleError(f"styles: must be among {', '.join(STYLES)}, got {style!r}")
    if not known or count < 0:
        raise PlanStyleError(f"styles, count: need a style and a count of at least 0, got {list(known)} and {count}")
    order: list[str] = []
    while len(order) < count:
        order += [str(s) for s in rng.permutation(list(known))]
    out = []
    for style in order[:count]:
        content = plan_content(level, place, rng)
        if style == "occupancy":
            out.append(occupancy_drawing(content, rng))
        elif style == "density":
            out.append(density_drawing(level, place, content, rng))
        else:
            out.append(_drawing(style, content, rng))
    return tuple(out)


def _look(style: str, has_pieces: bool, rng: np.random.Generator) -> _Look:
    gray = int(rng.integers(0, 70))
    ink: Ink = (gray, gray, gray)
    paper: Ink = (255, 255, 255)
    furnished = has_pieces and (style == "furnished" or (style != "unfurnished" and rng.random() < 0.5))
    filled = style == "filled" or (style != "line" and rng.random() < 0.5)
    wall: Ink | None = None
    floor: Ink | None = None
    if filled:
        shade = int(rng.choice([0, 40, 90, 130]))
        wall = (shade, shade, shade)
        if rng.random() < 0.5:
            tint = rng.integers(226, 252, 3)
            floor = (int(tint[0]), int(tint[1]), int(tint[2]))
    piece = (255, 255, 255) if rng.random() < 0.6 else None
    width = int(rng.integers(1, 3))
    if style == "hand-drawn":
        cream = int(rng.integers(225, 250))
        paper = (cream + 4, cream, cream - 14)
        wall = wall if rng.random() < 0.4 else None
        return _Look(paper, ink, wall, None, None, width + 1, furnished, rng.uniform(0.015, 0.035), 4.0)
    if style == "line" and rng.random() < 0.15:
        # A blueprint.
        return _Look((28, 62, 120), (225, 232, 245), None, None, None, 1, furnished)
    return _Look(paper, ink, wall, floor, piece, width, furnished, scale_bar=style == "scale-bar")


def _drawing(style: str, content: PlanContent, rng: np.random.Generator) -> PlanDrawing:
    look = _look(style, bool(content.pieces), rng)
    error = np.eye(2) + np.diag(rng.normal(0.0, SCALE_ERROR * look.error, 2))
    error[0, 1] = rng.normal(0.0, SKEW * look.error)
    canvas = Canvas(content.low, content.high, RESOLUTION_M, look.paper, rng, wobble_m=look.wobble_m, distortion=error)
    if look.floor is not None:
        canvas.fill([content.outline], look.floor)
    if look.furnished:
        for symbol in draw_symbols(content.pieces, content.rooms, content.origin, content.outline, rng):
            paint_symbol(canvas, symbol, look.ink, look.piece)
    walls = list(content.walls)
    if look.wall is not None:
        canvas.fill(walls, look.wall)
    else:
        canvas.fill(walls, look.paper)
        for outline in walls:
            canvas.line(outline, look.ink, look.width_px, closed=True)
    for segment in content.windows:
        _window(canvas, segment, content, look)
    for segment, kind in content.doors:
        _door(canvas, segment, kind, look, rng)
    if look.scale_bar:
        _scale_bar(canvas, content, look.ink)
    image = canvas.image
    if (image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all():
        image = np.ascontiguousarray(image[..., 0])
    return PlanDrawing(image, style, RESOLUTION_M, (float(content.low[0]), float(content.low[1])))


def _window(canvas: Canvas, segment: NDArray[np.float64], content: PlanContent, look: _Look) -> None:
    """The wall is opened and the pane drawn in it as three lines along the wall."""
    along = (segment[1] - segment[0]) / max(float(np.linalg.norm(segment[1] - segment[0])), 1e-9)
    across = np.array([-along[1], along[0]])
    near, far = (_depth(content, segment.mean(axis=0), sign * across) for sign in (-1.0, 1.0))
    corners = [segment[0] - near * across, segment[1] - near * across]
    corners += [segment[1] + far * across, segment[0] + far * across]
    canvas.fill([np.array(corners)], look.paper)
    canvas.line(corners, look.ink, closed=True)
    canvas.line(segment + 0.3 * (far - near) * across, look.ink)


def _depth(content: PlanContent, at: NDArray[np.float64], way: NDArray[np.float64]) -> float:
    """How far the wall goes on from a point of its middle, at most 0.4 m."""
    reach = 0.02
    while reach < 0.4:
        col, row = np.floor((at + way * reach - content.low) / content.resolution_m).astype(int)
        rows, cols = content.occupancy.shape
        if not (0 <= row < rows and 0 <= col < cols) or content.occupancy[row, col] != 100:
            break
        reach += 0.02
    return reach


def _door(canvas: Canvas, segment: NDArray[np.float64], kind: str, look: _Look, rng: np.random.Generator) -> None:
    """Leaf and swing of a hinged door, two shifted leaves of a sliding one, nothing in a passage."""
    if any(word in kind for word in _OPEN_KINDS):
        return
    vector = segment[1] - segment[0]
    length = float(np.linalg.norm(vector))
    if length < 0.3:
        return
    along = vector / length
    across = np.array([-along[1], along[0]]) * (1.0 if rng.random() < 0.5 else -1.0)
    if "slid" in kind:
        for start, stop, side in ((0.0, 0.55, 0.03), (0.45, 1.0, -0.03)):
            canvas.line(
                [segment[0] + vector * start + across * side, segment[0] + vector * stop + across * side], look.ink
            )
        return
    leaves = [(segment[0], along), (segment[1], -along)]
    if "double" not in kind and length < 1.4:
        leaves = [leaves[int(rng.integers(2))]]
    radius = length / len(leaves)
    for hinge, direction in leaves:
        tip = hinge + across * radius
        canvas.line([hinge, tip], look.ink, look.width_px)
        start = float(np.arctan2(across[1], across[0]))
        sweep = float(np.arctan2(np.cross([*across, 0], [*direction, 0])[2], across @ direction))
        canvas.arc(hinge, radius, start, sweep, look.ink)


def _scale_bar(canvas: Canvas, content: PlanContent, ink: Ink) -> None:
    """One or two metres of alternating black and white with a number, in a corner, on paper of its own."""
    length = 2 if content.high[0] - content.low[0] > 3.2 else 1
    x, y = np.add(content.low, [0.15, 0.12])
    paper = np.array(
        [[x - 0.1, y - 0.08], [x + length + 0.5, y - 0.08], [x + length + 0.5, y + 0.3], [x - 0.1, y + 0.3]]
    )
    # Neither the bar nor its paper may bend with the drawing.
    flat = Canvas(canvas.low, content.high, canvas.resolution_m, canvas.paper, np.random.default_rng(0))
    flat.image = canvas.image
    flat.fill([paper], canvas.paper)
    for i in range(2 * length):
        x0, x1 = x + 0.5 * i, x + 0.5 * (i + 1)
        corners = np.array([[x0, y], [x1, y], [x1, y + 0.08], [x0, y + 0.08]])
        if i % 2 == 0:
            flat.fill([corners], ink)
        flat.line(corners, ink, closed=True)
    flat.label(f"{length} m", [x + length + 0.06, y], ink)
