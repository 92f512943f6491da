"""Rates of inputs: silence, slowness and bursts against what was usual, by planted arrivals."""

from __future__ import annotations

from crossover_ros.input_rates import InputRates


def fed(hz: float, until_s: float, rates: InputRates | None = None, from_s: float = 0.0) -> InputRates:
    """``hz`` messages a second, judged every second, as the nodes do."""
    rates = rates or InputRates()
    at, judged = from_s, from_s
    while at < until_s:
        rates.heard("points", at)
        at += 1.0 / hz
        if at - judged >= 1.0:
            judged = at
            rates.judge(at)
    return rates


def test_a_steady_sensor_is_nothing_to_tell() -> None:
    values, weak, bursts = fed(10.0, 20.0).judge(20.0)
    assert abs(values["points"] - 10.0) < 0.5 and not weak and not bursts


def test_silence_is_told_with_the_rate_before() -> None:
    rates = fed(10.0, 10.0)
    assert not rates.judge(12.0)[1]
    _, weak, _ = rates.judge(14.0)
    assert len(weak) == 1 and weak[0].startswith("points: silent for 4.") and "Hz before" in weak[0]
    assert rates.judge(500.0)[1], "a dead sensor is not forgotten"


def test_a_slow_sensor_is_told_until_it_is_usual() -> None:
    rates = fed(1.0, 16.0, fed(10.0, 10.0), from_s=10.0)
    _, weak, _ = rates.judge(16.0)
    assert weak and weak[0].startswith("points: 1.0 Hz, ")
    fed(1.0, 300.0, rates, from_s=16.0)
    assert not rates.judge(300.0)[1], "for good is no fault"


def test_a_burst_is_told() -> None:
    rates = fed(100.0, 14.0, fed(10.0, 10.0), from_s=10.0)
    _, weak, bursts = rates.judge(14.0)
    assert not weak and bursts and bursts[0].startswith("points: ")


def test_a_sensor_of_one_in_five_seconds_is_not_silent_in_between() -> None:
    assert not fed(0.2, 60.0).judge(64.0)[1]


def test_nothing_is_remembered_of_before() -> None:
    rates = fed(10.0, 10.0)
    rates.clear()
    assert rates.judge(20.0) == ({}, [], [])
