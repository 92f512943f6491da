"""ROS parameters from typed settings: each is declared with description, unit, range and whether it may change.

``python3 -m crossover_ros.parameters`` prints config/localize.yaml, so that the file cannot disagree with the code.
"""

from __future__ import annotations

import difflib
import json
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable
from dataclasses import Field
from typing import Any, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    ParameterType,
    SetParametersResult,
)
from rclpy.exceptions import ParameterException
from rclpy.node import Node

from crossover_models.config import ConfigError, Settings
from crossover_ros.settings import EncoderNodeSettings, LocalizerNodeSettings

S = TypeVar("S", bound=Settings)

# Declared by rclpy itself.
ROS_PARAMETERS = ("use_sim_time", "start_type_description_service")
QOS_PREFIX = "qos_overrides."
_TYPES = {
    bool: ParameterType.PARAMETER_BOOL,
    int: ParameterType.PARAMETER_INTEGER,
    float: ParameterType.PARAMETER_DOUBLE,
    str: ParameterType.PARAMETER_STRING,
}
_INT_MAX = 2**63 - 1


def names(settings: Settings) -> tuple[str, ...]:
    """Dotted names of all parameters of a group of settings."""
    return tuple(name for name, _, _ in settings.flat())


def descriptor(name: str, item: Field[Any], default: Any) -> ParameterDescriptor:
    """What ``ros2 param describe`` shows of one setting."""
    out = ParameterDescriptor(name=name, type=_TYPES[type(default)], read_only=bool(item.metadata["read_only"]))
    unit, choices = item.metadata["unit"], item.metadata["choices"]
    out.description = item.metadata["description"] + (f" [{unit}]" if unit else "")
    if choices:
        out.additional_constraints = "one of " + ", ".join(choices)
    low, high = item.metadata["minimum"], item.metadata["maximum"]
    if low is None and high is None:
        return out
    if isinstance(default, float):
        low, high = -sys.float_info.max if low is None else low, sys.float_info.max if high is None else high
        out.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)]
    else:
        low, high = -_INT_MAX if low is None else low, _INT_MAX if high is None else high
        out.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=0)]
    return out


def refuse_unknown(given: Iterable[str], known: Collection[str]) -> None:
    """Compare the keys that a user set with those that exist.

    Raises:
        ConfigError: a key is unknown, which is a typing error that would else be ignored silently.
    """
    for name in sorted(given):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ConfigError(f"{name}: unknown parameter" + (f"; did you mean {near[0]}?" if near else ""))


def given_parameters(node: Node) -> dict[str, Any]:
    """What files, the command line and the constructor set, declared or not; rclpy has no public way to ask."""
    return dict(node._parameter_overrides)


def declare(node: Node, settings: S, elsewhere: Collection[str] = ()) -> S:
    """Declare every setting and return the settings with the values the user gave.

    Args:
        node: whose parameters.
        settings: the defaults.
        elsewhere: parameters of other nodes of the process; ``-p name:=value`` sets them on every node.

    Raises:
        ConfigError: an unknown key, a wrong type, or a value out of range.
    """
    own = names(settings)
    given = [name for name in given_parameters(node) if not name.startswith(QOS_PREFIX)]
    refuse_unknown(given, {*own, *elsewhere, *ROS_PARAMETERS})
    values = {}
    for name, item, default in settings.flat():
        try:
            values[name] = node.declare_parameter(name, default, descriptor(name, item, default)).value
        except ParameterException as error:
            value = given_parameters(node)[name].value
            hint = f" (write {value}.0)" if isinstance(default, float) and isinstance(value, int) else ""
            raise ConfigError(f"{name}: {value!r} is refused: {' '.join(str(error).split())}{hint}") from None
    return settings.with_flat(values)


def refuse_unknown_qos(node: Node) -> None:
    """Check the ``qos_overrides.*`` keys, after the subscriptions that declare them exist.

    Raises:
        ConfigError: a key names no topic or policy of the node.
    """
    given = [name for name in given_parameters(node) if name.startswith(QOS_PREFIX)]
    known = [name for name in node._parameters if name.startswith(QOS_PREFIX)]
    refuse_unknown(given, known)


def follow(node: Node, current: Callable[[], S], accept: Callable[[S], None]) -> None:
    """Let settings change while the node runs: a change is validated whole, then handed to ``accept``."""

    def merged(parameters: Iterable[Any]) -> S:
        settings = current()
        own = names(settings)
        return settings.with_flat({p.name: p.value for p in parameters if p.name in own})

    def check(parameters: Iterable[Any]) -> SetParametersResult:
        try:
            merged(parameters)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)
    node.add_post_set_parameters_callback(lambda parameters: accept(merged(parameters)))


# -- the file of defaults ------------------------------------------------------------------------------------------

_HEAD = """\
# Parameters of the nodes, all at their defaults. Written by: python3 -m crossover_ros.parameters
# "read only" ones are read at configuring; the others can be set while running (ros2 param set).
# Topics' quality of service: qos_overrides./points.subscription.reliability: reliable (also history, depth), with the
# full topic name as remapped; needed where a bag's large clouds are lost.
"""


def yaml_text() -> str:
    """The whole of config/localize.yaml."""
    parts = [_HEAD]
    for node, settings in (("encoder", EncoderNodeSettings()), ("localizer", LocalizerNodeSettings())):
        parts.append(f"{node}:\n  ros__parameters:\n" + "".join(_yaml_group(settings, "    ")))
    return "\n".join(parts)


def _yaml_group(settings: Settings, indent: str) -> list[str]:
    lines = []
    leaves = {name: (item, value) for name, item, value in settings.flat() if "." not in name}
    for name, (item, value) in leaves.items():
        lines += [f"{indent}# {line}\n" for line in textwrap.wrap(_comment(item), 120 - len(indent) - 2)]
        # JSON spells strings, booleans and numbers as YAML does.
        lines.append(f"{indent}{name}: {json.dumps(value)}\n")
    for name in settings.to_mapping():
        if name not in leaves:
            lines.append(f"{indent}{name}:\n")
            lines += _yaml_group(getattr(settings, name), indent + "  ")
    return lines


def _comment(item: Field[Any]) -> str:
    data = item.metadata
    low, high = data["minimum"], data["maximum"]
    limits = "" if low is None and high is None else f"{'' if low is None else low}..{'' if high is None else high}"
    notes = [data["unit"], limits, "|".join(map(str, data["choices"])), "read only" if data["read_only"] else ""]
    told = ", ".join(note for note in notes if note)
    return str(data["description"]) + (f" [{told}]" if told else "")


if __name__ == "__main__":
    sys.stdout.write(yaml_text())
