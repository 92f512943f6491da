"""A ROS domain that nobody on this machine is in, for runs that are to keep to themselves."""

from __future__ import annotations

import os
import socket
from pathlib import Path

# Domains above these have ports among those of outgoing connections on Linux; 0 is everybody's.
LAST = 101
# UDP ports of RTPS (OMG DDSI-RTPS 2.3, 9.6.1.1): the first participant of a domain has its own at base + gain * domain.
PORT_BASE, PORT_GAIN, FIRST_UNICAST = 7400, 250, 10


# Where Fast DDS keeps its shared memory; a process that is killed leaves its ports there.
SHARED_MEMORY = Path("/dev/shm")


def free_domain(first: int | None = None) -> int:
    """The first domain from 1 + ``first`` % 101 on, in a circle, whose first participant is not on this machine.

    Domains in which nobody was killed go first. Where nodes had been killed, a graph was seen now and then that knew
    nothing of a node that it named; that the ports left behind are the cause is likely, and not proven.

    Args:
        first: the process id by default, so that runs begin to look at different places.

    Returns:
        1 to 101; where all are taken, the one looked at first.
    """
    start = os.getpid() if first is None else first
    domains = [1 + (start + k) % LAST for k in range(LAST)]
    free = [domain for domain in domains if _is_free(domain)]
    left = {(port - PORT_BASE) // PORT_GAIN for port in _ports_left()}
    return next((domain for domain in free if domain not in left), (free or domains)[0])


def _ports_left() -> list[int]:
    names = [path.name.removeprefix("fastdds_port") for path in SHARED_MEMORY.glob("fastdds_port*")]
    return [int(name) for name in names if name.isdigit()]


def _is_free(domain: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", PORT_BASE + PORT_GAIN * domain + FIRST_UNICAST))
        except OSError:
            return False
    return True
