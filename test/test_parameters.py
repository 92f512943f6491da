"""Parameters are the settings: all declared, described, bounded; nothing else is accepted."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")

import rclpy
from rcl_interfaces.msg import ParameterType
from rclpy.parameter import Parameter

from crossover_models.config import ConfigError
from crossover_ros import parameters
from crossover_ros.settings import EncoderNodeSettings, LocalizerNodeSettings

ROOT = Path(__file__).resolve().parents[1]
YAML = ROOT / "config" / "localize.yaml"
DEFAULTS = {"encoder": EncoderNodeSettings(), "localizer": LocalizerNodeSettings()}


@pytest.fixture(scope="module", autouse=True)
def ros() -> Iterator[None]:
    rclpy.init(args=["test", "--ros-args", "--log-level", "WARN"])
    yield
    rclpy.try_shutdown()


def node_with(**overrides: Any) -> Any:
    values = [Parameter(name.replace("__", "."), value=value) for name, value in overrides.items()]
    return rclpy.create_node("params", parameter_overrides=values)


def declared(settings: Any = None, **overrides: Any) -> Any:
    node = node_with(**overrides)
    try:
        return parameters.declare(node, settings or EncoderNodeSettings())
    finally:
        node.destroy_node()


def test_the_file_of_defaults_is_complete_and_equals_the_code() -> None:
    """If this fails: python3 -m crossover_ros.parameters > config/localize.yaml."""
    assert YAML.read_text(encoding="utf-8") == parameters.yaml_text()
    held = yaml.safe_load(YAML.read_text(encoding="utf-8"))
    assert set(held) == set(DEFAULTS)
    for name, settings in DEFAULTS.items():
        assert held[name]["ros__parameters"] == settings.to_mapping()
        assert type(settings).from_mapping(held[name]["ros__parameters"]) == settings


def test_every_setting_is_explained_in_the_file_and_in_describe() -> None:
    lines = YAML.read_text(encoding="utf-8").splitlines()
    for above, line in itertools.pairwise(lines):
        if line.strip() and not line.strip().startswith("#") and not line.endswith(":"):
            assert above.strip().startswith("#"), line
    for settings in DEFAULTS.values():
        node = node_with()
        parameters.declare(node, settings)
        for name, item, value in settings.flat():
            told = node.describe_parameter(name)
            assert told.description.startswith(item.metadata["description"])
            assert told.read_only == item.metadata["read_only"]
            assert (item.metadata["unit"] or "") in told.description
            assert told.type != ParameterType.PARAMETER_NOT_SET and not told.dynamic_typing
            assert node.get_parameter(name).value == value
        node.destroy_node()


def test_the_file_of_defaults_loads_through_ros(tmp_path: Path) -> None:
    text = re.sub(r"window_m: [\d.]+", "window_m: 7.5", YAML.read_text(encoding="utf-8"), count=1)
    (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
    context = rclpy.Context()
    rclpy.init(context=context, args=["x", "--ros-args", "--params-file", str(tmp_path / "p.yaml")])
    node = rclpy.create_node("encoder", context=context)
    assert parameters.declare(node, EncoderNodeSettings()).accumulation.window_m == 7.5
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_values_given_at_start_arrive_in_the_settings() -> None:
    settings = declared(accumulation__window_m=3.0, base_frame="robot", cloud_queue=4)
    assert (settings.accumulation.window_m, settings.base_frame, settings.cloud_queue) == (3.0, "robot", 4)


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ({"acumulation__window_m": 3.0}, "acumulation.window_m: unknown parameter; did you mean accumulation.window_m"),
        ({"nonsense": 1}, "nonsense: unknown parameter"),
        ({"accumulation__window_m": -3.0}, "accumulation.window_m: -3.0 is refused"),
        ({"accumulation__window_m": "far"}, "accumulation.window_m: 'far' is refused"),
        ({"accumulation__window_m": 3}, r"accumulation.window_m: 3 is refused.*write 3\.0"),
        ({"device": "tpu"}, "device: must be one of auto, cpu, cuda"),
        ({"cloud_queue": 0}, "cloud_queue: 0 is refused"),
    ],
)
def test_bad_values_fail_loudly_in_one_line(overrides: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        declared(**overrides)
    assert "\n" not in str(caught.value)


def test_parameters_of_the_other_node_and_of_rclpy_are_no_typing_errors() -> None:
    node = node_with(database="x.xmap", use_sim_time=True)
    parameters.declare(node, EncoderNodeSettings(), elsewhere={"database"})
    node.destroy_node()


def test_a_qos_override_that_names_nothing_is_refused() -> None:
    node = node_with(**{"qos_overrides./pionts.subscription.reliability": "reliable"})
    parameters.declare(node, EncoderNodeSettings())
    with pytest.raises(ConfigError, match=r"qos_overrides\./pionts"):
        parameters.refuse_unknown_qos(node)
    node.destroy_node()


class Running:
    """A node whose settings follow its parameters."""

    def __init__(self) -> None:
        self.node = node_with()
        self.settings = parameters.declare(self.node, LocalizerNodeSettings())
        parameters.follow(self.node, lambda: self.settings, self._accept)

    def _accept(self, settings: LocalizerNodeSettings) -> None:
        self.settings = settings

    def set(self, **values: Any) -> Any:
        return self.node.set_parameters_atomically(
            [Parameter(k.replace("__", "."), value=v) for k, v in values.items()]
        )


@pytest.fixture
def running() -> Iterator[Running]:
    out = Running()
    yield out
    out.node.destroy_node()


def test_thresholds_change_while_running(running: Running) -> None:
    assert running.set(belief__localized_probability=0.8, transform_tolerance=0.5).successful
    assert running.settings.belief.localized_probability == 0.8
    assert running.settings.transform_tolerance == 0.5


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"belief__localized_probability": 1.5}, ""),
        ({"belief__localized_probability": "high"}, ""),
        ({"belief__localized_probability": float("nan")}, "localized_probability"),
        ({"database": "other.xmap"}, "read-only"),
        ({"publish_tf": False}, "read-only"),
    ],
)
def test_bad_changes_are_refused_with_a_reason_and_change_nothing(
    running: Running, values: dict[str, Any], text: str
) -> None:
    before = running.settings
    result = running.set(**values)
    assert not result.successful and result.reason
    assert text in result.reason
    assert running.settings == before


def test_a_change_is_taken_whole_or_not_at_all(running: Running) -> None:
    assert not running.set(transform_tolerance=0.5, belief__localized_probability=7.0).successful
    assert running.settings == LocalizerNodeSettings()
    assert running.node.get_parameter("transform_tolerance").value == 1.0
