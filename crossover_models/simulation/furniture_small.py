"""Makers of what lies about: things on tables, shelves and floors, and seats that belong to no set.

See :mod:`crossover_models.simulation.furniture` for the frame: x forward, footprint about the origin, z = 0 below.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from crossover_models.simulation import palette
from crossover_models.simulation.furniture_models import Maker
from crossover_models.simulation.shapes import Color, MeshBuilder

_BLACK: Color = (34, 35, 38)


def _turned(b: MeshBuilder, profile: Sequence[tuple[float, float]], color: Color, sides: int = 12) -> None:
    """A solid of revolution: (radius, z) from below to above."""
    for (r0, z0), (r1, z1) in itertools.pairwise(profile):
        if z1 > z0 and max(r0, r1) > 0:
            radius = max(r0, 1e-3)
            b.cylinder((0.0, 0.0), radius, z0, z1, color, sides=sides, scale_top=max(r1, 1e-3) / radius)


def _block(b: MeshBuilder, depth: float, width: float, z0: float, z1: float, color: Color) -> None:
    b.box((-depth / 2, -width / 2, z0), (depth / 2, width / 2, z1), color)


def _ball(b: MeshBuilder, radius: float, middle: float, color: Color, stretch: float = 1.0) -> None:
    angles = np.linspace(-np.pi / 2, np.pi / 2, 7)
    profile = [(radius * float(np.cos(a)), middle + radius * stretch * float(np.sin(a))) for a in angles]
    _turned(b, profile, color, 10)


def book(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Lying book: two covers around paler pages; sometimes a pile of them."""
    z = 0.0
    for _ in range(1 if rng.random() < 0.6 else int(rng.integers(2, 5))):
        depth, width, thick = rng.uniform(0.13, 0.22), rng.uniform(0.18, 0.3), rng.uniform(0.015, 0.045)
        cover = palette.fabric(rng)
        _block(b, depth, width, z, z + 0.003, cover)
        _block(b, depth * 0.96, width * 0.97, z + 0.003, z + thick - 0.003, (232, 226, 208))
        b.box((-depth / 2, -width / 2, z), (-depth / 2 + 0.004, width / 2, z + thick), cover)
        _block(b, depth, width, z + thick - 0.003, z + thick, cover)
        z += thick


