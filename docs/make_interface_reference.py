"""Write docs/interfaces.md from the sources: ``.venv/bin/python docs/make_interface_reference.py``.

Messages, services and actions are read from their definitions, parameters from the settings, launch arguments from the
launch files, commands from their parsers. Topics stand in ``TOPICS`` below; test/test_docs.py compares them with what
the running nodes offer.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "interfaces.md"

# Quality of service: how the nodes subscribe and publish.
SENSOR = "best effort, volatile"
RELIABLE = "reliable, volatile"
LATCHED = "reliable, transient local"


@dataclass(frozen=True)
class Topic:
    """One topic of a node."""

    node: str
    name: str
    kind: str
    qos: str
    meaning: str


SUBSCRIBED = (
    Topic(
        "encoder", "image", "sensor_msgs/msg/Image", SENSOR, "a camera: rgb8, bgr8, rgba8, bgra8, mono8, mono16, Bayer"
    ),
    Topic("encoder", "image/compressed", "sensor_msgs/msg/CompressedImage", SENSOR, "the same as JPEG or PNG"),
    Topic("encoder", "camera_info", "sensor_msgs/msg/CameraInfo", SENSOR, "its calibration, for rectify_images"),
    Topic(
        "encoder",
        "points",
        "sensor_msgs/msg/PointCloud2",
        SENSOR,
        "a lidar's sweeps; float32 x, y, z, and rgb if it has it",
    ),
    Topic("encoder", "scan", "sensor_msgs/msg/LaserScan", SENSOR, "a planar lidar"),
    Topic("encoder", "depth", "sensor_msgs/msg/Image", SENSOR, "a depth camera: 16UC1 (mm) or 32FC1 (m)"),
    Topic(
        "encoder",
        "depth/camera_info",
        "sensor_msgs/msg/CameraInfo",
        SENSOR,
        "its calibration; without it depth cannot be used",
    ),
    Topic(
        "localizer",
        "odom",
        "nav_msgs/msg/Odometry",
        SENSOR,
        "where the robot has moved; TF odom->base_link serves as well",
    ),
    Topic(
        "localizer",
        "initialpose",
        "geometry_msgs/msg/PoseWithCovarianceStamped",
        RELIABLE,
        "where somebody says it is (RViz)",
    ),
    Topic("both", "/tf", "tf2_msgs/msg/TFMessage", RELIABLE, "transforms that change"),
    Topic("both", "/tf_static", "tf2_msgs/msg/TFMessage", LATCHED, "transforms that do not: sensors on the robot"),
)
PUBLISHED = (
    Topic(
        "encoder",
        "scene_embedding",
        "crossover_ros/msg/SceneEmbedding",
        RELIABLE,
        "to the localizer; all that travels between two machines",
    ),
    Topic(
        "localizer",
        "localization",
        "crossover_ros/msg/LocalizationResult",
        LATCHED,
        "the answer: state, pose, probability, hypotheses, why not better",
    ),
    Topic(
        "localizer",
        "scene_retrieval",
        "crossover_ros/msg/SceneRetrieval",
        RELIABLE,
        "places ranked, one message an encoded look",
    ),
    Topic(
        "localizer",
        "pose",
        "geometry_msgs/msg/PoseWithCovarianceStamped",
        LATCHED,
        "of base_link, while LOCALIZED only",
    ),
    Topic(
        "localizer",
        "/tf",
        "tf2_msgs/msg/TFMessage",
        RELIABLE,
        "map_<building>_<level> -> odom, while LOCALIZED only, if publish_tf",
    ),
    Topic("localizer", "/tf_static", "tf2_msgs/msg/TFMessage", LATCHED, "frames of the building's levels"),
    Topic("localizer", "floor_plan", "nav_msgs/msg/OccupancyGrid", LATCHED, "plan of the level of the best hypothesis"),
    Topic(
        "localizer",
        "hypotheses",
        "visualization_msgs/msg/MarkerArray",
        RELIABLE,
        "for RViz: arrows, more opaque the more probable",
    ),
    Topic(
        "localizer",
        "particle_cloud",
        "geometry_msgs/msg/PoseArray",
        RELIABLE,
        "hypotheses on the level of the best one",
    ),
    Topic(
        "localizer",
        "retrieved_places",
        "visualization_msgs/msg/MarkerArray",
        RELIABLE,
        "for RViz: the best five places of the last retrieval",
    ),
    Topic(
        "localizer",
        "floor_plan_overlay",
        "sensor_msgs/msg/Image",
        RELIABLE,
        "a picture: plan, walls seen, hypotheses; rgb8",
    ),
    Topic(
        "both",
        "/diagnostics",
        "diagnostic_msgs/msg/DiagnosticArray",
        RELIABLE,
        "health, rates, what was dropped and why, time of each stage",
    ),
    Topic("both", "/bond", "bond/msg/Status", RELIABLE, "heartbeat for nav2's lifecycle manager, while active"),
)
SERVICES = (
    ("relocalize", "crossover_ros/srv/Relocalize"),
    ("relocalize/trigger", "std_srvs/srv/Trigger"),
    ("query_scenes", "crossover_ros/srv/QueryScenes"),
    ("load_database", "crossover_ros/srv/LoadDatabase"),
    ("set_level", "crossover_ros/srv/SetLevel"),
    ("set_pose", "crossover_ros/srv/SetPose"),
)
HEAD = """\
# Interfaces

