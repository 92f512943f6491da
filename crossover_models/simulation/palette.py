"""Colors of materials, as ranges from which models and rooms draw."""

from __future__ import annotations

import colorsys

import numpy as np

from crossover_models.simulation.shapes import Color

_WOODS: tuple[Color, ...] = (
    (176, 128, 82),
    (120, 78, 46),
    (208, 172, 124),
    (84, 54, 36),
    (222, 200, 164),
    (150, 96, 60),
)
_METALS: tuple[Color, ...] = ((168, 170, 174), (96, 98, 104), (40, 42, 46), (204, 206, 208))
_WHITES: tuple[Color, ...] = ((238, 238, 234), (226, 224, 216), (244, 242, 238))


def _near(color: Color, rng: np.random.Generator, spread: float = 10.0) -> Color:
    shade = np.clip(np.array(color) * rng.uniform(0.88, 1.08) + rng.normal(0.0, spread / 3, 3), 8, 250)
    return int(shade[0]), int(shade[1]), int(shade[2])


def _hsv(hue: float, saturation: float, value: float) -> Color:
    r, g, b = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return int(r * 255), int(g * 255), int(b * 255)


def wood(rng: np.random.Generator) -> Color:
    """A kind of wood."""
    return _near(_WOODS[int(rng.integers(len(_WOODS)))], rng)


def metal(rng: np.random.Generator) -> Color:
    """Steel, aluminium or black iron."""
    return _near(_METALS[int(rng.integers(len(_METALS)))], rng)


def white(rng: np.random.Generator) -> Color:
    """Lacquer or ceramics."""
    return _near(_WHITES[int(rng.integers(len(_WHITES)))], rng, 5.0)


def fabric(rng: np.random.Generator) -> Color:
    """Upholstery of any hue, half of it nearly grey."""
    if rng.random() < 0.45:
        return _hsv(rng.random(), rng.uniform(0.02, 0.15), rng.uniform(0.2, 0.85))
    return _hsv(rng.random(), rng.uniform(0.3, 0.75), rng.uniform(0.25, 0.8))


def front(rng: np.random.Generator) -> Color:
    """Fronts of cabinets: wood, white or a color."""
    draw = rng.random()
    return wood(rng) if draw < 0.5 else white(rng) if draw < 0.8 else fabric(rng)


def plastic(rng: np.random.Generator) -> Color:
    """Casings of machines."""
    return _near(((48, 50, 54), (210, 210, 206), (120, 124, 130))[int(rng.integers(3))], rng)


def leaf(rng: np.random.Generator) -> Color:
    """Foliage."""
    return _hsv(rng.uniform(0.24, 0.38), rng.uniform(0.45, 0.8), rng.uniform(0.25, 0.6))


def paint(rng: np.random.Generator) -> Color:
    """Walls: mostly off-white, some tinted."""
    if rng.random() < 0.55:
        return _hsv(rng.uniform(0.05, 0.17), rng.uniform(0.01, 0.08), rng.uniform(0.82, 0.95))
    return _hsv(rng.random(), rng.uniform(0.08, 0.32), rng.uniform(0.6, 0.9))


def accent(rng: np.random.Generator) -> Color:
    """A single wall of another color: deeper than paint, duller than cloth."""
    return _hsv(rng.random(), rng.uniform(0.08, 0.42), rng.uniform(0.4, 0.8))


def carpet(rng: np.random.Generator) -> Color:
    """Floor covering: muted."""
    return _hsv(rng.random(), rng.uniform(0.03, 0.38), rng.uniform(0.25, 0.68))


def darker(color: Color, factor: float = 0.6) -> Color:
    """A shade of a color."""
    return int(color[0] * factor), int(color[1] * factor), int(color[2] * factor)
