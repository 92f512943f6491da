"""Makers of cupboards, appliances and sanitary ware; see :mod:`crossover_models.simulation.furniture` for the frame."""

from __future__ import annotations

import itertools

import numpy as np

from crossover_models.simulation import palette
from crossover_models.simulation.furniture_models import Maker
from crossover_models.simulation.shapes import Color, MeshBuilder


def _doors(
    b: MeshBuilder, x: float, width: float, z0: float, z1: float, count: int, color: Color, rows: int = 1
) -> None:
    ys, zs = np.linspace(-width / 2, width / 2, count + 1), np.linspace(z0, z1, rows + 1)
    handle = (70, 70, 72)
    for y0, y1 in itertools.pairwise(ys):
        for low, high in itertools.pairwise(zs):
            b.box((x, y0 + 0.008, low + 0.008), (x + 0.018, y1 - 0.008, high - 0.008), color)
            middle = (low + high) / 2
            b.box((x + 0.018, y1 - 0.06, middle - 0.05), (x + 0.035, y1 - 0.045, middle + 0.05), handle)


def wardrobe(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Tall, two to four doors."""
    depth, width, height = rng.uniform(0.55, 0.66), rng.uniform(0.9, 2.2), rng.uniform(1.85, 2.25)
    body = palette.front(rng)
    door = body if rng.random() < 0.5 else palette.front(rng)
    b.box((-depth / 2, -width / 2, 0.0), (depth / 2, width / 2, height), palette.darker(body, 0.8))
    _doors(b, depth / 2, width, 0.06, height - 0.02, max(2, round(width / 0.5)), door)


def _shelves(b: MeshBuilder, rng: np.random.Generator, depth: float, width: float, height: float, fill: float) -> None:
    color, t = palette.front(rng), 0.025
    x0, x1, y0, y1 = -depth / 2, depth / 2, -width / 2, width / 2
    b.box((x0, y0, 0.0), (x1, y0 + t, height), color)
    b.box((x0, y1 - t, 0.0), (x1, y1, height), color)
    b.box((x0, y0, 0.0), (x0 + 0.01, y1, height), palette.darker(color, 0.7))
    boards = np.linspace(0.05, height - t, max(2, round(height / rng.uniform(0.3, 0.42)) + 1))
    for z in boards:
        b.box((x0, y0, z), (x1, y1, z + t), color)
    for z, above in itertools.pairwise(boards):
        y = y0 + t
        while y < y1 - 0.08:
            wide = rng.uniform(0.05, 0.28)
            if rng.random() < fill:
                tall = (above - z - t) * rng.uniform(0.5, 0.95)
                b.box(
                    (x0 + 0.01, y, z + t),
                    (x1 - rng.uniform(0.02, 0.1), min(y + wide, y1 - t), z + t + tall),
                    palette.fabric(rng),
                )
            y += wide + 0.005


def bookshelf(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Open shelves full of books."""
    _shelves(b, rng, rng.uniform(0.24, 0.36), rng.uniform(0.6, 1.4), rng.uniform(1.6, 2.2), 0.8)


def shelf(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Low or storage shelves, half empty."""
    _shelves(b, rng, rng.uniform(0.32, 0.5), rng.uniform(0.7, 1.6), rng.uniform(0.8, 1.9), 0.4)


def cabinet(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Sideboard or filing cabinet."""
    depth, width, height = rng.uniform(0.38, 0.5), rng.uniform(0.5, 1.5), rng.uniform(0.7, 1.35)
    color = palette.front(rng) if rng.random() < 0.6 else palette.metal(rng)
    b.box((-depth / 2, -width / 2, 0.0), (depth / 2, width / 2, height), palette.darker(color, 0.85))
    _doors(b, depth / 2, width, 0.05, height - 0.02, max(1, round(width / 0.5)), color, int(rng.integers(1, 4)))


def nightstand(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Small, one or two drawers, perhaps a lamp on it."""
    depth, width, height = rng.uniform(0.34, 0.44), rng.uniform(0.38, 0.52), rng.uniform(0.42, 0.6)
    color = palette.front(rng)
    b.box((-depth / 2, -width / 2, 0.0), (depth / 2, width / 2, height), palette.darker(color, 0.85))
    _doors(b, depth / 2, width, 0.05, height - 0.03, 1, color, int(rng.integers(1, 3)))
    if rng.random() < 0.5:
        b.cylinder((-0.03, 0.0), 0.04, height, height + 0.15, palette.metal(rng), sides=8)
        b.cylinder((-0.03, 0.0), 0.11, height + 0.15, height + 0.33, palette.fabric(rng), scale_top=0.7)


def counter(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Kitchen base units with a worktop, often with wall units above."""
    depth, width, height = 0.6, rng.uniform(0.8, 2.0), rng.uniform(0.85, 0.93)
    color, top = palette.front(rng), palette.wood(rng) if rng.random() < 0.5 else palette.metal(rng)
    b.box((-depth / 2, -width / 2, 0.08), (depth / 2 - 0.02, width / 2, height - 0.04), palette.darker(color, 0.85))
    b.box((-depth / 2, -width / 2, 0.0), (depth / 2 - 0.08, width / 2, 0.08), (50, 50, 50))
    b.box((-depth / 2, -width / 2, height - 0.04), (depth / 2 + 0.02, width / 2, height), top)
    count = max(1, round(width / 0.5))
    _doors(b, depth / 2 - 0.02, width, 0.09, height - 0.05, count, color)
    if rng.random() < 0.65:
        low, reach = rng.uniform(1.38, 1.5), -depth / 2 + 0.33
        b.box((-depth / 2, -width / 2, low), (reach, width / 2, low + 0.65), palette.darker(color, 0.85))
        _doors(b, reach, width, low, low + 0.65, count, color)


def stove(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Oven with four plates, often with a hood above."""
    width, height = rng.uniform(0.5, 0.62), rng.uniform(0.85, 0.92)
    body = palette.white(rng) if rng.random() < 0.5 else palette.metal(rng)
    b.box((-0.3, -width / 2, 0.0), (0.28, width / 2, height), body)
    b.box((0.28, -width / 2 + 0.04, 0.2), (0.3, width / 2 - 0.04, 0.65), (30, 30, 34))
    b.box((0.28, -width / 2 + 0.05, 0.68), (0.33, width / 2 - 0.05, 0.7), palette.metal(rng))
    b.box((-0.28, -width / 2 + 0.02, height), (0.27, width / 2 - 0.02, height + 0.006), (26, 26, 28))
    for x in (-0.14, 0.13):
        for y in (-0.13, 0.13):
            b.cylinder((x, y), rng.uniform(0.07, 0.1), height + 0.006, height + 0.012, (80, 40, 36))
    if rng.random() < 0.7:
        z = rng.uniform(1.55, 1.7)
        b.prism(
            [[-0.3, -width / 2], [0.15, -width / 2], [0.15, width / 2], [-0.3, width / 2]],
            z,
            z + 0.2,
            palette.metal(rng),
            0.5,
        )


def fridge(b: MeshBuilder, rng: np.random.Generator) -> None:
    """One or two doors."""
    depth, width, height = rng.uniform(0.6, 0.7), rng.uniform(0.55, 0.92), rng.uniform(1.45, 2.0)
    color = palette.white(rng) if rng.random() < 0.5 else palette.metal(rng)
    b.box((-depth / 2, -width / 2, 0.0), (depth / 2 - 0.05, width / 2, height), palette.darker(color, 0.85))
    split = rng.uniform(0.3, 0.7) * height
    wide = width > 0.8
    for low, high in ((0.04, split), (split, height)) if not wide else ((0.04, height),):
        _doors(b, depth / 2 - 0.05, width, low, high, 2 if wide else 1, color)


def sink(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Wash basin on a pedestal or in a cabinet, with a tap."""
    depth, width, height = rng.uniform(0.42, 0.56), rng.uniform(0.45, 0.9), rng.uniform(0.8, 0.9)
    basin = palette.white(rng)
    if rng.random() < 0.5:
        b.box((-depth / 2, -width / 2, 0.0), (depth / 2 - 0.03, width / 2, height - 0.1), palette.front(rng))
    else:
        b.cylinder((-depth / 6, 0.0), 0.1, 0.0, height - 0.1, basin, scale_top=1.3)
    b.box((-depth / 2, -width / 2, height - 0.12), (depth / 2, width / 2, height), basin)
    b.cylinder((0.04, 0.0), depth * 0.32, height, height + 0.004, palette.darker(basin, 0.7), sides=16, stretch_y=1.3)
    tap = palette.metal(rng)
    b.cylinder((-depth / 2 + 0.08, 0.0), 0.02, height, height + 0.16, tap, sides=8)
    b.box((-depth / 2 + 0.06, -0.015, height + 0.14), (-depth / 2 + 0.22, 0.015, height + 0.17), tap)


def toilet(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Bowl with lid and cistern."""
    bowl, height = palette.white(rng), rng.uniform(0.38, 0.44)
    b.cylinder((0.1, 0.0), 0.14, 0.0, height - 0.05, bowl, scale_top=1.3)
    b.cylinder((0.1, 0.0), 0.23, height - 0.05, height, bowl, sides=16, stretch_y=0.8)
    b.cylinder((0.1, 0.0), 0.22, height, height + 0.025, palette.darker(bowl, 0.94), sides=16, stretch_y=0.8)
    width = rng.uniform(0.34, 0.42)
    b.box((-0.34, -width / 2, height - 0.15), (-0.15, width / 2, height + rng.uniform(0.3, 0.42)), bowl)


def bathtub(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Rim around a deep floor; long side along the wall."""
    depth, width, height, rim = rng.uniform(0.7, 0.85), rng.uniform(1.5, 1.8), rng.uniform(0.5, 0.62), 0.08
    color = palette.white(rng)
    x0, x1, y0, y1 = -depth / 2, depth / 2, -width / 2, width / 2
    b.box((x0, y0, 0.0), (x1, y1, 0.15), color)
    for low, high in (
        ((x0, y0), (x0 + rim, y1)),
        ((x1 - rim, y0), (x1, y1)),
        ((x0, y0), (x1, y0 + rim)),
        ((x0, y1 - rim), (x1, y1)),
    ):
        b.box((*low, 0.15), (*high, height), color)
    b.cylinder((0.0, y0 + 0.04), 0.02, height, height + 0.2, palette.metal(rng), sides=8)


def shower(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Tray, riser and a post; open, for glass is no obstacle to sight."""
    side = rng.uniform(0.8, 0.95)
    b.box((-side / 2, -side / 2, 0.0), (side / 2, side / 2, rng.uniform(0.05, 0.14)), palette.white(rng))
    frame = palette.metal(rng)
    b.cylinder((-side / 2 + 0.05, 0.0), 0.015, 0.1, 2.0, frame, sides=6)
    b.box((-side / 2 + 0.04, -0.02, 1.98), (-side / 2 + 0.3, 0.02, 2.0), frame)
    b.cylinder((-side / 2 + 0.3, 0.0), 0.1, 1.95, 1.98, frame)
    b.box((side / 2 - 0.03, -side / 2, 0.1), (side / 2, -side / 2 + 0.03, 1.95), frame)
    b.box((side / 2 - 0.03, side / 2 - 0.03, 0.1), (side / 2, side / 2, 1.95), frame)
    b.box((-side / 2, side / 2 - 0.015, 0.1), (side / 2, side / 2, 1.9), (196, 214, 218))


def washing_machine(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Front loader."""
    height, body = rng.uniform(0.83, 0.88), palette.white(rng)
    b.box((-0.28, -0.3, 0.0), (0.28, 0.3, height), body)
    ring = [[0.29, 0.19 * np.cos(a), 0.42 + 0.19 * np.sin(a)] for a in np.arange(12) * 2 * np.pi / 12]
    vertices = np.array([[0.29, 0.0, 0.42], *ring])
    i = np.arange(12)
    b.add(vertices, np.c_[np.zeros(12, dtype=np.int64), i + 1, (i + 1) % 12 + 1], (40, 44, 52))
    b.box((0.28, -0.28, height - 0.13), (0.285, 0.28, height - 0.02), palette.plastic(rng))


def tv_stand(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Low board with a television."""
    depth, width, height = rng.uniform(0.35, 0.48), rng.uniform(1.0, 1.8), rng.uniform(0.38, 0.6)
    color = palette.front(rng)
    b.box((-depth / 2, -width / 2, 0.0), (depth / 2 - 0.02, width / 2, height), palette.darker(color, 0.85))
    _doors(b, depth / 2 - 0.02, width, 0.12, height - 0.02, int(rng.integers(2, 5)), color)
    half = min(width / 2 - 0.05, rng.uniform(0.42, 0.72))
    b.box((-0.1, -0.15, height), (0.1, 0.15, height + 0.02), (30, 30, 32))
    b.box((-0.02, -0.04, height), (0.0, 0.04, height + 0.1), (30, 30, 32))
    b.box((-0.03, -half, height + 0.07), (0.02, half, height + 0.07 + half * 1.14), (18, 18, 22))


def copier(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Office copier with trays and a panel."""
    depth, width, height = rng.uniform(0.55, 0.7), rng.uniform(0.55, 0.75), rng.uniform(0.85, 1.15)
    body = palette.plastic(rng)
    b.box((-depth / 2, -width / 2, 0.0), (depth / 2, width / 2, height - 0.25), body)
    b.box((-depth / 2, -width / 2, height - 0.15), (depth / 2, width / 2, height), palette.darker(body, 0.8))
    b.box((-depth / 2, -width / 2, height - 0.25), (-depth / 2 + 0.1, width / 2, height - 0.15), body)
    _doors(b, depth / 2, width, 0.05, height - 0.3, 1, palette.darker(body, 0.9), int(rng.integers(2, 4)))
    b.box((depth / 2, -width / 4, height - 0.08), (depth / 2 + 0.12, width / 4, height - 0.05), (50, 54, 60))


def crate(b: MeshBuilder, rng: np.random.Generator) -> None:
    """One to three stacked boxes."""
    z, side = 0.0, rng.uniform(0.35, 0.65)
    for _ in range(int(rng.integers(1, 4))):
        x, y, high = side * rng.uniform(0.4, 0.5), side * rng.uniform(0.4, 0.6), rng.uniform(0.22, 0.45)
        color = palette.wood(rng) if rng.random() < 0.7 else palette.plastic(rng)
        b.box((-x, -y, z), (x, y, z + high), color)
        b.box(
            (-x - 0.002, -0.03, z),
            (x + 0.002, 0.03, z + high + 0.002),
            palette.darker(color, 1.15 if sum(color) < 500 else 0.8),
        )
        z, side = z + high, side * rng.uniform(0.75, 1.0)


def bin_(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Waste bin."""
    b.cylinder((0.0, 0.0), rng.uniform(0.11, 0.18), 0.0, rng.uniform(0.28, 0.6), palette.plastic(rng), scale_top=1.2)


def locker(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Row of narrow metal lockers."""
    columns, height = int(rng.integers(2, 6)), rng.uniform(1.6, 1.95)
    width, color = columns * rng.uniform(0.28, 0.36), palette.metal(rng) if rng.random() < 0.5 else palette.fabric(rng)
    b.box((-0.23, -width / 2, 0.0), (0.23, width / 2, height), palette.darker(color, 0.8))
    _doors(b, 0.23, width, 0.08, height - 0.03, columns, color, int(rng.integers(1, 3)))


def reception_desk(b: MeshBuilder, rng: np.random.Generator) -> None:
    """High front towards visitors (+x), a lower worktop behind it."""
    width, height, color = rng.uniform(1.6, 2.6), rng.uniform(1.05, 1.2), palette.front(rng)
    b.box((0.2, -width / 2, 0.0), (0.26, width / 2, height), color)
    b.box((0.05, -width / 2, height), (0.36, width / 2, height + 0.04), palette.wood(rng))
    b.box((-0.4, -width / 2, 0.7), (0.2, width / 2, 0.74), palette.wood(rng))
    for y in (-width / 2, width / 2 - 0.05):
        b.box((-0.4, y, 0.0), (0.2, y + 0.05, 0.7), color)


MAKERS: dict[str, Maker] = {
    "wardrobe": wardrobe,
    "bookshelf": bookshelf,
    "shelf": shelf,
    "cabinet": cabinet,
    "nightstand": nightstand,
    "counter": counter,
    "stove": stove,
    "fridge": fridge,
    "sink": sink,
    "toilet": toilet,
    "bathtub": bathtub,
    "shower": shower,
    "washing machine": washing_machine,
    "tv stand": tv_stand,
    "copier": copier,
    "crate": crate,
    "bin": bin_,
    "locker": locker,
    "reception desk": reception_desk,
}
