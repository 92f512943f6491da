"""Synthetic features of rooms: small, made in milliseconds, and planted so that what belongs together can be learned.

Each room has a latent vector and each of its objects one; every modality's features are a random linear map of it
plus noise. The maps are the same for every seed and split, so what is learned on one set holds on another one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.features import SceneFeatures
from crossover_models.training.feature_set import FeatureSet

CATEGORIES = ("box", "ball", "column", "table", "cone", "corner")
ROOMS = ("kitchen", "office", "bedroom")
Array = NDArray[np.float32]
_WORLD = 20_260
"""Seed of the maps from latents to features."""


@dataclass(frozen=True)
class Planted:
    """What the rooms are like.

    Attributes:
        rooms: number of rooms, a scan each.
        rescans: the first so many rooms are scanned a second time, with some objects moved and one gone.
        objects: most objects of a room; the least is half of it.
        latent: numbers that decide a room, and an object.
        view, plan, text: widths of the features.
        frames: views of the survey; a drive has two more.
        noise: of features, with a signal of about 1.
        missing: share of rooms that lack any one of views, drive, plans, texts, points and crops.
        object_points, cad_points: points of an object in the cloud and of a CAD model.
    """

    rooms: int = 24
    rescans: int = 0
    objects: int = 6
    latent: int = 8
    view: int = 48
    plan: int = 32
    text: int = 24
    frames: int = 6
    noise: float = 0.3
    missing: float = 0.0
    object_points: int = 60
    cad_points: int = 128


def synthetic_features(
    planted: Planted | None = None, split: str = "train", seed: int = 0, **changes: float
) -> FeatureSet:
    """A split of such rooms; e.g. ``synthetic_features(rooms=8, missing=0.2)``; ``changes`` are of ``planted``."""
    wanted = replace(planted or Planted(), **changes)  # type: ignore[arg-type]
    rng = np.random.default_rng([seed, *split.encode()])
    scans = []
    for index in range(wanted.rooms):
        room = _Room(wanted, f"{split}_{index:03d}", split, rng)
        scans.append(room.scan(rng))
        if index < wanted.rescans:
            scans.append(room.later(scans[-1], rng))
    return FeatureSet(tuple(scans), f"synthetic {split}")


def shuffled(features: FeatureSet, seed: int = 0) -> FeatureSet:
    """The same rooms with plans, texts, referrals, clouds and objects' crops of other rooms: nothing to learn."""
    rng = np.random.default_rng(seed)
    count = len(features)
    clouds, plans, texts, crops = (rng.permutation(count) for _ in range(4))
    out = []
    for index, scan in enumerate(features):
        cloud, plan, text, crop = (features.scans[order[index]] for order in (clouds, plans, texts, crops))
        objects = {
            name: getattr(cloud, name)
            for name in ("object_ids", "object_categories", "object_poses", "object_sizes", "object_cad", "cad_points")
        }
        points = {name: getattr(cloud, name) for name in ("points", "colors", "colored", "instance", "drive_points")}
        rows = rng.integers(0, len(crop.object_views), len(cloud.object_ids))
        about = rng.integers(0, len(cloud.object_ids), len(text.referrals)).astype(np.int32)
        out.append(
            replace(
                scan,
                **objects,
                **points,
                plans=plan.plans,
                plan_styles=plan.plan_styles,
                texts=text.texts,
                referrals=text.referrals,
                referral_objects=about,
                object_views=crop.object_views[rows],
                object_crops=crop.object_crops[rows],
            )
        )
    return FeatureSet(tuple(out), f"shuffled {features.source}")


