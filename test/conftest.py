"""Environment of every test: one thread, and a ROS domain that stays on this machine and apart from other runs.

Fixtures of live tests import ROS when they are asked for, since this file is read where there is none too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crossover_ros.free_domain import free_domain

if TYPE_CHECKING:
    from ros_graph import House

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
# By process id alone, two runs at a time met now and then, and each saw the other's nodes of the same names.
os.environ["ROS_DOMAIN_ID"] = str(free_domain())
# A test run in the background is started with SIGINT ignored, and so would be every process under test.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# What decides who hears whom. A test that runs a command of ours in its own process may have it changed, and the tests
# after it would meet each other over another transport, or in another domain than they think.
TRANSPORT = ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE", "FASTDDS_BUILTIN_TRANSPORTS", "RMW_IMPLEMENTATION")


@pytest.fixture(scope="module", autouse=True)
def domain_of_a_module() -> None:
    """Tests kill nodes, and graphs were seen to fail in a domain where that had happened (why is not proven)."""
    os.environ["ROS_DOMAIN_ID"] = str(free_domain(int(os.environ["ROS_DOMAIN_ID"])))


@pytest.fixture(autouse=True)
def same_transport_for_every_test() -> Iterator[None]:
    """Put the environment's ROS settings back as they were."""
    before = {name: os.environ.get(name) for name in TRANSPORT}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The map of a small house."""
    from ros_graph import write_map

    return write_map(tmp_path_factory.mktemp("map") / "house.xmap")


@pytest.fixture
def running(house: Path) -> Iterator[House]:
    """Both nodes in that house, with a robot and a client, active."""
    from ros_graph import House, graph

    with graph(lambda: House(str(house))) as nodes:
        yield nodes.start()
