"""The network with explicit sets on disk: one safetensors file with everything that was trained, JSON beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crossover_models.encoders.checkpoint import SCHEMA_VERSION, load_strictly, read_tensors, save_tensors
from crossover_models.encoders.errors import EncoderError
from crossover_models.encoders.front_ends import FeatureSizes
from crossover_models.encoders.shapes import ShapeEncoder
from crossover_models.sets.attributes import Attributes
from crossover_models.sets.network import SetsNetwork
from crossover_models.sets.recognizer import ObjectRecognizer
from crossover_models.sets.scores import ScoreNetwork
from crossover_models.sets.settings import SetsSettings

KIND = "sets"


@dataclass(frozen=True)
class SetsModel:
    """Everything that turns a place into codes and codes into scores; in evaluation mode.

    Attributes:
        settings: sizes and switches.
        sizes: widths of the front ends' features.
        categories: (C,) of objects.
        attributes: (A,) of rooms.
        network, scores: trained together.
        recognizer, shapes: trained before them, and frozen.
    """

    settings: SetsSettings
    sizes: FeatureSizes
    categories: tuple[str, ...]
    attributes: Attributes
    network: SetsNetwork
    scores: ScoreNetwork
    recognizer: ObjectRecognizer
    shapes: ShapeEncoder

    def parts(self) -> dict[str, nn.Module]:
        """Prefix of the tensors' names -> module."""
        return {
            "network": self.network,
            "scores": self.scores,
            "recognizer": self.recognizer,
            "shapes": self.shapes,
        }

    def state(self) -> dict[str, Tensor]:
        """All tensors by name."""
        return {f"{k}.{n}": t for k, part in self.parts().items() for n, t in part.state_dict().items()}


def new_model(
    settings: SetsSettings,
    sizes: FeatureSizes,
    categories: tuple[str, ...],
    attributes: Attributes,
    recognizer: ObjectRecognizer | None = None,
    shapes: ShapeEncoder | None = None,
) -> SetsModel:
    """A model with random weights, but for the parts given."""
    encoder = shapes or ShapeEncoder()
    return SetsModel(
        settings,
        sizes,
        categories,
        attributes,
        SetsNetwork(settings, sizes, len(categories), len(attributes), encoder.dim),
        ScoreNetwork(settings, torch.tensor(attributes.rates)),
        recognizer or ObjectRecognizer(len(categories)),
        encoder,
    )


def save_model(path: Path, model: SetsModel, about: Mapping[str, Any]) -> None:
    """Write weights (matrices as half precision) and their description; each is whole or absent at any moment."""
    state = {n: t.half() if t.is_floating_point() and t.ndim >= 2 else t for n, t in model.state().items()}
    described = {
        "schema_version": SCHEMA_VERSION,
        "kind": KIND,
        "sets": model.settings.to_mapping(),
        "sizes": [model.sizes.view, model.sizes.plan, model.sizes.text],
        "categories": list(model.categories),
        "attributes": json.loads(model.attributes.to_json()),
    }
    save_tensors(path, state, {**described, **about})


def load_model(path: Path) -> tuple[SetsModel, dict[str, Any]]:
    """Read what :func:`save_model` wrote, strictly; the model in evaluation mode, and the description.

    Raises:
        EncoderError: unreadable, of another kind or schema version, or tensors that do not fit; the first is named.
    """
    state = read_tensors(path)
    beside = path.with_suffix(".json")
    try:
        about = json.loads(beside.read_text(encoding="utf-8"))
        if about.get("kind") != KIND or about.get("schema_version") != SCHEMA_VERSION:
            raise EncoderError(
                f"{beside}: kind {about.get('kind')!r}, schema_version {about.get('schema_version')}; "
                f"expected {KIND!r}, {SCHEMA_VERSION}"
            )
        settings = SetsSettings.from_mapping(about["sets"])
        sizes = FeatureSizes(*(int(n) for n in about["sizes"]))
        categories = tuple(str(name) for name in about["categories"])
        attributes = Attributes.from_json(json.dumps(about["attributes"]))
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, EncoderError):
            raise
        raise EncoderError(f"{beside}: not a checkpoint's description: {error}") from None
    model = new_model(settings, sizes, categories, attributes)
    for prefix, part in model.parts().items():
        own = {n.removeprefix(f"{prefix}."): t for n, t in state.items() if n.startswith(f"{prefix}.")}
        load_strictly(part, own, f"{path}: {prefix}")
        part.eval().requires_grad_(False)
    extra = sorted(n for n in state if n.split(".")[0] not in model.parts())
    if extra:
        raise EncoderError(f"{path}: unexpected tensor {extra[0]}")
    return model, about