class _Room:
    """What of a room stays from scan to scan."""

    def __init__(self, wanted: Planted, name: str, split: str, rng: np.random.Generator) -> None:
        self.wanted, self.name, self.split = wanted, name, split
        self.latent = rng.normal(size=wanted.latent)
        self.count = int(rng.integers((wanted.objects + 1) // 2, wanted.objects + 1))
        self.kinds = rng.integers(0, len(CATEGORIES), self.count)
        self.latents = rng.normal(size=(self.count, wanted.latent))
        half = self.half_extent()
        angles = rng.uniform(-np.pi, np.pi, self.count)
        self.poses = np.tile(np.eye(4), (self.count, 1, 1))
        self.poses[:, :2, 3] = rng.uniform(-0.8, 0.8, (self.count, 2)) * half
        self.poses[:, 0, 0] = self.poses[:, 1, 1] = np.cos(angles)
        self.poses[:, 1, 0], self.poses[:, 0, 1] = np.sin(angles), -np.sin(angles)

    def half_extent(self) -> NDArray[np.float64]:
        return np.asarray(2.0 + np.tanh(self.latent[:2]))

    def sizes(self) -> Array:
        return (0.6 + 0.35 * np.tanh(self.latents[:, :3])).astype(np.float32)

    def signature(self) -> NDArray[np.float64]:
        """Latent of the whole room: its own, and what its objects are together."""
        return np.concatenate([self.latent, self.object_signatures().mean(axis=0)])

    def object_signatures(self) -> NDArray[np.float64]:
        return np.concatenate([self.latents, 2.0 * np.eye(len(CATEGORIES))[self.kinds]], axis=1)

    def features(self, name: str, signatures: NDArray[np.float64], width: int, rng: np.random.Generator) -> Array:
        """Rows of signatures as modality ``name`` shows them."""
        maps = np.random.default_rng([_WORLD, *name.encode()])
        linear = maps.normal(size=(signatures.shape[1], width)) / np.sqrt(signatures.shape[1])
        out = signatures @ linear + self.wanted.noise * rng.normal(size=(len(signatures), width))
        return np.asarray(out, dtype=np.float32)

    def scan(self, rng: np.random.Generator) -> SceneFeatures:
        w = self.wanted
        room, things = self.signature()[None], self.object_signatures()
        sentences = np.concatenate([room, room + 0.3 * rng.normal(size=(2, room.shape[1]))])
        about = np.repeat(np.arange(self.count, dtype=np.int32), 2)
        with_cad = np.arange(self.count) % 2 == 0
        cad = np.where(with_cad, np.cumsum(with_cad) - 1, -1).astype(np.int32)
        scan = SceneFeatures(
            scan_id=self.name,
            room_id=self.name,
            building_id=f"{self.split}_building_{self.name[-3:-1]}",
            reference_id="",
            category=ROOMS[int(np.digitize(self.latent[0], [-0.4, 0.4]))],
            split=self.split,
            object_ids=tuple(f"{CATEGORIES[k]}_{i}" for i, k in enumerate(self.kinds)),
            object_categories=tuple(CATEGORIES[k] for k in self.kinds),
            plan_styles=("line", "filled"),
            views=self.features("views", room.repeat(w.frames, axis=0), w.view, rng),
            view_poses=np.tile(np.eye(4, dtype=np.float32), (w.frames, 1, 1)),
            drive_views=self.features("views", room.repeat(w.frames + 2, axis=0), w.view, rng),
            plans=self.features("plans", room.repeat(2, axis=0), w.plan, rng),
            texts=self.features("texts", sentences, w.text, rng),
            referrals=self.features("referrals", things[about], w.text, rng),
            referral_objects=about,
            object_poses=self.poses.astype(np.float32),
            object_sizes=self.sizes(),
            object_views=self.features("crops", things, w.plan, rng),
            object_crops=np.full(self.count, 2, np.int32),
            object_cad=cad,
            cad_points=self._models(np.flatnonzero(with_cad), rng),
            **self._cloud(rng),
        )
        return _lacking(scan, rng, w.missing) if w.missing > 0.0 else scan

    def later(self, first: SceneFeatures, rng: np.random.Generator) -> SceneFeatures:
        """The room's next scan: every other object moved, the last one gone."""
        self.poses[::2, :2, 3] += rng.uniform(-0.5, 0.5, (len(self.poses[::2]), 2))
        self.count -= 1
        self.kinds, self.latents, self.poses = self.kinds[:-1], self.latents[:-1], self.poses[:-1]
        return replace(self.scan(rng), scan_id=f"{self.name}_later", reference_id=first.scan_id)

    def _models(self, rows: NDArray[np.int64], rng: np.random.Generator) -> Array:
        models = np.zeros((len(rows), self.wanted.cad_points, 3), np.float32)
        for model, row in zip(models, rows, strict=True):
            points = surface(int(self.kinds[row]), self.wanted.cad_points, rng) * self.sizes()[row]
            points -= points.mean(axis=0)
            model[:] = points / np.linalg.norm(points, axis=1).max()
        return models

    def _cloud(self, rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
        w = self.wanted
        floor = np.append(self.half_extent(), 0.0) * rng.uniform(-1, 1, (300, 3))
        wall = np.append(self.half_extent(), 2.5) * np.concatenate(
            [rng.uniform(-1, 1, (300, 2)), rng.uniform(0, 1, (300, 1))], axis=1
        )
        axis = rng.integers(0, 2, 300)
        wall[np.arange(300), axis] = np.sign(wall[np.arange(300), axis]) * self.half_extent()[axis]
        parts, instance = [floor, wall], [np.full(600, -1)]
        for index, (kind, pose) in enumerate(zip(self.kinds, self.poses, strict=True)):
            points = surface(int(kind), w.object_points, rng) * self.sizes()[index]
            parts.append(points @ pose[:3, :3].T + pose[:3, 3])
            instance.append(np.full(w.object_points, index))
        points = np.round(np.concatenate(parts), 2).astype(np.float32)
        paint = 128 + 100 * np.tanh(self.latent[2:5])
        colors = np.clip(paint + rng.normal(0, 10, points.shape), 1, 255).astype(np.uint8)
        driven = np.concatenate([np.arange(0, 600, 3), np.arange(600, len(points), 2)])
        return {
            "points": points,
            "colors": colors,
            "colored": np.ones(len(points), bool),
            "instance": np.concatenate(instance).astype(np.int32),
            "drive_points": points[driven],
        }


def surface(kind: int, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Points (count, 3) on a body of category ``kind`` that fills 1 x 1 x 1 and stands on the ground."""
    ball = rng.normal(size=(count, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    turn, height = rng.uniform(0, 2 * np.pi, count), rng.uniform(0, 1, count)
    ring = 0.5 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    cube = ball / np.abs(ball).max(axis=1, keepdims=True) / 2
    half = np.arange(count) % 2 == 0
    if kind == 0:  # box
        return np.add(cube, [0, 0, 0.5])
    if kind == 1:  # ball
        return 0.5 * ball + [0, 0, 0.5]
    if kind == 2:  # column
        return np.column_stack([ring, height])
    if kind == 3:  # table: a top and a leg
        leg = np.column_stack([0.15 * ring, 0.8 * height])
        return np.where(half[:, None], cube * [1, 1, 0.2] + [0, 0, 0.9], leg)
    if kind == 4:  # cone
        return np.column_stack([ring * (1 - height)[:, None], height])
    upright = cube * [1, 0.2, 1] + [0, -0.4, 0.5]  # corner: two plates
    return np.where(half[:, None], upright, cube * [1, 1, 0.2] + [0, 0, 0.1])


def _lacking(scan: SceneFeatures, rng: np.random.Generator, share: float) -> SceneFeatures:
    """The scan without a random part of its modalities."""
    gone = rng.random(6) < share
    if gone[0]:
        scan = replace(scan, views=scan.views[:0], view_poses=scan.view_poses[:0])
    if gone[1]:
        scan = replace(scan, drive_views=scan.drive_views[:0])
    if gone[2]:
        scan = replace(scan, plans=scan.plans[:0], plan_styles=())
    if gone[3]:
        scan = replace(
            scan, texts=scan.texts[:0], referrals=scan.referrals[:0], referral_objects=scan.referral_objects[:0]
        )
    if gone[4]:
        empty = {name: getattr(scan, name)[:0] for name in ("points", "colors", "colored", "instance", "drive_points")}
        scan = replace(scan, **empty)
    if gone[5]:
        scan = replace(scan, object_views=0 * scan.object_views, object_crops=0 * scan.object_crops)
    return scan
