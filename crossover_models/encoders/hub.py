"""Models fetched by name from the Hugging Face hub into the weights folder; nothing else here needs a network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crossover_models.encoders.errors import EncoderError
from crossover_models.encoders.weights_folder import weights_folder

OFFICIAL = "crossover-official"


@dataclass(frozen=True)
class HubModel:
    """A repository of the hub, the files that are read of it, and what it is for."""

    repository: str
    files: tuple[str, ...]
    purpose: str


_FRONT_END = ("config.json", "model.safetensors")
MODELS: dict[str, HubModel] = {
    **{
        f"dinov2-{size}": HubModel(f"facebook/dinov2-{size}", _FRONT_END, f"2D front end, {note}")
        for size, note in (
            ("small", "88 MB"),
            ("base", "346 MB"),
            ("large", "1.2 GB"),
            ("giant", "4.5 GB, the published one"),
        )
    },
    "blip-large": HubModel(
        "Salesforce/blip-itm-large-coco",
        (*_FRONT_END, "tokenizer.json"),
        "1D front end, 1.9 GB, the published one",
    ),
    OFFICIAL: HubModel("gradient-spaces/CrossOver", ("*/model.safetensors",), "official checkpoints, all of them"),
}


def fetch(name: str) -> Path:
    """Download a model, or what is missing of it, and return its folder.

    Raises:
        EncoderError: an unknown name, no network, or the hub lacks the model or one of the files.
    """
    if name not in MODELS:
        raise EncoderError(f"weights: unknown {name!r}; known: {', '.join(MODELS)}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    model, folder = MODELS[name], weights_folder() / name
    try:
        snapshot_download(model.repository, allow_patterns=list(model.files), local_dir=folder)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise EncoderError(f"{name}: {model.repository} could not be fetched from the hub: {reason}") from None
    missing = [pattern for pattern in model.files if not list(folder.glob(pattern))]
    if missing:
        raise EncoderError(f"{name}: {model.repository} has no {', '.join(missing)}")
    return folder
