"""Furniture that belongs together: a desk with its chair, a table with chairs, a bed with nightstands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossover_models.simulation.furniture import WALL_MOUNTED, draw_model, furniture_size

FREE_STANDING = frozenset({"dining", "meeting", "school desk", "reception desk"})


@dataclass(frozen=True)
class Member:
    """One piece: its pose (x, y, yaw) is in the group's frame, whose x axis points away from the wall."""

    category: str
    model: int
    pose: tuple[float, float, float]
    optional: bool = False

    @property
    def size(self) -> tuple[float, float, float]:
        """Depth, width and top, metres."""
        return furniture_size(self.category, self.model)


@dataclass(frozen=True)
class Group:
    """Members, first the one that the others stand around."""

    name: str
    members: tuple[Member, ...]

    @property
    def against_wall(self) -> bool:
        """It stands with its back to a wall."""
        return self.name not in FREE_STANDING

    @property
    def mounted(self) -> bool:
        """It hangs on the wall."""
        return self.name in WALL_MOUNTED


def draw_group(name: str, split: str, rng: np.random.Generator, models: dict[str, int]) -> Group:
    """Draw a group's models and arrangement.

    ``models`` remembers models that repeat within a room (chairs of one table, desks of one office) and is extended.
    """

    def same(category: str) -> int:
        if category not in models or rng.random() < 0.1:
            models[category] = draw_model(category, split, rng)
        return models[category]

    def size(category: str, model: int) -> tuple[float, float, float]:
        return furniture_size(category, model)

    if name in ("dining", "meeting"):
        category, chair = ("table", "chair") if name == "dining" else ("meeting table", "office chair")
        top, seat = draw_model(category, split, rng), same(chair)
        return Group(name, (Member(category, top, (0.0, 0.0, 0.0)), *_around(size(category, top), chair, seat, rng)))
    if name in ("desk", "school desk"):
        top, chair = same("desk"), "office chair" if name == "desk" or rng.random() < 0.2 else "chair"
        seat = same(chair)
        x = size("desk", top)[0] / 2 + rng.uniform(0.12, 0.4)
        pose = (x, rng.uniform(-0.15, 0.15), np.pi + rng.normal(0.0, 0.35))
        return Group(
            name, (Member("desk", top, (0.0, 0.0, 0.0)), Member(chair, seat, pose, optional=name == "school desk"))
        )
    if name == "reception desk":
        top, seat = draw_model(name, split, rng), same("office chair")
        x = -size(name, top)[0] / 2 - rng.uniform(0.15, 0.3)
        return Group(
            name, (Member(name, top, (0.0, 0.0, 0.0)), Member("office chair", seat, (x, 0.0, rng.normal(0, 0.4)), True))
        )
    if name == "bed":
        frame, stand = draw_model("bed", split, rng), same("nightstand")
        length, width, _ = size("bed", frame)
        depth, wide, _ = size("nightstand", stand)
        members = [Member("bed", frame, (0.0, 0.0, 0.0))]
        for side in (-1, 1):
            if rng.random() < 0.75:
                pose = (-length / 2 + depth / 2, side * (width / 2 + wide / 2 + rng.uniform(0.03, 0.12)), 0.0)
                members.append(Member("nightstand", stand, pose, optional=True))
        return Group(name, tuple(members))
    if name == "sofa":
        seat, low = draw_model("sofa", split, rng), draw_model("coffee table", split, rng)
        x = size("sofa", seat)[0] / 2 + size("coffee table", low)[0] / 2 + rng.uniform(0.3, 0.45)
        return Group(
            name, (Member("sofa", seat, (0.0, 0.0, 0.0)), Member("coffee table", low, (x, 0.0, 0.0), optional=True))
        )
    category = {"kitchen sink": "sink"}.get(name, name)
    repeats = category in ("locker", "shelf", "counter", "armchair", "sink", "cabinet")
    return Group(
        name, (Member(category, same(category) if repeats else draw_model(category, split, rng), (0.0, 0.0, 0.0)),)
    )


def _around(table: tuple[float, float, float], chair: str, seat: int, rng: np.random.Generator) -> list[Member]:
    depth, width, _ = table
    reach = furniture_size(chair, seat)[0]
    members: list[Member] = []
    per_side = max(1, int(width / 0.62))
    pushed = rng.uniform(-0.15, 0.12)
    for side in (-1, 1):
        for y in (np.arange(per_side) - (per_side - 1) / 2) * (width / per_side):
            if rng.random() < 0.9:
                pose = (
                    side * (depth / 2 + reach / 2 + pushed + rng.uniform(0, 0.12)),
                    float(y),
                    (0.0 if side < 0 else np.pi),
                )
                members.append(Member(chair, seat, (pose[0], pose[1], pose[2] + rng.normal(0.0, 0.12)), optional=True))
    for side in (-1, 1):
        if width > depth * 1.2 and rng.random() < 0.4:
            pose = (0.0, side * (width / 2 + reach / 2 + pushed + 0.1), -side * np.pi / 2)
            members.append(Member(chair, seat, pose, optional=True))
    return members
