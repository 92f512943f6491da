"""A domain for a run of its own: none that a participant on this machine is in."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from crossover_ros import free_domain as module
from crossover_ros.free_domain import FIRST_UNICAST, LAST, PORT_BASE, PORT_GAIN, free_domain


def taken(stack: ExitStack, domain: int) -> None:
    """What a participant does; a port that somebody has already is taken just as well."""
    held = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with suppress(OSError):
        held.bind(("", PORT_BASE + PORT_GAIN * domain + FIRST_UNICAST))


def test_a_domain_where_somebody_is_already_is_passed_over() -> None:
    with ExitStack() as stack:
        taken(stack, 1 + 40)
        taken(stack, 1 + 41)
        assert free_domain(40) not in (41, 42)


@pytest.fixture(autouse=True)
def shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No process was killed before."""
    monkeypatch.setattr(module, "SHARED_MEMORY", tmp_path)
    return tmp_path


def test_a_domain_where_somebody_was_killed_is_taken_last(shared_memory: Path) -> None:
    (shared_memory / "fastdds_port17661").touch()
    (shared_memory / "fastdds_port17665_el").touch()
    (shared_memory / "fastdds_151e94020b31e728").touch()
    assert (17661 - PORT_BASE) // PORT_GAIN == 41
    assert free_domain(40) != 41
    for domain in range(LAST + 1):
        (shared_memory / f"fastdds_port{PORT_BASE + PORT_GAIN * domain + 11}").touch()
    with ExitStack() as stack:
        taken(stack, 41)
        assert 1 <= free_domain(40) <= LAST and free_domain(40) != 41


def test_domains_go_round_and_stay_below_the_ports_of_connections() -> None:
    with ExitStack() as stack:
        taken(stack, LAST)
        found = free_domain(LAST - 1)
        assert 1 <= found < LAST
    assert PORT_BASE + PORT_GAIN * (LAST + 1) < 32768 + 250


def test_where_all_are_taken_the_first_one_is_shared() -> None:
    with ExitStack() as stack:
        for domain in range(1, LAST + 1):
            taken(stack, domain)
        assert free_domain(6) == 7
