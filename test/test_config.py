"""Settings: unknown keys, wrong types and ranges are refused by their full name."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossover_models.config import (
    AccumulationSettings,
    BeliefSettings,
    ConfigError,
    EncoderSettings,
    LocalizerSettings,
    RegistrationSettings,
    RetrievalSettings,
)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"belief": {"nul_score": 1}}, "belief.nul_score: unknown setting"),
        ({"belief": {"null_probability": 2.0}}, "belief.null_probability: must be at most 0.99, got 2.0"),
        ({"belief": {"merge_m": "wide"}}, "belief.merge_m: expected float, got 'wide'"),
        ({"belief": {"merge_m": float("nan")}}, "belief.merge_m: must be a number"),
        ({"belief": {"max_hypotheses": True}}, "belief.max_hypotheses: expected int, got True"),
        ({"belief": 3}, "belief: expected a group"),
    ],
)
def test_bad_values_are_refused_by_name(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        LocalizerSettings.from_mapping(values)
    assert words in str(error.value)


def test_device_must_be_one_of_the_choices() -> None:
    with pytest.raises(ConfigError, match="device: must be one of auto, cpu, cuda, got 'tpu'"):
        EncoderSettings.from_mapping({"device": "tpu"})


def test_flat_names_round_trip() -> None:
    changed = LocalizerSettings().with_flat({"belief.merge_m": 1, "retrieval.top_k": 3})
    assert changed.belief.merge_m == 1.0 and changed.retrieval.top_k == 3
    flat = {name: value for name, _, value in changed.flat()}
    assert LocalizerSettings().with_flat(flat) == changed
    assert LocalizerSettings.from_mapping(changed.to_mapping()) == changed
    with pytest.raises(ConfigError, match=r"belief\.nope: unknown"):
        LocalizerSettings().with_flat({"belief.nope": 1})


def test_every_setting_says_what_it_is() -> None:
    for group in (AccumulationSettings, RegistrationSettings, RetrievalSettings, BeliefSettings, EncoderSettings):
        for name, item, _ in group().flat():
            assert item.metadata.get("description"), f"{group.__name__}.{name} has no description"


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("- 1\n- 2\n")
    with pytest.raises(ConfigError, match="expected a mapping"):
        LocalizerSettings.from_yaml(path)
    path.write_text("a: [")
    with pytest.raises(ConfigError, match="not a YAML file"):
        LocalizerSettings.from_yaml(path)
