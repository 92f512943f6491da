"""A localizer as a command: run on a bag in a process of its own, watched, and never trusted."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from crossover_models.evaluation.buildings import watched
from crossover_models.evaluation.buildings.judged import Cost

OURS = "{python} -m crossover_ros.cli evaluate {bag} --database {database} --answers {out}"
GEOMETRIC = "crossover_ros.geometry_peers"
_TRIVIAL = "{{python}} -m crossover_models.evaluation.buildings.trivial {kind} {{bag}} {{database}} {{out}}"
# Names of crossover_ros/geometry_peers.py, which cannot be imported without its package.
GEOMETRY_PEERS = ("amcl", "likelihood-field", "likelihood-field-gated", "kiss-matcher", "small-gicp", "mrpt")
# What --peers all stands for.
ALL = ("crossover", *GEOMETRY_PEERS)
BUILT_IN: Mapping[str, str] = {
    "crossover": OURS,
    **{name: f"{{python}} -m {GEOMETRIC} {name} {{bag}} {{database}} {{out}}" for name in GEOMETRY_PEERS},
    "constant": _TRIVIAL.format(kind="constant"),
    "random-place": _TRIVIAL.format(kind="random-place"),
}
OUTCOME, LOG = "outcome.json", "log.txt"
_LOG_BYTES = 20_000


# What the geometric peers need beyond this package: distributions of the extra 'peers', programs of Debian's mrpt-apps.
_DISTRIBUTIONS = ("kiss-matcher", "small-gicp")
_PROGRAMS = ("pf-localization", "carmen2rawlog", "image2gridmap")


def installed() -> dict[str, str]:
    """Version or path of each thing that a geometric peer may need, "" where it is not installed.

    A peer that failed for want of one is asked again when that has changed.
    """
    found = {name: shutil.which(name) or "" for name in _PROGRAMS}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = ""
    return found


class PeerError(ValueError):
    """A localizer that cannot be run at all; the message names it."""


@dataclass(frozen=True)
class Peer:
    """A localizer: ``command`` is a shell command with ``{bag}``, ``{database}``, ``{out}`` and maybe ``{python}``."""

    name: str
    command: str

    def __post_init__(self) -> None:
        for field in ("{bag}", "{out}"):
            if field not in self.command:
                raise PeerError(f"--localizer {self.command!r}: has no {field} to fill in")
        if not self.name or not all(c.isalnum() or c in "-_." for c in self.name) or self.name.startswith("."):
            raise PeerError(f"--name {self.name!r}: use letters, digits, - and _")

    def line(self, bag: Path, database: Path, out: Path) -> str:
        """The shell command of a run; paths are absolute and quoted."""
        text = self.command
        values = {"{bag}": bag.absolute(), "{database}": database.absolute(), "{out}": out.absolute()}
        for field, value in {**values, "{python}": Path(sys.executable)}.items():
            text = text.replace(field, shlex.quote(str(value)))
        return text


@dataclass(frozen=True)
class Outcome:
    """How a process ended: ``failure`` is "" if it exited with 0; its cost either way."""

    failure: str
    cost: Cost


def answer_with(
    peer: Peer, bag: Path, database: Path, folder: Path, timeout_s: float, retry_failed: bool = False
) -> Outcome:
    """Let a localizer answer a bag into ``folder``, unless it did before; the folder appears whole or not at all.

    Raises:
        PeerError: no process could be started.
    """
    kept = _read_outcome(folder)
    if kept is not None and not (retry_failed and kept.failure):
        return kept
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        out = scratch / "answers"
        out.mkdir()
        outcome = _run(peer.line(bag, database, out), scratch / LOG, timeout_s)
        (out / OUTCOME).write_text(json.dumps(asdict(outcome), indent=2) + "\n", encoding="utf-8")
        if (scratch / LOG).stat().st_size:
            shutil.copyfile(scratch / LOG, out / LOG)
        if folder.exists():
            shutil.rmtree(folder)
        out.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return outcome


def _run(line: str, log: Path, timeout_s: float) -> Outcome:
    """Run a shell command and tell how it ended; its output goes to ``log``."""
    report = log.with_name("usage.json")
    # A thread a core each would make CPU seconds of different localizers incomparable.
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"), "NO_COLOR": "1"}
    watcher = [sys.executable, "-I", "-S", watched.__file__, str(report), str(timeout_s), line]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            watcher, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, env=environment
        )
        try:
            process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    try:
        facts = json.loads(report.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise PeerError(f"{line!r:.200}: could not be watched: {_last_line(log)}") from None
    cost = Cost(float(facts["cpu_s"]), float(facts["wall_s"]), float(facts["peak_mb"]))
    if facts["late"]:
        return Outcome(f"timed out after {timeout_s:.0f} s", cost)
    code = int(facts["code"])
    if code == 0:
        return Outcome("", cost)
    how = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
    said = _last_line(log)
    return Outcome(f"{how}: {said}" if said else how, cost)


def _last_line(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - _LOG_BYTES))
        lines = stream.read().decode("utf-8", "replace").splitlines()
    return next((" ".join(line.split())[:200] for line in reversed(lines) if line.strip()), "")


def _read_outcome(folder: Path) -> Outcome | None:
    path = folder / OUTCOME
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Outcome(str(values["failure"]), Cost(**{k: float(v) for k, v in values["cost"].items()}))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
