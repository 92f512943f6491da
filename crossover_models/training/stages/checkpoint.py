"""Networks of the published stages on disk, with what is needed to open them again."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from crossover_models.config import ConfigError
from crossover_models.dataset.features import SceneFeatures
from crossover_models.dataset.features_make import PROFILES
from crossover_models.encoders.checkpoint import SCHEMA_VERSION, load_strictly, read_tensors, save_tensors
from crossover_models.encoders.errors import EncoderError
from crossover_models.encoders.front_ends import FeatureSizes
from crossover_models.encoders.profile import EncoderProfile
from crossover_models.encoders.shapes import ShapeEncoder, frozen
from crossover_models.reference.instance import InstanceBaseline, InstanceCrossOver
from crossover_models.reference.scene import SceneCrossOver
from crossover_models.training.errors import TrainingError
from crossover_models.training.feature_set import FeatureSet
from crossover_models.training.object_batch import ObjectSource
from crossover_models.training.stage import Stage
from crossover_models.training.stages.objects import ObjectStage
from crossover_models.training.stages.scene import SceneStage

_SHAPES = "shapes."


@dataclass(frozen=True)
class StageModel:
    """A network of one stage with the frozen shapes that it was trained on.

    Attributes:
        kind: baseline, instance, scene or unified.
        profile: sizes of the unified encoders.
        sizes: widths of the front ends' features of scenes.
        widths: and of objects.
        legacy: trained as published, defects included.
        pairs: names that were contrasted with each other.
        network: of the kind.
        shapes: frozen.
    """

    kind: str
    profile: EncoderProfile
    sizes: FeatureSizes
    widths: Mapping[str, int]
    legacy: bool
    pairs: list[tuple[str, str]]
    network: InstanceBaseline | InstanceCrossOver | SceneCrossOver
    shapes: ShapeEncoder

    def stage(
        self,
        arguments: argparse.Namespace,
        train: Sequence[SceneFeatures],
        val: Sequence[SceneFeatures],
        source: ObjectSource,
    ) -> Stage:
        """The stage that trains it, with the options of the command."""
        if not isinstance(self.network, SceneCrossOver):
            return ObjectStage(self.kind, self.network, train, val, source, self.legacy)
        options = (
            {name: getattr(arguments, name) for name in ("all_pairs", "scene_level", "floor_plan")}
            if (self.kind == "unified")
            else {}
        )
        stage = SceneStage(
            self.network,
            train,
            val,
            source,
            self.profile,
            fusion_only=self.kind == "scene",
            legacy=self.legacy,
            **options,
        )
        self.pairs[:] = stage.pairs
        return stage


def empty_network(
    kind: str, profile: EncoderProfile, sizes: FeatureSizes, widths: Mapping[str, int], legacy: bool
) -> InstanceBaseline | InstanceCrossOver | SceneCrossOver:
    """A network of a kind with random weights.

    Raises:
        EncoderError: an unknown kind.
    """
    if kind == "baseline":
        return InstanceBaseline(profile.embedding_dim, widths)
    if kind == "instance":
        return InstanceCrossOver(profile.embedding_dim, legacy=legacy, widths=widths)
    if kind in ("scene", "unified"):
        return SceneCrossOver(profile, legacy=legacy, sizes=sizes, widths=widths)
    raise EncoderError(f"kind: {kind!r} is none of baseline, instance, scene, unified")


def new_stage_model(
    kind: str, arguments: argparse.Namespace, train: FeatureSet, source: ObjectSource, shapes: ShapeEncoder
) -> StageModel:
    """A model for a stage: random weights, but for those of the stage before.

    Raises:
        TrainingError: an unknown profile, or the stage before is not one this stage can start from.
        EncoderError: its checkpoint is unreadable, or of another embedding size.
    """
    if arguments.profile not in PROFILES:
        raise TrainingError(f"--profile: unknown {arguments.profile!r}; known: {', '.join(PROFILES)}")
    profile, first = PROFILES[arguments.profile], train.scans[0]
    sizes = FeatureSizes(first.views.shape[1], first.plans.shape[1], first.texts.shape[1])
    widths = source.widths(first)
    network = empty_network(kind, profile, sizes, widths, arguments.legacy)
    if isinstance(network, SceneCrossOver):
        before = open_stage(arguments.start)
        if isinstance(before.network, InstanceCrossOver):
            load_strictly(network.objectwise_modality_encoder, before.network.state_dict(), str(arguments.start))
        elif before.kind == "scene" and kind == "unified":
            load_strictly(network, before.network.state_dict(), str(arguments.start))
        else:
            raise TrainingError(
                f"--from: {arguments.start} is of stage {before.kind}; stage {kind} starts after "
                f"{'instance or scene' if kind == 'unified' else 'instance'}"
            )
    return StageModel(kind, profile, sizes, widths, arguments.legacy, [], network, shapes)


def save_stage(path: Path, model: StageModel, about: Mapping[str, Any]) -> None:
    """Write network and shapes (matrices as half precision) with their description."""
    parts: dict[str, nn.Module] = {"": model.network, _SHAPES: model.shapes}
    state = {f"{prefix}{n}": t for prefix, part in parts.items() for n, t in part.state_dict().items()}
    state = {n: t.half() if t.is_floating_point() and t.ndim >= 2 else t for n, t in state.items()}
    described = {
        "schema_version": SCHEMA_VERSION,
        "kind": model.kind,
        "profile": model.profile.to_mapping(),
        "sizes": [model.sizes.view, model.sizes.plan, model.sizes.text],
        "widths": dict(model.widths),
        "legacy": model.legacy,
        "pairs": [list(pair) for pair in model.pairs],
    }
    save_tensors(path, state, {**described, **about})


def open_stage(path: Path) -> StageModel:
    """Read what :func:`save_stage` wrote, strictly, in evaluation mode.

    Raises:
        EncoderError: unreadable, of another kind or schema version, or tensors that do not fit; the first is named.
    """
    state = read_tensors(path)
    beside = path.with_suffix(".json")
    try:
        about = json.loads(beside.read_text(encoding="utf-8"))
        if about["schema_version"] != SCHEMA_VERSION:
            raise EncoderError(
                f"{beside}: schema_version {about['schema_version']}, this program reads {SCHEMA_VERSION}"
            )
        profile = EncoderProfile.from_mapping(about["profile"])
        sizes = FeatureSizes(*(int(n) for n in about["sizes"]))
        widths = {str(name): int(width) for name, width in about["widths"].items()}
        network = empty_network(str(about["kind"]), profile, sizes, widths, bool(about["legacy"]))
        pairs = [(str(a), str(b)) for a, b in about["pairs"]]
    except (OSError, KeyError, TypeError, AttributeError, json.JSONDecodeError, ConfigError) as error:
        raise EncoderError(f"{beside}: not a stage's description: {error}") from None
    shapes = ShapeEncoder(widths["point"])
    load_strictly(
        shapes, {n.removeprefix(_SHAPES): t for n, t in state.items() if n.startswith(_SHAPES)}, f"{path}: shapes"
    )
    load_strictly(network, {n: t for n, t in state.items() if not n.startswith(_SHAPES)}, str(path))
    network.eval().requires_grad_(False)
    return StageModel(str(about["kind"]), profile, sizes, widths, bool(about["legacy"]), pairs, network, frozen(shapes))
