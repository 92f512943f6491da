"""Makers of furniture to sit, lie and work at; see :mod:`crossover_models.simulation.furniture` for the frame."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from crossover_models.simulation import palette
from crossover_models.simulation.shapes import Color, MeshBuilder

Maker = Callable[[MeshBuilder, np.random.Generator], None]


def _legs(b: MeshBuilder, depth: float, width: float, height: float, thick: float, color: Color, round_: bool) -> None:
    for sx in (-1, 1):
        for sy in (-1, 1):
            x, y = sx * (depth / 2 - thick), sy * (width / 2 - thick)
            if round_:
                b.cylinder((x, y), thick / 2, 0.0, height, color, sides=8)
            else:
                b.box((x - thick / 2, y - thick / 2, 0.0), (x + thick / 2, y + thick / 2, height), color)


def bed(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Frame, mattress, blanket, pillows, perhaps a headboard; head at -x."""
    length, width = rng.uniform(1.9, 2.15), rng.choice([0.9, 1.2, 1.4, 1.6, 1.8]) + rng.uniform(-0.04, 0.04)
    frame, top = rng.uniform(0.2, 0.34), rng.uniform(0.42, 0.6)
    timber, sheet, blanket = palette.front(rng), palette.white(rng), palette.fabric(rng)
    x0, x1, y0, y1 = -length / 2, length / 2, -width / 2, width / 2
    if rng.random() < 0.5:
        b.box((x0, y0, 0.0), (x1, y1, frame), timber)
    else:
        _legs(b, length, width, frame, 0.07, timber, bool(rng.random() < 0.5))
        b.box((x0, y0, frame - 0.1), (x1, y1, frame), timber)
    b.box((x0 + 0.03, y0 + 0.03, frame), (x1 - 0.03, y1 - 0.03, top), sheet)
    fold = rng.uniform(0.5, 0.8)
    b.box((x0 + fold, y0, top - 0.15), (x1 - 0.01, y1, top + 0.03), blanket)
    for y in (-width / 4, width / 4) if width > 1.25 else (0.0,):
        half = min(0.33, width / (5 if width > 1.25 else 2.6))
        b.box((x0 + 0.1, y - half, top), (x0 + 0.48, y + half, top + 0.12), palette.white(rng))
    if rng.random() < 0.75:
        b.box((x0 - 0.06, y0, 0.0), (x0, y1, top + rng.uniform(0.25, 0.7)), timber)
    if rng.random() < 0.3:
        b.box((x1, y0, 0.0), (x1 + 0.05, y1, top + 0.1), timber)


