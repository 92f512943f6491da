"""The documentation: its commands run, all others exist, links lead somewhere, and what is generated is up to date.

A block marked ``<!-- not run: REASON -->`` is checked against the parsers and definitions alone; before one marked
``<!-- needs: FILE -->`` the file is put there.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")

from test_import_ifc import planted as planted_ifc

from crossover_models.estimate import FailureCategory, LocalizationState, RelocalizeCode
from crossover_ros.cli import ROS_COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")])
BLOCK_S = 900


@dataclass(frozen=True)
class Block:
    """A piece of code of a page."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str
    needs: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    begin, marks = 0, {}
    for number, line in enumerate(lines, start=1):
        mark = re.fullmatch(r"<!-- (not run|needs): (.+) -->", line)
        if line.startswith("```") and not begin:
            begin = number
        elif line == "```":
            language = lines[begin - 1].removeprefix("```")
            text = "\n".join(lines[begin : number - 1])
            yield Block(page, begin, language, text, marks.get("not run", ""), marks.get("needs", ""))
            begin, marks = 0, {}
        elif mark and not begin:
            marks[mark[1]] = mark[2]
        elif line.strip() and not begin:
            assert not marks, f"{page.name}:{number}: a mark without a block"
    assert not begin, f"{page.name}:{begin}: a block without an end"


ALL = [block for page in PAGES for block in blocks(page)]


@cache
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("interface_reference", ROOT / "docs" / "make_interface_reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["interface_reference"] = module
    spec.loader.exec_module(module)
    return module


# -- commands that run ---------------------------------------------------------------------------------------------

FILES: dict[str, Callable[[Path], object]] = {"building.ifc": planted_ifc}


@pytest.mark.parametrize("page", sorted({b.page for b in ALL if b.language == "bash"}), ids=lambda page: page.name)
def test_the_commands_of_a_page_run_in_its_order(page: Path, tmp_path: Path) -> None:
    run = [block for block in blocks(page) if block.language == "bash" and not block.not_run]
    if not run:
        return
    folder = tmp_path
    if any("make setup" in block.text for block in run):
        folder = ROOT
        if Path(sys.prefix) != ROOT / ".venv":
            pytest.skip("these tests do not run in .venv, and setting it up is not theirs")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, what in {"crossover": "-m crossover_ros.cli", "python": "", "python3": ""}.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {what} "$@"\n')
        program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "120"}
    # As a reader has it: live runs then choose a domain of their own, in which no earlier test has killed a node.
    environment.pop("ROS_DOMAIN_ID", None)
    if "PYTHONPATH" in environment:
        absolute = [str(Path(part).resolve()) for part in environment["PYTHONPATH"].split(os.pathsep) if part]
        environment["PYTHONPATH"] = os.pathsep.join(absolute)
    for block in run:
        if block.needs:
            FILES[block.needs](folder / block.needs)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.text],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=BLOCK_S,
        )
        assert done.returncode == 0, f"{block}: status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_marks_have_reasons_and_most_commands_run() -> None:
    bash = [block for block in ALL if block.language == "bash" and block.page.parent.name == "docs"]
    assert all(not block.needs or block.needs in FILES for block in bash)
    tutorial = [block for block in bash if block.page.name == "tutorial.md"]
    assert len([b for b in tutorial if b.not_run]) == 1 and len(tutorial) > 7


# -- commands that are not run: they exist -------------------------------------------------------------------------


def shell_commands(text: str) -> Iterator[list[str]]:
    """Simple commands of a shell text as words; here documents and comments left out."""
    text = re.sub(r"<<'?(\w+)'?\n.*?\n\1(?=\n|$)", "", text, flags=re.DOTALL).replace("\\\n", " ")
    for line in text.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;()")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if word and not set(word) - set("|&;()"):
                yield words
                words = []
            else:
                words.append(word)
        yield words


