"""How often each input speaks, against how often it used to: a sensor that stops, slows down or bursts is named."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

# Rates are counted over this time; a silence is told after it.
WINDOW_S = 3.0
# What is usual follows a change with this time constant, so that a deliberate one is not told for ever.
FORGET_S = 30.0
# A rate this many times lower or higher than usual is told.
FACTOR = 3.0
# Fewer than that in a window is no rate to compare with: a camera of 1 Hz jitters.
MANY = 6


@dataclass
class _Input:
    arrivals: deque[float] = field(default_factory=deque)
    first_s: float = 0.0
    last_s: float = 0.0
    judged_s: float = 0.0
    usual_hz: float = 0.0


class InputRates:
    """Arrival times by input; not safe for several threads. Times are of a steady clock, in seconds."""

    def __init__(self) -> None:
        self._inputs: dict[str, _Input] = {}

    def heard(self, name: str, now_s: float) -> None:
        """A message of an input came."""
        known = self._inputs.get(name)
        if known is None:
            known = self._inputs[name] = _Input(first_s=now_s, judged_s=now_s)
        known.arrivals.append(now_s)
        known.last_s = now_s
        while known.arrivals and now_s - known.arrivals[0] > WINDOW_S:
            known.arrivals.popleft()

    def clear(self) -> None:
        """Forget all (the node was inactive meanwhile)."""
        self._inputs.clear()

    def judge(self, now_s: float) -> tuple[dict[str, float], list[str], list[str]]:
        """(rate in Hz by input, what is silent or slow, what bursts); call it about once a second."""
        rates: dict[str, float] = {}
        weak: list[str] = []
        bursts: list[str] = []
        for name, known in self._inputs.items():
            while known.arrivals and now_s - known.arrivals[0] > WINDOW_S:
                known.arrivals.popleft()
            rate_hz = len(known.arrivals) / WINDOW_S
            rates[name] = rate_hz
            if now_s - known.first_s < WINDOW_S:
                continue
            silent_s, usual_hz = now_s - known.last_s, known.usual_hz
            if usual_hz and silent_s > max(WINDOW_S, FACTOR / usual_hz):
                weak.append(f"{name}: silent for {silent_s:.1f} s, {usual_hz:.1f} Hz before")
                known.judged_s = now_s
                continue
            if usual_hz * WINDOW_S >= MANY and rate_hz * FACTOR < usual_hz:
                weak.append(f"{name}: {rate_hz:.1f} Hz, {usual_hz:.1f} Hz before")
            elif usual_hz and rate_hz * WINDOW_S >= MANY and rate_hz > FACTOR * usual_hz:
                bursts.append(f"{name}: {rate_hz:.1f} Hz, {usual_hz:.1f} Hz before")
            share = min(1.0, (now_s - known.judged_s) / FORGET_S) if usual_hz else 1.0
            known.usual_hz += share * (rate_hz - usual_hz)
            known.judged_s = now_s
        return rates, weak, bursts
