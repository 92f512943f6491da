"""Synthetic features with what the network with explicit sets reads besides: colors, evidence, outlines, rasters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scene_features import CATEGORIES, synthetic_features

from crossover_models.dataset.features import SceneFeatures
from crossover_models.encoders.front_ends import FeatureSizes
from crossover_models.encoders.profile import SparseResNetSettings
from crossover_models.sets.attributes import common_attributes
from crossover_models.sets.batches import Sources
from crossover_models.sets.checkpoint import SetsModel, new_model
from crossover_models.sets.palette import palette
from crossover_models.sets.raster import points_raster
from crossover_models.sets.settings import SetsSettings
from crossover_models.training.feature_set import FeatureSet

TINY = SetsSettings(
    embedding_dim=16,
    width=24,
    trunk=32,
    dropout=0.0,
    layout_channels=2,
    layout_width=8,
    backbone=SparseResNetSettings(voxel_m=0.3, stem_channels=4, channels="8,8,8,8", last_channels=8),
)
SHAPE_DIM = 256


def with_sets(features: FeatureSet, seed: int = 0) -> FeatureSet:
    """The same scans with the arrays that version 2 of the cache added."""
    rng = np.random.default_rng(seed)
    return FeatureSet(tuple(_completed(scan, rng) for scan in features), features.source)


def _completed(scan: SceneFeatures, rng: np.random.Generator) -> SceneFeatures:
    there = np.array([float(name in scan.object_categories) for name in CATEGORIES])

    def evidence(count: int) -> np.ndarray:
        logits = (2.0 * there - 1.0) + rng.normal(0, 0.3, (count, len(CATEGORIES)))
        return np.concatenate([logits, np.clip(0.3 * there + 0.05, 0, 1) + 0 * logits], axis=1).astype(np.float32)

    colors = palette(scan.colors) if len(scan.colors) else np.zeros(64, np.float32)
    half = np.abs(scan.points[:, :2]).max(axis=0) if len(scan.points) else np.array([2.0, 2.0])
    raster = points_raster(scan.points)
    plan = np.stack([raster[2:].max(axis=0), np.where(raster[0] > 0, 255, 0)]).astype(np.uint8)
    frames, driven = len(scan.views), len(scan.drive_views)
    return replace(
        scan,
        outline=np.array([[-half[0], -half[1]], [half[0], -half[1]], half, [-half[0], half[1]]], dtype=np.float32),
        drive_poses=np.tile(np.eye(4, dtype=np.float32), (driven, 1, 1)),
        view_colors=np.tile(colors, (frames, 1)),
        drive_colors=np.tile(colors, (driven, 1)),
        view_objects=evidence(frames),
        drive_objects=evidence(driven),
        plan_rasters=np.tile(plan, (len(scan.plans), 1, 1, 1)),
    )


def sets_rooms(rooms: int, split: str = "train", seed: int = 0, **changes: float) -> FeatureSet:
    """Planted rooms, complete."""
    return with_sets(synthetic_features(rooms=rooms, split=split, seed=seed, **changes))


def shapes_of(features: FeatureSet) -> dict[str, np.ndarray]:
    """Stand-in for frozen shapes: the models' mean coordinates, spread out."""
    spread = np.random.default_rng(7).normal(size=(6, SHAPE_DIM)).astype(np.float32)
    return {
        scan.scan_id: np.concatenate([scan.cad_points.std(axis=1), np.abs(scan.cad_points).mean(axis=1)], axis=1)
        .reshape(-1, 6)
        .astype(np.float32)
        @ spread
        for scan in features
    }


def tiny_model(features: FeatureSet, settings: SetsSettings = TINY) -> tuple[SetsModel, Sources]:
    """A model with random weights for planted rooms."""
    attributes = common_attributes(features.scans, CATEGORIES)
    first = features.scans[0]
    sizes = FeatureSizes(first.views.shape[1], first.plans.shape[1], first.texts.shape[1])
    return new_model(settings, sizes, CATEGORIES, attributes), Sources(settings, CATEGORIES, shapes_of(features))
