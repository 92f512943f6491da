"""Settings of both nodes from a parameter file and from the command line, without ROS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from crossover_models.config import ConfigError, Settings
from crossover_ros.settings import EncoderNodeSettings, LocalizerNodeSettings


@dataclass(frozen=True)
class NodeSettings:
    """Settings of the two nodes, as in config/localize.yaml."""

    encoder: EncoderNodeSettings
    localizer: LocalizerNodeSettings


def node_settings(path: Path | None, changes: Sequence[str] = ()) -> NodeSettings:
    """Settings of both nodes from a parameter file and ``NODE.NAME=VALUE`` changes.

    Raises:
        ConfigError: not such a file, an unknown node, setting or value.
        OSError: the file cannot be read.
    """
    values: dict[str, Mapping[str, Any]] = {}
    if path is not None:
        try:
            loaded = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None
        if not isinstance(loaded, Mapping):
            raise ConfigError(f"{path}: expected nodes with ros__parameters, got {type(loaded).__name__}")
        for node, group in loaded.items():
            if not isinstance(group, Mapping) or not isinstance(group.get("ros__parameters"), Mapping):
                raise ConfigError(f"{path}: {node}: expected a group ros__parameters")
            values[str(node)] = group["ros__parameters"]
    built: dict[str, Settings] = {"encoder": EncoderNodeSettings(), "localizer": LocalizerNodeSettings()}
    for node, group in values.items():
        if node not in built:
            raise ConfigError(f"{path}: {node}: unknown node; known: {', '.join(built)}")
        built[node] = type(built[node]).from_mapping({k: v for k, v in group.items() if k != "use_sim_time"})
    for change in changes:
        name, equals, text = change.partition("=")
        node, _, key = name.partition(".")
        if not equals or node not in built or not key:
            raise ConfigError(f"--set {change}: expected encoder.NAME=VALUE or localizer.NAME=VALUE")
        built[node] = built[node].with_flat({key: yaml.safe_load(text)})
    encoder, localizer = built["encoder"], built["localizer"]
    assert isinstance(encoder, EncoderNodeSettings)
    assert isinstance(localizer, LocalizerNodeSettings)
    return NodeSettings(encoder, localizer)