def newspaper(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Folded sheets."""
    _block(b, rng.uniform(0.2, 0.28), rng.uniform(0.28, 0.4), 0.0, rng.uniform(0.008, 0.02), (206, 204, 196))


def box(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Cardboard or colored box with a seam of tape."""
    depth, width, height = rng.uniform(0.2, 0.5), rng.uniform(0.22, 0.55), rng.uniform(0.12, 0.4)
    color = (178, 140, 98) if rng.random() < 0.7 else palette.fabric(rng)
    _block(b, depth, width, 0.0, height, color)
    b.box((-depth / 2, -0.03, height), (depth / 2, 0.03, height + 0.002), palette.darker(color, 0.8))


def vase(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Belly, neck and lip."""
    radius, height = rng.uniform(0.05, 0.11), rng.uniform(0.16, 0.4)
    neck = radius * rng.uniform(0.3, 0.7)
    _turned(
        b,
        [
            (radius * 0.6, 0.0),
            (radius, height * rng.uniform(0.3, 0.5)),
            (neck, height * rng.uniform(0.7, 0.85)),
            (neck * 1.3, height),
        ],
        palette.fabric(rng),
    )


def bottle(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Cylinder, shoulder, neck, cap."""
    radius, height = rng.uniform(0.03, 0.045), rng.uniform(0.2, 0.34)
    color = palette.leaf(rng) if rng.random() < 0.4 else palette.fabric(rng)
    shoulder = height * rng.uniform(0.5, 0.7)
    _turned(b, [(radius, 0.0), (radius, shoulder), (radius * 0.35, shoulder + 0.05), (radius * 0.35, height)], color)
    b.cylinder((0.0, 0.0), radius * 0.42, height, height + 0.015, palette.plastic(rng), sides=8)


def bowl(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Opens upwards."""
    radius, height = rng.uniform(0.07, 0.15), rng.uniform(0.05, 0.1)
    color = palette.white(rng) if rng.random() < 0.5 else palette.fabric(rng)
    _turned(b, [(radius * 0.45, 0.0), (radius * 0.8, height * 0.5), (radius, height)], color)


def plate(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Flat, with a raised rim."""
    radius = rng.uniform(0.09, 0.14)
    color = palette.white(rng) if rng.random() < 0.7 else palette.fabric(rng)
    _turned(b, [(radius * 0.6, 0.0), (radius, 0.018)], color, 16)


def cup(b: MeshBuilder, rng: np.random.Generator) -> None:
    """With a handle to one side."""
    radius, height = rng.uniform(0.033, 0.048), rng.uniform(0.07, 0.12)
    color = palette.white(rng) if rng.random() < 0.5 else palette.fabric(rng)
    _turned(b, [(radius * rng.uniform(0.7, 1.0), 0.0), (radius, height)], color)
    b.box((-0.006, radius * 0.9, height * 0.3), (0.006, radius + 0.03, height * 0.75), color)


def candle(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Wax and wick."""
    radius, height = rng.uniform(0.025, 0.045), rng.uniform(0.07, 0.2)
    b.cylinder((0.0, 0.0), radius, 0.0, height, palette.white(rng))
    b.cylinder((0.0, 0.0), 0.004, height, height + 0.012, _BLACK, sides=5)


def clock(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Alarm clock with a pale face."""
    depth, width, height = rng.uniform(0.06, 0.11), rng.uniform(0.11, 0.18), rng.uniform(0.1, 0.18)
    b.box((-depth / 2, -width / 2, 0.0), (depth / 2, width / 2, height), palette.plastic(rng), {"+x": (236, 236, 228)})
    b.box((depth / 2, -0.004, height * 0.45), (depth / 2 + 0.003, 0.004, height * 0.85), _BLACK)


def laptop(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Open, its screen at the back."""
    depth, width, screen = rng.uniform(0.22, 0.27), rng.uniform(0.31, 0.38), rng.uniform(0.19, 0.25)
    color = palette.metal(rng)
    _block(b, depth, width, 0.0, 0.018, color)
    b.box((-depth / 2 - 0.01, -width / 2, 0.018), (-depth / 2, width / 2, screen), color, {"+x": _BLACK})


def monitor(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Screen on a foot."""
    half, height, foot = rng.uniform(0.22, 0.34), rng.uniform(0.3, 0.42), rng.uniform(0.08, 0.14)
    color = palette.darker(palette.plastic(rng), 0.5)
    _block(b, 0.18, 0.24, 0.0, 0.015, color)
    b.box((-0.03, -0.025, 0.015), (-0.01, 0.025, foot + 0.1), color)
    b.box((-0.01, -half, foot), (0.025, half, foot + height), color, {"+x": _BLACK})


def television(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Flat screen on a low foot."""
    half, height = rng.uniform(0.4, 0.7), rng.uniform(0.5, 0.8)
    _block(b, 0.2, half * 0.7, 0.0, 0.015, _BLACK)
    b.box((-0.02, -0.06, 0.0), (0.0, 0.06, 0.1), _BLACK)
    b.box((-0.025, -half, 0.06), (0.025, half, height), palette.darker(palette.plastic(rng), 0.45), {"+x": _BLACK})


def remote_control(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Slab with a row of buttons."""
    length, width = rng.uniform(0.14, 0.22), rng.uniform(0.04, 0.055)
    _block(b, length, width, 0.0, 0.018, palette.darker(palette.plastic(rng), 0.6))
    _block(b, length * 0.7, width * 0.5, 0.018, 0.021, palette.white(rng))


def phone(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Slab with a dark screen."""
    b.box((-0.075, -0.037, 0.0), (0.075, 0.037, rng.uniform(0.008, 0.012)), palette.plastic(rng), {"+z": _BLACK})


def pillow(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Cushion: thick in the middle, flat at its seam."""
    depth, width, thick = rng.uniform(0.36, 0.5), rng.uniform(0.38, 0.7), rng.uniform(0.1, 0.18)
    outline = np.array([[-depth, -width], [depth, -width], [depth, width], [-depth, width]]) / 2
    color = palette.fabric(rng)
    b.prism(outline * 0.75, 0.0, thick * 0.45, color, 1 / 0.75)
    b.prism(outline, thick * 0.45, thick * 0.8, color, 0.85)
    b.prism(outline * 0.85, thick * 0.8, thick, color, 0.7)


def teddy_bear(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Sitting, of balls."""
    size, color = rng.uniform(0.1, 0.18), palette.wood(rng)
    _ball(b, size, size, color, 1.0)
    _ball(b, size * 0.7, size * 2.3, color)
    for y in (-1, 1):
        b.cylinder((size * 0.8, y * size * 0.6), size * 0.32, 0.0, size * 0.6, color, sides=8)
        b.cylinder((0.0, y * size * 0.55), size * 0.2, size * 2.75, size * 3.1, palette.darker(color, 0.8), sides=8)


def statue(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Figure on a plinth."""
    height, radius = rng.uniform(0.18, 0.4), rng.uniform(0.04, 0.08)
    color = palette.metal(rng) if rng.random() < 0.5 else palette.white(rng)
    _block(b, radius * 2, radius * 2, 0.0, height * 0.12, palette.darker(color))
    waist = rng.uniform(0.35, 0.7) * radius
    _turned(
        b,
        [
            (radius * 0.7, height * 0.12),
            (waist, height * 0.5),
            (radius * 0.8, height * 0.72),
            (0.3 * radius, height * 0.8),
        ],
        color,
        9,
    )
    _ball(b, radius * 0.45, height - radius * 0.45, color)


def ball(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Basketball."""
    radius = rng.uniform(0.11, 0.125)
    _ball(b, radius, radius, (198, 104, 48))


def fruit(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Apple, tomato or potato, or a head of lettuce."""
    radius = rng.uniform(0.035, 0.08)
    colors = ((186, 52, 44), (148, 176, 64), (196, 160, 104), (220, 176, 60))
    _ball(b, radius, radius * 0.9, colors[int(rng.integers(len(colors)))], 0.9)


def bread(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Loaf."""
    length, width, height = rng.uniform(0.2, 0.3), rng.uniform(0.1, 0.13), rng.uniform(0.08, 0.14)
    _block(b, length, width, 0.0, height * 0.6, (178, 124, 68))
    outline = np.array([[-length, -width], [length, -width], [length, width], [-length, width]]) / 2
    b.prism(outline, height * 0.6, height, (160, 104, 54), 0.7)


def pan(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Pan or pot with a handle towards the front."""
    radius, height = rng.uniform(0.1, 0.15), rng.uniform(0.05, 0.18)
    color = palette.darker(palette.metal(rng), 0.8)
    _turned(b, [(radius * 0.9, 0.0), (radius, height)], color, 16)
    b.box((radius, -0.012, height - 0.03), (radius + rng.uniform(0.1, 0.2), 0.012, height - 0.012), _BLACK)


def kettle(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Belly, spout and handle."""
    radius, height = rng.uniform(0.075, 0.1), rng.uniform(0.16, 0.24)
    color = palette.metal(rng) if rng.random() < 0.6 else palette.fabric(rng)
    _turned(b, [(radius, 0.0), (radius * 0.65, height * 0.85), (radius * 0.2, height)], color)
    b.box((radius * 0.7, -0.015, height * 0.5), (radius + 0.05, 0.015, height * 0.75), color)
    b.box((-radius - 0.04, -0.012, height * 0.2), (-radius - 0.02, 0.012, height * 0.85), _BLACK)
    b.box((-radius - 0.02, -0.012, height * 0.75), (-radius * 0.5, 0.012, height * 0.85), _BLACK)


def _appliance(b: MeshBuilder, size: tuple[float, float, float], rng: np.random.Generator, front: Color) -> None:
    depth, width, height = size
    color = palette.metal(rng) if rng.random() < 0.5 else palette.plastic(rng)
    b.box((-depth / 2, -width / 2, 0.01), (depth / 2, width / 2, height), color)
    b.box((depth / 2, -width * 0.45, height * 0.15), (depth / 2 + 0.006, width * 0.25, height * 0.88), front)
    b.box((depth / 2, width * 0.3, height * 0.3), (depth / 2 + 0.02, width * 0.4, height * 0.7), (110, 110, 112))
    _block(b, depth * 0.9, width * 0.9, 0.0, 0.01, _BLACK)


def microwave(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Oven with a dark window."""
    _appliance(b, (rng.uniform(0.33, 0.42), rng.uniform(0.45, 0.6), rng.uniform(0.26, 0.34)), rng, _BLACK)


def toaster(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Two slots."""
    depth, width, height = rng.uniform(0.16, 0.2), rng.uniform(0.26, 0.34), rng.uniform(0.17, 0.21)
    _block(b, depth, width, 0.0, height, palette.metal(rng))
    for x in (-0.03, 0.03):
        b.box((x - 0.012, -width * 0.38, height), (x + 0.012, width * 0.38, height + 0.002), _BLACK)


def coffee_machine(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Tank behind, spout above a cup's place."""
    depth, width, height = rng.uniform(0.26, 0.4), rng.uniform(0.2, 0.3), rng.uniform(0.32, 0.44)
    color = palette.plastic(rng)
    _block(b, depth, width, 0.0, 0.04, color)
    b.box((-depth / 2, -width / 2, 0.04), (-depth * 0.05, width / 2, height), color)
    b.box((-depth * 0.05, -width / 2, height * 0.65), (depth * 0.4, width / 2, height), palette.darker(color))


def speaker(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Box with a dark front."""
    depth, width, height = rng.uniform(0.16, 0.26), rng.uniform(0.14, 0.24), rng.uniform(0.22, 0.42)
    b.box((-depth / 2, -width / 2, 0.0), (depth / 2, width / 2, height), palette.wood(rng), {"+x": _BLACK})


def desk_lamp(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Foot, arm, shade."""
    height, radius = rng.uniform(0.3, 0.5), rng.uniform(0.06, 0.1)
    frame = palette.metal(rng)
    b.cylinder((0.0, 0.0), radius, 0.0, 0.02, frame)
    b.cylinder((0.0, 0.0), 0.012, 0.02, height - 0.1, frame, sides=6)
    b.cylinder((0.0, 0.0), radius * 1.2, height - 0.13, height, palette.fabric(rng), scale_top=rng.uniform(0.4, 0.8))


def tissue_box(b: MeshBuilder, rng: np.random.Generator) -> None:
    """With a tissue looking out."""
    depth, width, height = rng.uniform(0.11, 0.13), rng.uniform(0.2, 0.25), rng.uniform(0.07, 0.12)
    _block(b, depth, width, 0.0, height, palette.fabric(rng))
    b.cylinder((0.0, 0.0), 0.03, height, height + 0.04, (246, 246, 244), sides=6, scale_top=0.3)


def paper_roll(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Kitchen roll, standing."""
    b.cylinder((0.0, 0.0), rng.uniform(0.05, 0.065), 0.0, rng.uniform(0.2, 0.26), (240, 240, 236), sides=14)


def stool(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Seat on legs, no back."""
    radius, height = rng.uniform(0.16, 0.22), rng.uniform(0.42, 0.78)
    frame = palette.wood(rng) if rng.random() < 0.6 else palette.metal(rng)
    for x in (-1, 1):
        for y in (-1, 1):
            b.cylinder((x * radius * 0.62, y * radius * 0.62), 0.018, 0.0, height - 0.03, frame, sides=6)
    cover = frame if rng.random() < 0.5 else palette.fabric(rng)
    b.cylinder((0.0, 0.0), radius, height - 0.05, height, cover, sides=14)


def ottoman(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Padded block on low feet."""
    depth, width, height = rng.uniform(0.45, 0.7), rng.uniform(0.5, 0.9), rng.uniform(0.36, 0.46)
    cover = palette.fabric(rng)
    _block(b, depth * 0.85, width * 0.85, 0.0, 0.06, palette.wood(rng))
    _block(b, depth, width, 0.06, height - 0.06, palette.darker(cover, 0.9))
    outline = np.array([[-depth, -width], [depth, -width], [depth, width], [-depth, width]]) / 2
    b.prism(outline, height - 0.06, height, cover, 0.92)


def pet_bed(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Low round cushion within a soft rim."""
    radius, cover = rng.uniform(0.3, 0.42), palette.fabric(rng)
    _turned(b, [(radius * 0.9, 0.0), (radius, 0.05), (radius * 0.97, 0.1), (radius * 0.8, 0.13)], cover, 18)
    b.cylinder((0.0, 0.0), radius * 0.7, 0.13, 0.135, palette.fabric(rng), sides=18)


def safe(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Steel box with a dial."""
    side, height = rng.uniform(0.4, 0.56), rng.uniform(0.4, 0.6)
    color = palette.darker(palette.metal(rng), 0.7)
    _block(b, side, side, 0.0, height, color)
    b.box(
        (side / 2, -side * 0.4, height * 0.1), (side / 2 + 0.015, side * 0.4, height * 0.9), palette.darker(color, 1.2)
    )
    b.box((side / 2 + 0.015, -0.04, height * 0.5), (side / 2 + 0.04, 0.04, height * 0.58), (190, 190, 190))


def cart(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Three boards between four posts."""
    depth, width, height = rng.uniform(0.4, 0.55), rng.uniform(0.6, 0.8), rng.uniform(0.8, 1.2)
    frame, board = palette.metal(rng), palette.front(rng)
    for x in (-depth / 2 + 0.015, depth / 2 - 0.015):
        for y in (-width / 2 + 0.015, width / 2 - 0.015):
            b.cylinder((x, y), 0.015, 0.0, height, frame, sides=6)
    for z in np.linspace(0.15, height - 0.06, 3):
        _block(b, depth, width, float(z), float(z) + 0.03, board)


def bag(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Tied bag, slack at the sides."""
    radius, height = rng.uniform(0.18, 0.26), rng.uniform(0.4, 0.55)
    color = palette.darker(palette.plastic(rng), 0.7)
    tied = [(radius * 0.8, 0.0), (radius, height * 0.35), (radius * 0.5, height * 0.75), (radius * 0.12, height)]
    _turned(b, tied, color, 11)


def hamper(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Basket, wider above."""
    radius, height = rng.uniform(0.16, 0.22), rng.uniform(0.45, 0.6)
    b.cylinder((0.0, 0.0), radius, 0.0, height, palette.wood(rng), sides=16, scale_top=rng.uniform(1.0, 1.25))


def boots(b: MeshBuilder, rng: np.random.Generator) -> None:
    """A pair."""
    height, color = rng.uniform(0.2, 0.5), palette.darker(palette.wood(rng), 0.7)
    for y in (-0.07, 0.07):
        b.box((-0.13, y - 0.045, 0.0), (0.14, y + 0.045, 0.09), color)
        b.box((-0.13, y - 0.045, 0.09), (-0.02, y + 0.045, height), color)


def vacuum_cleaner(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Upright: head, body, handle."""
    height, color = rng.uniform(0.9, 1.15), palette.fabric(rng)
    _block(b, 0.34, 0.3, 0.0, 0.1, color)
    b.box((-0.15, -0.09, 0.1), (0.0, 0.09, height * 0.65), palette.darker(color, 0.7))
    b.box((-0.13, -0.015, height * 0.65), (-0.1, 0.015, height), _BLACK)


def towel(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Folded cloth."""
    color = palette.fabric(rng)
    depth, width, height = rng.uniform(0.2, 0.3), rng.uniform(0.25, 0.4), rng.uniform(0.04, 0.1)
    _block(b, depth, width, 0.0, height / 2, palette.darker(color, 0.9))
    _block(b, depth * 0.97, width * 0.98, height / 2, height, color)


def bat(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Baseball bat, standing on its thick end."""
    length = rng.uniform(0.75, 0.95)
    _turned(b, [(0.025, 0.0), (0.035, length * 0.2), (0.015, length * 0.7), (0.02, length)], palette.wood(rng), 10)


def racket(b: MeshBuilder, rng: np.random.Generator) -> None:
    """Tennis racket, lying."""
    frame = palette.fabric(rng)
    b.cylinder((-0.12, 0.0), 0.13, 0.0, 0.015, (222, 220, 200), sides=16)
    b.box((0.0, -0.02, 0.0), (0.32, 0.02, 0.025), frame)


MAKERS: dict[str, Maker] = {
    "bag": bag,
    "baseball bat": bat,
    "basketball": ball,
    "book": book,
    "boots": boots,
    "bottle": bottle,
    "bowl": bowl,
    "box": box,
    "bread": bread,
    "candle": candle,
    "cart": cart,
    "clock": clock,
    "coffee machine": coffee_machine,
    "cup": cup,
    "desk lamp": desk_lamp,
    "fruit": fruit,
    "hamper": hamper,
    "kettle": kettle,
    "laptop": laptop,
    "microwave": microwave,
    "monitor": monitor,
    "newspaper": newspaper,
    "ottoman": ottoman,
    "pan": pan,
    "paper roll": paper_roll,
    "pet bed": pet_bed,
    "phone": phone,
    "pillow": pillow,
    "plate": plate,
    "remote control": remote_control,
    "safe": safe,
    "speaker": speaker,
    "statue": statue,
    "stool": stool,
    "teddy bear": teddy_bear,
    "television": television,
    "tennis racket": racket,
    "tissue box": tissue_box,
    "toaster": toaster,
    "towel": towel,
    "vacuum cleaner": vacuum_cleaner,
    "vase": vase,
}