Written from the sources by `docs/make_interface_reference.py`; do not edit. What can be relied on: topics, services,
the action, parameters, launch arguments and commands. Python modules are not a public interface.

[Topics](#topics) · [Services and the action](#services-and-the-action) · [Definitions](#definitions) ·
[Parameters](#parameters) · [Launch files](#launch-files) · [Commands](#commands)
"""


class UndocumentedError(ValueError):
    """A field or constant without a comment; the message names file and line."""


@dataclass(frozen=True)
class Entry:
    """A field or constant of a definition, with what the comment above it says."""

    kind: str
    name: str
    meaning: str


def sections(path: Path) -> Iterator[tuple[str, list[Entry]]]:
    """What a definition's head says, and its entries; one for each part between lines of ``---``.

    A comment speaks for the entries below it, up to an empty line or the next comment.

    Raises:
        UndocumentedError: an entry has no comment above it.
    """
    head, entries = "", list[Entry]()
    comment: list[str] = []
    spoken = ""
    for number, line in enumerate([*path.read_text(encoding="utf-8").splitlines(), "---"], start=1):
        if line == "---":
            yield head, entries
            head, entries, comment, spoken = "", [], [], ""
        elif line.startswith("#"):
            comment.append(line.lstrip("# ").rstrip())
        elif not line.strip():
            if comment:
                head = f"{head} {' '.join(comment)}".strip()
            comment, spoken = [], ""
        else:
            if comment:
                spoken, comment = " ".join(comment), []
            if not spoken:
                raise UndocumentedError(f"{path.name}:{number}: no comment says what {line!r} means")
            kind, name = line.split(None, 1)
            entries.append(Entry(kind, name.strip(), spoken))


def _cell(text: object) -> str:
    return re.sub(r"<([^<>]*)>", r"&lt;\1&gt;", str(text).replace("|", "\\|").replace("\n", " "))


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    names = list(head)
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _topics() -> Iterator[str]:
    yield "## Topics\n\nNames are relative and can be remapped, but for those that start with a slash.\n\n### Taken\n"
    yield table(("topic", "type", "quality of service", "node", "what"), _rows(SUBSCRIBED))
    yield "\nQuality of service of an input: `qos_overrides.<topic>.subscription.reliability`, `.history`, `.depth`."
    yield "\n### Given\n"
    yield table(("topic", "type", "quality of service", "node", "what"), _rows(PUBLISHED))


def _rows(topics: Iterable[Topic]) -> Iterator[tuple[str, ...]]:
    for t in topics:
        yield f"`{t.name}`", t.kind, t.qos, t.node, t.meaning


def _services() -> Iterator[str]:
    yield "\n## Services and the action\n"
    yield "All of the node `localizer`. Both nodes have the services of a lifecycle node as well.\n"
    heads = {f"crossover_ros/srv/{p.stem}": next(sections(p))[0] for p in (ROOT / "srv").iterdir()}
    heads["std_srvs/srv/Trigger"] = "As relocalize with apply and no hints; the message begins with the code's name."
    rows = [(f"`{name}`", kind, heads[kind]) for name, kind in SERVICES]
    action = next(sections(ROOT / "action" / "Relocalize.action"))[0]
    yield table(("name", "type", "what"), [*rows, ("`relocalize` (action)", "crossover_ros/action/Relocalize", action)])


def _definitions() -> Iterator[str]:
    yield "\n## Definitions\n"
    parts = {"msg": ("",), "srv": ("Request", "Response"), "action": ("Goal", "Result", "Feedback")}
    for kind, names in parts.items():
        for path in sorted((ROOT / kind).iterdir()):
            yield f"### {kind}/{path.stem}\n"
            for part, (head, entries) in zip(names, sections(path), strict=True):
                if head:
                    yield head + "\n"
                rows = [(f"`{e.name}`", f"`{e.kind}`", e.meaning) for e in entries]
                yield table((part.lower() or "field", "type", "what"), rows) + "\n"


def _parameters() -> Iterator[str]:
    from crossover_ros.settings import EncoderNodeSettings, LocalizerNodeSettings

    yield "## Parameters\n\nAll, at their defaults, are in `config/localize.yaml`. *Fixed* ones are read when the"
    yield "node is configured; the others can be set while it runs (`ros2 param set`), and a value out of range is"
    yield "refused with the reason.\n"
    for node, settings in (("encoder", EncoderNodeSettings()), ("localizer", LocalizerNodeSettings())):
        yield f"### Node `{node}`\n"
        rows = []
        for name, item, default in settings.flat():
            data = item.metadata
            low, high = data["minimum"], data["maximum"]
            span = (
                "" if low is None and high is None else f"{'' if low is None else low}..{'' if high is None else high}"
            )
            limits = " or ".join(map(str, data["choices"])) or span
            meaning = data["description"] + (". *Fixed.*" if data["read_only"] else "")
            shown = '""' if default == "" else str(default).lower() if isinstance(default, bool) else default
            rows.append((f"`{name}`", shown, data["unit"], limits, meaning))
        yield table(("parameter", "default", "unit", "range", "what"), rows) + "\n"


def launch_arguments(path: Path) -> list[dict[str, Any]]:
    """Arguments that a launch file declares, as keywords and ``name``; ROS's launch is stood in for."""
    declared: list[dict[str, Any]] = []

    class Stub(ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            if name == "DeclareLaunchArgument":
                return lambda argument, **keywords: declared.append({"name": argument, **keywords})
            if name == "get_package_share_directory":
                return lambda package: f"$(find-pkg-share {package})"
            return type(name, (), {"__init__": lambda *_, **__: None, "__class_getitem__": classmethod(lambda c, _: c)})

    names = ("launch", "launch.action", "launch.actions", "launch.conditions", "launch.event_handlers", "launch.events")
    names += ("launch.launch_description_sources", "launch.substitutions", "launch.some_substitutions_type")
    names += ("launch_ros", "launch_ros.actions", "ament_index_python", "ament_index_python.packages")
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update({name: Stub(name) for name in names})
    try:
        spec = importlib.util.spec_from_file_location("_launch_file", path)
        assert spec is not None and spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    return declared


def _launch_files() -> Iterator[str]:
    yield "## Launch files\n\n`ros2 launch crossover_ros FILE NAME:=VALUE ...`; `--show-args` lists them too.\n"
    for path in sorted((ROOT / "launch").glob("*.launch.py")):
        yield f"### {path.name}\n"
        rows = [
            (
                f"`{a['name']}`",
                f"`{a['default_value']}`"
                if a.get("default_value")
                else "none"
                if "default_value" in a
                else "must be given",
                " or ".join(a.get("choices") or ()),
                a["description"],
            )
            for a in launch_arguments(path)
        ]
        yield table(("argument", "default", "values", "what"), rows) + "\n"


def commands(
    parser: argparse.ArgumentParser, path: str = "crossover"
) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Every command without subcommands: its words, what it does, its parser."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            told = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, child in action.choices.items():
                inner = list(commands(child, f"{path} {name}"))
                yield from inner or [(f"{path} {name}", told.get(name, ""), child)]


def whole_parser() -> argparse.ArgumentParser:
    """The parser of ``crossover``."""
    from crossover_models.cli import build_parser
    from crossover_ros import cli

    own = (cli._list_ros_commands, *(importlib.import_module(name).add_command for name in cli.MODULES))
    return build_parser(own, [importlib.import_module(name).add_command for name in cli.BENCHMARKS])


def _commands() -> Iterator[str]:
    from crossover_ros.cli import ROS_COMMANDS

    yield "## Commands\n\nExit status: 0 done, 2 what was given makes no sense (one line says what), 130 interrupted.\n"
    for words, told, parser in commands(whole_parser()):
        yield f"### {words}\n\n{told[:1].upper()}{told[1:]}.\n"
        if words.split()[-1] in ROS_COMMANDS and len(words.split()) == 2:
            yield f"`{words} --help` lists its arguments; those of ROS follow `--ros-args`.\n"
            continue
        rows = []
        for action in parser._actions:
            if isinstance(action, argparse._HelpAction):
                continue
            name = ", ".join(action.option_strings) or str(action.metavar or action.dest)
            default = action.default
            shown = "" if default in (None, False, argparse.SUPPRESS) or default == [] else _plain(default)
            text = (action.help or "") % {**vars(action), "prog": words} if action.help else ""
            rows.append((f"`{name}`", shown, " or ".join(map(str, action.choices or ())), text))
        yield table(("argument", "default", "values", "what"), rows) + "\n"


def _plain(default: object) -> str:
    if isinstance(default, (list, tuple)):
        return " ".join(map(str, default))
    return str(default).replace(str(Path.home()), "~").replace(str(ROOT), ".")


def page() -> str:
    """The whole page."""
    parts = [HEAD, *_topics(), *_services(), *_definitions(), *_parameters(), *_launch_files(), *_commands()]
    return "\n".join(parts).rstrip() + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE.relative_to(ROOT))
