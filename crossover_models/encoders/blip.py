"""BLIP's text encoder (Li et al. 2022): the reference's frozen 1D features, read from a folder in the hub's format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crossover_models.encoders.errors import EncoderError
from crossover_models.encoders.weights_folder import file_sha256

_PREFIX = "text_encoder."
_BATCH = 32


class BlipText:
    """First token of the last hidden state of the 12-layer BERT that BLIP reads text with; no image is involved.

    Args:
        folder: ``config.json``, ``tokenizer.json`` and ``model.safetensors`` of a BLIP image-text retrieval model.
        name: what profiles call it.
        device: torch device.

    Raises:
        EncoderError: a file is missing, is no BLIP, or its weights do not fit.
    """

    def __init__(self, folder: Path, name: str, device: str = "cpu") -> None:
        from transformers import BlipTextConfig

        self.name, self._folder, self._device = name, folder, device
        path = folder / "config.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            kind, text = values.get("model_type"), values["text_config"]
            self._config: Any = BlipTextConfig(**text)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EncoderError(f"{path}: not the configuration of a BLIP: {error}") from None
        if kind != "blip":
            raise EncoderError(f"{path}: model_type {kind!r}, expected blip")
        self._most_tokens = int(self._config.max_position_embeddings)
        self.dim = int(self._config.hidden_size)

    @property
    def weights_sha256(self) -> str:
        """Hash of the weights file."""
        return file_sha256(self._folder / "model.safetensors")

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        from tokenizers import Tokenizer
        from transformers.models.blip.modeling_blip_text import BlipTextModel

        from crossover_models.encoders.checkpoint import load_strictly, read_tensors

        vocabulary = self._folder / "tokenizer.json"
        if not vocabulary.is_file():
            raise EncoderError(f"{vocabulary}: missing; the text encoder needs its vocabulary")
        tokenizer = Tokenizer.from_file(str(vocabulary))
        tokenizer.enable_truncation(self._most_tokens)
        tokenizer.enable_padding()
        path = self._folder / "model.safetensors"
        state = {k[len(_PREFIX) :]: v for k, v in read_tensors(path).items() if k.startswith(_PREFIX)}
        if not state:
            raise EncoderError(f"{path}: no tensor text_encoder.*; is it a BLIP image-text retrieval model?")
        # Old files carry the positions 0, 1, 2, ... as a tensor; it is no weight.
        state.pop("embeddings.position_ids", None)
        model: Any = BlipTextModel(self._config, add_pooling_layer=any(k.startswith("pooler.") for k in state))
        load_strictly(model, state, str(path))
        return tokenizer, model.eval().requires_grad_(False).to(self._device)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Sentences -> (B, 768)."""
        tokenizer, model = self._parts
        out = []
        for start in range(0, len(texts), _BATCH):
            encoded = tokenizer.encode_batch(list(texts[start : start + _BATCH]))
            ids = torch.tensor([e.ids for e in encoded], device=self._device)
            mask = torch.tensor([e.attention_mask for e in encoded], device=self._device)
            with torch.inference_mode():
                hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
            out.append(hidden[:, 0].float())
        return torch.cat(out)
