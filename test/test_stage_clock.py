"""Times of stages: what is inside of another is counted once, from any thread."""

from __future__ import annotations

import threading
import time

import pytest

from crossover_models.stage_clock import STAGES, StageClock


def spin(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_a_stage_inside_of_another_is_taken_out_of_it() -> None:
    clock = StageClock()
    with clock.stage("belief"):
        spin(0.01)
        with clock.stage("retrieve"):
            spin(0.05)
        with clock.stage("register"):
            spin(0.03)
    times = clock.times()
    assert times["retrieve"].cpu_s >= 0.05 and times["register"].cpu_s >= 0.03
    assert 0.01 <= times["belief"].cpu_s < times["register"].cpu_s
    assert times["belief"].p50_ms < times["register"].p50_ms < times["retrieve"].p50_ms


def test_waiting_costs_wall_time_and_no_cpu_time() -> None:
    clock = StageClock()
    with clock.stage("wait"):
        time.sleep(0.05)
    waited = clock.times()["wait"]
    assert waited.p50_ms >= 50.0 and waited.cpu_s < 0.025


def test_a_stage_that_fails_is_counted_and_leaves_the_others_right() -> None:
    clock = StageClock()
    with pytest.raises(ValueError, match="bad"), clock.stage("belief"), clock.stage("retrieve"):
        raise ValueError("bad")
    with clock.stage("encode"):
        spin(0.01)
    assert {name: t.count for name, t in clock.times().items()} == {"encode": 1, "retrieve": 1, "belief": 1}


def test_threads_do_not_take_time_out_of_each_other() -> None:
    clock = StageClock()

    def outer() -> None:
        with clock.stage("belief"):
            spin(0.05)

    thread = threading.Thread(target=outer)
    with clock.stage("encode"):
        thread.start()
        thread.join()
    assert clock.times()["belief"].cpu_s >= 0.05
    assert clock.times()["encode"].p50_ms >= 50.0


def test_quantiles_are_of_the_newest_runs_in_the_order_of_the_stages() -> None:
    clock = StageClock(kept=100)
    for k in range(200):
        clock.add("publish", (k % 100) * 1e-3, 1e-3)
    clock.add("receive", 2.0)
    clock.add("of our own", 0.5)
    times = clock.times()
    assert list(times) == ["receive", "publish", "of our own"]
    assert times["publish"].count == 200 and times["publish"].cpu_s == pytest.approx(0.2)
    assert (times["publish"].p50_ms, times["publish"].p99_ms) == pytest.approx((49.5, 98.01))
    told = clock.diagnostics()
    assert told["publish_ms"] == "49.50 94.05 98.01" and told["publish_runs"] == "200"
    clock.clear()
    assert not clock.times() and len(set(STAGES)) == len(STAGES)