def every_command() -> Iterator[tuple[Block, list[str]]]:
    for block in ALL:
        if block.language in ("", "bash"):
            for words in shell_commands(block.text):
                # Also what follows `torchrun ... -m crossover_ros.cli`, and `--exec`'s own command line.
                for at, word in enumerate(words):
                    if word.rpartition("/")[2] in ("crossover", "ros2", "make", "crossover_ros.cli"):
                        yield (
                            block,
                            [word.rpartition("/")[2].replace("crossover_ros.cli", "crossover"), *words[at + 1 :]],
                        )
                        break


COMMANDS = list(every_command())


def leaf(words: list[str]) -> tuple[argparse.ArgumentParser, list[str]]:
    """Parser of a command and what is left for it."""
    parser = reference().whole_parser()
    while True:
        inner = next((a for a in parser._actions if isinstance(a, argparse._SubParsersAction)), None)
        if inner is None or not words or words[0] not in inner.choices:
            assert inner is None or not words or words[0].startswith("-"), f"no command {words[0]!r}"
            return parser, words
        parser, words = inner.choices[words[0]], words[1:]


def test_every_option_of_every_command_exists() -> None:
    seen = 0
    for block, words in COMMANDS:
        if words[0] != "crossover" or (len(words) > 1 and words[1] in ROS_COMMANDS):
            continue
        parser, rest = leaf(words[1:])
        known = {option for action in parser._actions for option in action.option_strings}
        for word in rest:
            if word.startswith("--"):
                assert word.partition("=")[0] in known, f"{block}: {' '.join(words)}: no option {word}"
                seen += 1
    assert seen > 50


def test_every_option_of_the_nodes_commands_exists() -> None:
    from crossover_ros import bag_player, bag_recorder, localize
    from crossover_ros.view import main as view

    parsers = {
        "localize": localize._parser(localize.NODES),
        "encoder": localize._parser(("encoder",)),
        "localizer": localize._parser(("localizer",)),
        "play": bag_player.parser(),
        "record": bag_recorder.parser(),
        "view": view.parser(),
    }
    assert set(parsers) == set(ROS_COMMANDS)
    checked = 0
    for block, words in COMMANDS:
        if words[0] == "crossover" and len(words) > 1 and words[1] in parsers:
            own, _ = localize.split_ros_arguments(words[2:])
            known = {option for action in parsers[words[1]]._actions for option in action.option_strings}
            unknown = [word for word in own if word.startswith("--") and word not in known]
            assert not unknown, f"{block}: crossover {words[1]}: no option {unknown[0]}"
            checked += 1
    assert checked > 3


def test_every_launch_argument_exists() -> None:
    files = {
        p.name: {a["name"] for a in reference().launch_arguments(p)} for p in (ROOT / "launch").iterdir() if p.is_file()
    }
    checked = 0
    for block, words in COMMANDS:
        if words[:3] == ["ros2", "launch", "crossover_ros"]:
            # The bags' launch files pass on what they do not know to the one of the nodes.
            known = files[words[3]] | files["localize.launch.py"]
            for name in (word.partition(":=")[0] for word in words[4:] if ":=" in word):
                assert name in known, f"{block}: {words[3]}: no argument {name}"
                checked += 1
    assert checked > 5


def test_every_request_has_the_fields_of_its_definition() -> None:
    import importlib

    names = dict(reference().SERVICES)
    checked = 0
    for block, words in COMMANDS:
        if words[:3] not in (["ros2", "service", "call"], ["ros2", "action", "send_goal"]):
            continue
        rest = [word for word in words[3:] if not word.startswith("--")]
        name, (package, kind, interface) = rest[0].lstrip("/"), rest[1].split("/")
        loaded = getattr(importlib.import_module(f"{package}.{kind}"), interface)
        assert kind == "action" or names[name] == rest[1], f"{block}: {name} is no {rest[1]}"
        request: Any = (loaded.Goal if kind == "action" else loaded.Request)()
        for field in yaml.safe_load(rest[2]) if len(rest) > 2 else ():
            assert field in request.get_fields_and_field_types(), f"{block}: {rest[1]} has no field {field}"
        checked += 1
    assert checked > 3


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    used = {word for _, words in COMMANDS if words[0] == "make" for word in words[1:] if re.fullmatch("[a-z]+", word)}
    assert used <= targets and len(used) > 2


