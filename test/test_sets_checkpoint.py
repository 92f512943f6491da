"""Bad checkpoints of the network with explicit sets are named and refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sets_features import sets_rooms, tiny_model

from crossover_models.encoders.errors import EncoderError
from crossover_models.sets.checkpoint import load_model, save_model
from crossover_models.sets.recognition import open_recognizer, save_recognizer
from crossover_models.sets.recognizer import ObjectRecognizer


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "edge.safetensors"
    save_model(path, tiny_model(sets_rooms(4))[0], {})
    return path


def _rewrite(path: Path, change) -> None:
    state = load_file(path)
    change(state)
    save_file(state, path)


def test_a_missing_tensor_is_named(saved: Path) -> None:
    _rewrite(saved, lambda s: s.pop("network.to_vector.weight"))
    with pytest.raises(EncoderError, match=r"missing tensor to_vector\.weight"):
        load_model(saved)


def test_a_reshaped_tensor_is_named(saved: Path) -> None:
    _rewrite(saved, lambda s: s.update({"scores.log_weight": torch.zeros(3)}))
    with pytest.raises(EncoderError, match=r"scores: tensor log_weight has shape \(3,\)"):
        load_model(saved)


def test_a_number_that_is_none_is_named(saved: Path) -> None:
    _rewrite(saved, lambda s: s["network.to_vector.bias"].fill_(float("nan")))
    with pytest.raises(EncoderError, match=r"to_vector.bias is not finite"):
        load_model(saved)


def test_a_stranger_is_named(saved: Path) -> None:
    _rewrite(saved, lambda s: s.update({"extra.weight": torch.zeros(1)}))
    with pytest.raises(EncoderError, match=r"unexpected tensor extra\.weight"):
        load_model(saved)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kind", "other", "kind 'other'"),
        ("schema_version", 99, "schema_version 99"),
        ("attributes", [], "attributes"),
        ("sets", {"embedding_dim": "x"}, "embedding_dim"),
        ("sizes", [1], "sizes|positional|argument"),
    ],
)
def test_a_wrong_description_is_named(saved: Path, key: str, value: object, message: str) -> None:
    beside = saved.with_suffix(".json")
    about = json.loads(beside.read_text())
    beside.write_text(json.dumps({**about, key: value}))
    with pytest.raises(EncoderError, match=message):
        load_model(saved)


def test_another_embedding_size_is_refused(saved: Path) -> None:
    beside = saved.with_suffix(".json")
    about = json.loads(beside.read_text())
    about["sets"]["embedding_dim"] = 32
    beside.write_text(json.dumps(about))
    with pytest.raises(EncoderError, match=r"to_vector.weight has shape \(16, 24\), expected \(32, 24\)"):
        load_model(saved)


def test_a_truncated_file_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:1000])
    with pytest.raises(EncoderError, match="not a readable safetensors"):
        load_model(saved)


def test_a_recognizer_knows_its_categories(tmp_path: Path) -> None:
    path = tmp_path / "recognizer.safetensors"
    save_recognizer(path, ObjectRecognizer(3).state_dict(), ("chair", "table", "bed"), {})
    assert open_recognizer(path).categories == ("chair", "table", "bed")
    path.with_suffix(".json").write_text(json.dumps({"kind": "recognizer", "categories": ["chair"]}))
    with pytest.raises(EncoderError, match=r"mix.7.weight has shape"):
        open_recognizer(path)
