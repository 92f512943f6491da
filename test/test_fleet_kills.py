"""Two robots and one master on this machine, each killed at random moments: nothing lost, nothing half-applied."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from planted_building import HashEncoder, full_building

import crossover_models
from crossover_models.fleet.stores import open_store
from crossover_models.map_database.build import build_database
from crossover_models.map_database.store import MapDatabase

HERE = Path(__file__).parent
ROUNDS = 8


class Steps:
    """Starts steps in processes of their own; see kill_fleet.py."""

    def __init__(self) -> None:
        root = Path(crossover_models.__file__).parents[1]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(HERE)])}
        command = [sys.executable, str(HERE / "kill_fleet.py")]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)

    def start(self, *parts: str | Path) -> int:
        """Process id of a step that has begun."""
        return int(self._ask("\t".join(str(part) for part in parts)))

    def wait(self) -> list[int]:
        """Exit statuses of the steps since the last wait."""
        return [int(word) for word in self._ask("wait").split()]

    def _ask(self, line: str) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()


@pytest.fixture
def steps() -> Iterator[Steps]:
    found = Steps()
    yield found
    found.process.communicate("")
    assert found.process.returncode == 0


def content(path: Path) -> str | None:
    """Fingerprint of a file that was verified whole, None where there is none."""
    if not path.exists():
        return None
    with MapDatabase.open(path) as database:
        database.verify()
        return database.fingerprint


def test_master_and_robots_are_killed_at_random_moments(tmp_path: Path, steps: Steps) -> None:
    rng = random.Random(7)
    store, robots = tmp_path / "store", (tmp_path / "robot1" / "r.xmap", tmp_path / "robot2" / "r.xmap")
    # A publication is whole for each building: a robot may meet a new house beside the old annex, never half a house.
    published: dict[tuple[int, int], Path] = {}
    for house in range(2):
        for annex in range(2):
            published[house, annex] = tmp_path / f"v{house}{annex}.xmap"
            pair = (full_building("house", house), full_building("annex", annex + 7))
            build_database(pair, HashEncoder(), published[house, annex])
    allowed = {content(path) for path in published.values()}
    began = time.monotonic()
    steps.start("publish", published[0, 0], store)
    assert steps.wait() == [0]
    # Moments of this machine: on a fast one all would be done before the first kill.
    within_s = 0.2 * (time.monotonic() - began)
    killed = 0
    for turn in range(ROUNDS):
        held = [robot.exists() for robot in robots]
        version = published[(turn + 1) % 2, (turn + 1) % 2]
        running = [steps.start("publish", version, store), *(steps.start("pull", store, robot) for robot in robots)]
        for process in sorted(running, key=lambda _: rng.random()):
            time.sleep(rng.uniform(0.0, within_s))
            os.kill(process, signal.SIGKILL)
        killed += steps.wait().count(-signal.SIGKILL)
        for robot, had in zip(robots, held, strict=True):
            assert content(robot) in (allowed if had else {*allowed, None})
        # What lies in the store now can be pulled whole by a robot that was never there.
        steps.start("pull", store, tmp_path / "fresh.xmap")
        assert steps.wait() == [0]
        assert content(tmp_path / "fresh.xmap") in allowed
    assert killed > ROUNDS  # else nothing was tested
    steps.start("publish", published[1, 0], store)
    assert steps.wait() == [0]
    for robot in robots:
        steps.start("pull", store, robot)
    assert steps.wait() == [0, 0]
    for robot in robots:
        assert content(robot) == content(published[1, 0])
        assert [path.name for path in robot.parent.iterdir()] == [robot.name]
    assert open_store(str(store)).heads() == ("buildings/annex.json", "buildings/house.json")