def chair(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Seat, four legs, and a back of slats or a panel."""
    side, seat, back = rng.uniform(0.38, 0.48), rng.uniform(0.43, 0.48), rng.uniform(0.78, 1.05)
    frame = palette.wood(rng) if rng.random() < 0.7 else palette.metal(rng)
    cover = palette.fabric(rng) if rng.random() < 0.6 else frame
    _legs(b, side, side, seat, rng.uniform(0.025, 0.045), frame, bool(rng.random() < 0.5))
    b.box((-side / 2, -side / 2, seat), (side / 2, side / 2, seat + rng.uniform(0.02, 0.07)), cover)
    x0 = -side / 2
    if rng.random() < 0.5:
        b.box((x0, -side / 2, seat), (x0 + 0.04, side / 2, back), cover)
    else:
        for y in np.linspace(-side / 2 + 0.02, side / 2 - 0.02, int(rng.integers(3, 6))):
            b.box((x0, y - 0.015, seat), (x0 + 0.025, y + 0.015, back), frame)
        b.box((x0 - 0.005, -side / 2, back - 0.08), (x0 + 0.03, side / 2, back), frame)


def office_chair(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Star base, gas spring, padded seat and back, perhaps arm rests."""
    side, seat, back = rng.uniform(0.46, 0.54), rng.uniform(0.45, 0.54), rng.uniform(0.95, 1.25)
    frame, cover = palette.metal(rng), palette.fabric(rng)
    for angle in np.arange(5) * 2 * np.pi / 5 + 0.3:
        x, y = 0.26 * np.cos(angle), 0.26 * np.sin(angle)
        b.prism([[-0.02, -0.02], [x - 0.02, y - 0.02], [x + 0.02, y + 0.02], [0.02, 0.02]], 0.06, 0.1, frame)
        b.cylinder((x, y), 0.03, 0.0, 0.06, palette.darker(frame), sides=6)
    b.cylinder((0.0, 0.0), 0.035, 0.08, seat, frame, sides=8)
    b.box((-side / 2, -side / 2, seat), (side / 2, side / 2, seat + 0.09), cover)
    b.box((-side / 2 - 0.05, -side / 2 + 0.03, seat + 0.12), (-side / 2 + 0.03, side / 2 - 0.03, back), cover)
    b.box((-side / 2 - 0.03, -0.04, seat), (-side / 2, 0.04, seat + 0.2), frame)
    if rng.random() < 0.6:
        for y in (-side / 2 - 0.03, side / 2):
            b.box((-side / 3, y, seat + 0.2), (side / 4, y + 0.04, seat + 0.24), frame)
            b.box((-0.03, y, seat), (0.03, y + 0.04, seat + 0.2), frame)


def _sofa(b: MeshBuilder, rng: np.random.Generator, width: float, chaise: bool) -> None:
    depth, seat, back, arm = (
        rng.uniform(0.78, 0.98),
        rng.uniform(0.38, 0.46),
        rng.uniform(0.7, 0.95),
        rng.uniform(0.1, 0.24),
    )
    cover = palette.fabric(rng)
    cushion = cover if rng.random() < 0.6 else palette.fabric(rng)
    x0, x1, y0, y1 = -depth / 2, depth / 2, -width / 2, width / 2
    foot = rng.uniform(0.03, 0.14)
    _legs(b, depth, width, foot, 0.06, palette.wood(rng), True)
    b.box((x0, y0, foot), (x1, y1, seat - 0.12), palette.darker(cover, 0.85))
    b.box((x0, y0, foot), (x0 + 0.22, y1, back), cover)
    arm_top = seat + rng.uniform(0.12, 0.25)
    b.box((x0, y0, foot), (x1, y0 + arm, arm_top), cover)
    b.box((x0, y1 - arm, foot), (x1, y1, arm_top), cover)
    seats = max(1, round((width - 2 * arm) / 0.75))
    edges = np.linspace(y0 + arm, y1 - arm, seats + 1)
    for low, high in itertools.pairwise(edges):
        b.box((x0 + 0.22, low + 0.01, seat - 0.12), (x1, high - 0.01, seat + 0.03), cushion)
    if chaise:
        reach = rng.uniform(0.5, 0.8)
        b.box((x1, y0, foot), (x1 + reach, y0 + 0.8, seat - 0.02), cover)


def sofa(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Two to three seats, sometimes with a chaise longue."""
    _sofa(b, rng, rng.uniform(1.5, 2.4), bool(rng.random() < 0.2))


def armchair(b: MeshBuilder, rng: np.random.Generator) -> None:
    """A sofa for one."""
    _sofa(b, rng, rng.uniform(0.72, 0.98), False)


def _top_and_legs(b: MeshBuilder, rng: np.random.Generator, depth: float, width: float, height: float) -> None:
    top, frame = palette.front(rng), palette.wood(rng) if rng.random() < 0.5 else palette.metal(rng)
    thick = rng.uniform(0.02, 0.05)
    b.box((-depth / 2, -width / 2, height - thick), (depth / 2, width / 2, height), top)
    if rng.random() < 0.3:
        for y in (-width / 2 + 0.06, width / 2 - 0.1):
            b.box((-depth / 2 + 0.04, y, 0.0), (depth / 2 - 0.04, y + 0.04, height - thick), frame)
    else:
        _legs(b, depth, width, height - thick, rng.uniform(0.04, 0.08), frame, bool(rng.random() < 0.4))


def table(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Dining table: rectangular, or round on a column."""
    height = rng.uniform(0.71, 0.77)
    if rng.random() < 0.3:
        radius, color = rng.uniform(0.45, 0.65), palette.front(rng)
        b.cylinder((0.0, 0.0), radius, height - 0.035, height, color, sides=20)
        b.cylinder((0.0, 0.0), 0.06, 0.0, height - 0.03, palette.metal(rng))
        b.cylinder((0.0, 0.0), radius * 0.55, 0.0, 0.04, palette.metal(rng), sides=16, scale_top=0.6)
    else:
        _top_and_legs(b, rng, rng.uniform(0.75, 0.95), rng.uniform(1.1, 1.8), height)


def meeting_table(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Long, boat-shaped or rectangular."""
    depth, width, height = rng.uniform(1.0, 1.3), rng.uniform(1.9, 2.9), rng.uniform(0.72, 0.76)
    if rng.random() < 0.4:
        color = palette.front(rng)
        b.cylinder((0.0, 0.0), depth / 2, height - 0.04, height, color, sides=24, stretch_y=width / depth)
        for y in (-width / 4, width / 4):
            b.box((-0.2, y - 0.05, 0.0), (0.2, y + 0.05, height - 0.04), palette.metal(rng))
    else:
        _top_and_legs(b, rng, depth, width, height)


def coffee_table(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Low, rectangular or round, sometimes with a lower shelf."""
    height = rng.uniform(0.33, 0.48)
    if rng.random() < 0.35:
        radius = rng.uniform(0.3, 0.45)
        b.cylinder((0.0, 0.0), radius, height - 0.03, height, palette.front(rng), sides=18)
        b.cylinder((0.0, 0.0), radius * 0.7, 0.0, height - 0.03, palette.metal(rng), sides=10, scale_top=0.4)
    else:
        depth, width = rng.uniform(0.45, 0.65), rng.uniform(0.7, 1.15)
        _top_and_legs(b, rng, depth, width, height)
        if rng.random() < 0.5:
            b.box(
                (-depth / 2 + 0.05, -width / 2 + 0.05, 0.1),
                (depth / 2 - 0.05, width / 2 - 0.05, 0.12),
                palette.wood(rng),
            )


def desk(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Desk whose user sits at +x: top, legs, drawers, often a monitor, sometimes a screen at the back."""
    depth, width, height = rng.uniform(0.6, 0.82), rng.uniform(1.1, 1.8), rng.uniform(0.71, 0.76)
    _top_and_legs(b, rng, depth, width, height)
    if rng.random() < 0.65:
        side = rng.choice([-1.0, 1.0])
        y = side * (width / 2 - 0.27)
        b.box((-depth / 2 + 0.08, y - 0.2, 0.06), (depth / 2 - 0.06, y + 0.2, height - 0.05), palette.front(rng))
    for _ in range(int(rng.integers(0, 3))):
        y = rng.uniform(-width / 3, width / 3)
        half = rng.uniform(0.22, 0.32)
        black = palette.darker(palette.plastic(rng), 0.4)
        b.box((-0.16, y - 0.1, height), (0.02, y + 0.1, height + 0.015), black)
        b.box((-0.1, y - 0.02, height), (-0.08, y + 0.02, height + 0.2), black)
        b.box((-0.09, y - half, height + 0.1), (-0.06, y + half, height + 0.1 + half), black)
    if rng.random() < 0.25:
        b.box((-depth / 2 - 0.03, -width / 2, 0.3), (-depth / 2, width / 2, height + 0.4), palette.fabric(rng))


def lamp(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Floor lamp: foot, pole, shade."""
    height, radius = rng.uniform(1.3, 1.8), rng.uniform(0.14, 0.24)
    frame = palette.metal(rng)
    b.cylinder((0.0, 0.0), radius * 0.9, 0.0, 0.03, frame)
    b.cylinder((0.0, 0.0), 0.015, 0.03, height - 0.1, frame, sides=6)
    b.cylinder(
        (0.0, 0.0),
        radius,
        height - rng.uniform(0.2, 0.35),
        height,
        palette.fabric(rng),
        scale_top=rng.uniform(0.5, 1.0),
    )


def plant(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Pot and a crown of frusta or blades."""
    pot, radius, height = rng.uniform(0.2, 0.45), rng.uniform(0.13, 0.22), rng.uniform(0.6, 1.7)
    b.cylinder((0.0, 0.0), radius * 0.8, 0.0, pot, palette.fabric(rng), scale_top=1.25)
    green = palette.leaf(rng)
    if rng.random() < 0.5:
        b.cylinder((0.0, 0.0), 0.02, pot, height * 0.7, palette.wood(rng), sides=6)
        for _ in range(int(rng.integers(3, 7))):
            angle, z = rng.uniform(0, 2 * np.pi), rng.uniform(0.45, 0.85) * height
            offset, size = rng.uniform(0.0, 0.15), rng.uniform(0.1, 0.2)
            xy = (offset * np.cos(angle), offset * np.sin(angle))
            b.cylinder(xy, size, max(z, pot), max(z, pot) + size * 1.4, palette.leaf(rng), sides=7, scale_top=0.35)
    else:
        for angle in np.arange(9) * 2 * np.pi / 9 + rng.uniform(0, 1):
            reach, top = rng.uniform(0.12, 0.3), rng.uniform(0.7, 1.0) * height
            x, y = reach * np.cos(angle), reach * np.sin(angle)
            side = np.array([-y, x]) / reach * 0.035
            vertices = np.array([[-side[0], -side[1], pot], [side[0], side[1], pot], [x, y, max(top, pot + 0.1)]])
            b.add(vertices, np.array([[0, 1, 2], [0, 2, 1]]), green)


def picture(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Framed picture on the wall behind it (-x)."""
    half, low, high = rng.uniform(0.2, 0.6), rng.uniform(1.1, 1.4), rng.uniform(1.7, 2.0)
    b.box((-0.015, -half, low), (0.015, half, high), palette.wood(rng), {"+x": palette.fabric(rng)})
    inner = rng.uniform(0.3, 0.7) * half
    middle = (low + high) / 2
    b.box((0.015, -inner, middle - 0.1), (0.018, inner, middle + 0.12), palette.fabric(rng))


def mirror(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Pale panel on the wall behind it (-x)."""
    half = rng.uniform(0.2, 0.45)
    b.box(
        (-0.01, -half, rng.uniform(1.0, 1.15)),
        (0.01, half, rng.uniform(1.7, 1.95)),
        palette.metal(rng),
        {"+x": (198, 212, 216)},
    )


def whiteboard(b: MeshBuilder, rng: np.random.Generator) -> None:
    """White panel with a tray on the wall behind it (-x)."""
    half, low = rng.uniform(0.6, 1.2), rng.uniform(0.8, 1.0)
    b.box((-0.015, -half, low), (0.015, half, low + rng.uniform(0.8, 1.1)), palette.metal(rng), {"+x": (244, 246, 246)})
    b.box((0.015, -half * 0.5, low - 0.01), (0.07, half * 0.5, low + 0.01), palette.metal(rng))


def radiator(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Ribbed heater on the wall behind it (-x)."""
    half, low, high = rng.uniform(0.35, 0.8), 0.1, rng.uniform(0.5, 0.7)
    color = palette.white(rng)
    b.box((-0.05, -half, low), (0.02, half, high), color)
    for y in np.arange(-half + 0.03, half - 0.03, 0.09):
        b.box((0.02, y, low + 0.03), (0.05, y + 0.05, high - 0.03), color)


MAKERS: dict[str, Maker] = {
    "bed": bed,
    "chair": chair,
    "office chair": office_chair,
    "sofa": sofa,
    "armchair": armchair,
    "table": table,
    "meeting table": meeting_table,
    "coffee table": coffee_table,
    "desk": desk,
    "lamp": lamp,
    "plant": plant,
    "picture": picture,
    "mirror": mirror,
    "whiteboard": whiteboard,
    "radiator": radiator,
}