# -- generated and linked ------------------------------------------------------------------------------------------


def test_the_interface_reference_is_up_to_date() -> None:
    assert reference().PAGE.read_text(encoding="utf-8") == reference().page(), "run docs/make_interface_reference.py"


@pytest.mark.parametrize(
    "text", ["uint8 a\n", "# About all.\n\nfloat32 x\n", "# a\nuint8 a\n\nuint8 b\n", "# a\nuint8 a\n---\nuint8 b\n"]
)
def test_a_field_without_a_comment_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "X.msg").write_text(text)
    with pytest.raises(reference().UndocumentedError, match=r"X\.msg:\d+: no comment says what '\w+ \w' means"):
        list(reference().sections(tmp_path / "X.msg"))


def slug(heading: str) -> str:
    """Anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, f"{page.name}: {target}"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert not [p.name for p in (ROOT / "docs").glob("*.md") if p.name != "README.md" and f"({p.name})" not in index]


def test_troubleshooting_knows_every_category_state_and_code_and_no_other() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    rows = {
        re.split(r"^## ", part)[0].splitlines()[0]: part for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    }

    def first_cells(heading: str) -> set[str]:
        return set(re.findall(r"^\| `(\w+)` \|", rows[heading], re.MULTILINE))

    assert first_cells("By failure category") == {category.value for category in FailureCategory}
    assert first_cells("By state") == {state.name for state in LocalizationState}
    assert first_cells("By answer of `relocalize`") == {code.name for code in RelocalizeCode}


def test_troubleshooting_quotes_what_the_nodes_say() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    sources = "".join(
        p.read_text(encoding="utf-8")
        for folder in ("crossover_ros", "crossover_models")
        for p in (ROOT / folder).glob("*.py")
    )
    table = text[text.index("| what it says |") :].split("\n\n")[0]
    said = [w for row in table.splitlines()[2:] for w in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(said) > 10
    for words in said:
        kind = re.match(r"(image|points)_(refused|out_of_range|too_many)", words)
        # Counters of a kind of data are put together as f"{kind}_refused".
        looked_for = f"}}_{kind[2]}" if kind else words
        assert looked_for in sources, words


def kind_of(interface: Any) -> str:
    """Name of a message's or service's class, as ROS writes it."""
    package, group = interface.__module__.split(".")[:2]
    return f"{package}/{group}/{interface.__name__}"


def test_topics_are_those_of_the_running_nodes(running: Any) -> None:
    """Asked of the nodes, not of the graph, which now and then knows nothing of a node that it names."""
    page = reference()
    infrastructure = re.compile(r"/?(rosout|parameter_events|\w+/transition_event|relocalize/_action/.*)")
    nodes = (running.sensing, running.localizer)
    directions = (
        (page.PUBLISHED, [(node, end) for node in nodes for end in node.publishers], ""),
        # The bond is heard as well as said.
        (page.SUBSCRIBED, [(node, end) for node in nodes for end in node.subscriptions], "bond"),
    )
    for listed, endpoints, left_out in directions:
        topics = {(t.node, t.name.lstrip("/")): t for t in listed}
        found = set()
        for node, end in endpoints:
            name, topic = node.get_name(), end.topic_name.lstrip("/")
            if infrastructure.fullmatch(topic) or topic == left_out:
                continue
            entry = topics.get((name, topic)) or topics.get(("both", topic))
            assert entry is not None, f"{name} has {topic}, and the reference has not"
            assert kind_of(end.msg_type) == entry.kind, topic
            qos = end.qos_profile
            said = f"{qos.reliability.name}, {qos.durability.name}".lower().replace("_", " ")
            assert said == entry.qos, f"{topic} of {name}"
            found.add((entry.node, topic))
        assert found == set(topics), "in the reference, and no node has it"


def test_services_are_those_of_the_running_node(running: Any) -> None:
    ours = {
        service.service_name.lstrip("/"): kind_of(service.srv_type)
        for service in running.localizer.services
        if not service.service_name.startswith("/localizer/")
    }
    assert ours == dict(reference().SERVICES)
