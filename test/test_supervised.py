"""Children that are watched: they end with their parent, however it is asked to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crossover_ros.supervised import ChildDied, Supervised

PARENT = """
import sys, time
from pathlib import Path
from crossover_ros.supervised import Supervised
with Supervised("child", ["sleep", "300"], Path(sys.argv[1])) as child:
    print(child.pid, flush=True)
    time.sleep(300)
"""


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_children_end_with_a_parent_that_is_told_to(tmp_path: Path, number: signal.Signals, status: int) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "child.log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(number)
        assert parent.wait(30.0) == status
    deadline = time.monotonic() + 10.0
    while is_there(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_there(child)


def test_a_process_without_children_dies_of_sigterm_as_any_other(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    first = Supervised("first", ["sleep", "300"], tmp_path / "1.log")
    second = Supervised("second", ["sleep", "300"], tmp_path / "2.log")
    assert signal.getsignal(signal.SIGTERM) is not before
    first.stop()
    assert signal.getsignal(signal.SIGTERM) is not before
    second.kill()
    assert signal.getsignal(signal.SIGTERM) is before is signal.SIG_DFL


def test_a_child_that_died_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    with Supervised("child", ["sh", "-c", "echo broken; exit 7"], tmp_path / "child.log") as child:
        deadline = time.monotonic() + 10.0
        while child.alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        with pytest.raises(ChildDied, match=r"child died \(exit status 7\).*\n  broken"):
            child.check()
