"""Accelerated replay through both nodes, as processes over DDS on simulated time; the memory of each by minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from crossover_models.estimate import LocalizationState
from crossover_ros.faults.endurance import resident_mb
from crossover_ros.faults.memory import Endurance
from crossover_ros.faults.recording import Recording
from crossover_ros.faults.stand import Stand
from crossover_ros.faults.witness import NODES

# What two cores without other work keep up with. At 5, on two cores with much other work, data were over ten seconds of
# robot time old when they were taken in, and poses of stamps that odometry no longer reached back to were wrong.
RATE = 3.0


def endure_live(
    folder: Path, database: Path, recording: Recording, minutes: float, progress: Callable[[float, float], None]
) -> dict[str, Endurance]:
    """Drive for ``minutes`` of robot time; ``progress`` hears (minute, MB of both).

    Returns:
        By name of the node. Counts of results are the localizer's, and given for both.

    Raises:
        StandError: the nodes did not start, or the robot stopped.
    """
    rss_mb: dict[str, list[float]] = {name: [] for name in NODES}
    counts, problem = Counts(), ""
    with Stand(folder, database, database, recording, rate=RATE) as stand:
        stand.wait_until_ready()
        began_s = heard_s = time.monotonic()
        for minute in range(1, max(1, round(minutes)) + 1):
            ended = stand.wait(stand.dead, max(0.0, began_s + 60.0 * minute / RATE - time.monotonic()))
            if ended:
                problem = "; ".join(stand.dead())
                break
            for name in NODES:
                rss_mb[name].append(round(resident_mb(stand.pid(name)), 1))
            now_s = time.monotonic()
            counts.take(stand, heard_s, now_s)
            heard_s = now_s
            progress(float(minute), sum(values[-1] for values in rss_mb.values()))
        wall_s = round(time.monotonic() - began_s, 1)
    return {
        name: Endurance(
            minutes, tuple(rss_mb[name]), wall_s, counts.estimates, counts.localized, counts.false_fixes, problem
        )
        for name in NODES
    }


class Counts:
    """Of results that a witness heard."""

    def __init__(self) -> None:
        self.estimates = self.localized = self.false_fixes = 0

    def take(self, stand: Stand, since_s: float, until_s: float) -> None:
        """Add those heard in a span of monotonic time."""
        heard = [result for result in stand.witness.results(since_s) if result.at_s < until_s]
        self.estimates += len(heard)
        self.localized += sum(result.state == LocalizationState.LOCALIZED for result in heard)
        self.false_fixes += sum(bool(result.wrong) for result in heard)
