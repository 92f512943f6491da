"""Answers beside the truth, one by one: what really happened in a run, and which announcements were false fixes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossover_models.estimate import LevelKey
from crossover_models.evaluation.buildings.answers import Answer
from crossover_models.evaluation.judgement import RIGHT_DEG, RIGHT_M
from crossover_models.evaluation.trajectory import Trajectory, pose_error
from crossover_models.places import PlaceMap

Floats = NDArray[np.float64]

# What a fix must keep, and for how long an announcement may go on after the robot was carried away.
FIX_M, FIX_DEG = 0.25, 5.0
RECOVERY_S = 10.0


@dataclass(frozen=True)
class Event:
    """Something was done to the robot: it was carried elsewhere (kidnap) or set off to another level (lift)."""

    kind: Literal["kidnap", "lift"]
    stamp_ns: int


@dataclass(frozen=True)
class TrueRun:
    """What really happened: ``trajectory`` with levels in the frames of the map handed out, and what was done."""

    trajectory: Trajectory
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Beside:
    """An answer beside the truth at its own stamp."""

    answer: Answer
    known: bool
    place_right: bool
    in_place: bool
    error_m: float
    error_deg: float
    true_xy: Floats

    @property
    def right(self) -> bool:
        """Announced within 1 m and 30 deg on the right level; by the place where there is no pose."""
        if not self.answer.announced:
            return False
        if self.answer.T_map_base is None:
            return self.place_right
        return self.error_m <= RIGHT_M and self.error_deg <= RIGHT_DEG

    @property
    def fixed(self) -> bool:
        """Announced within 0.25 m and 5 deg on the right level, in the right place if the robot is in one."""
        place = self.place_right or not self.in_place
        return self.answer.announced and self.error_m <= FIX_M and self.error_deg <= FIX_DEG and place

    @property
    def wrong(self) -> bool:
        """Announced, and not right, where the truth is known."""
        return self.answer.announced and self.known and not self.right


def true_breaks(true: TrueRun) -> tuple[int, ...]:
    """Stamps (ns) of the first true pose after the robot was somewhere else all at once."""
    stamps, levels = true.trajectory.stamps_ns, true.trajectory.levels
    at = {k for k in range(1, len(levels)) if levels[k] != levels[k - 1]}
    kidnaps = (event.stamp_ns for event in true.events if event.kind == "kidnap")
    at |= {int(np.searchsorted(stamps, stamp)) for stamp in kidnaps}
    return tuple(int(stamps[k]) for k in sorted(at) if 0 < k < len(stamps))


def carried_ns(event: Event, breaks: Sequence[int]) -> int | None:
    """When an event put the robot elsewhere (ns); None if the run was over before it did."""
    return min((at for at in breaks if at >= event.stamp_ns), default=None)


def may_recover(since_ns: int, truth: Trajectory) -> bool:
    """The run lasts long enough after an event to tell whether somebody recovered in time and held it for 1 s."""
    return (int(truth.stamps_ns[-1]) - since_ns) * 1e-9 >= RECOVERY_S + 1.0


def true_at(truth: Trajectory, stamp_ns: int, breaks: Sequence[int]) -> tuple[LevelKey, Floats] | None:
    """Level and pose at a stamp; None where nobody knows, and between the two poses beside a break."""
    for at in breaks:
        before = int(truth.stamps_ns[np.searchsorted(truth.stamps_ns, at) - 1])
        if before < stamp_ns < at:
            return None
    found = truth.at(stamp_ns)
    return None if found is None or found[0] is None else (found[0], found[1])


def travelled_m(truth: Trajectory, breaks: Sequence[int]) -> Floats:
    """(N,) true way in m up to each pose; being carried is no travel."""
    step = np.linalg.norm(np.diff(truth.T_map_base[:, :2], axis=0), axis=1)
    step[np.isin(truth.stamps_ns[1:], np.array(breaks, dtype=np.int64))] = 0.0
    return np.concatenate([[0.0], np.cumsum(step)])


def put_beside(answer: Answer, truth: Trajectory, breaks: Sequence[int], places: PlaceMap) -> Beside:
    """Compare an answer with the truth at its stamp."""
    found = true_at(truth, answer.stamp_ns, breaks)
    if found is None:
        return Beside(answer, False, False, False, float("nan"), float("nan"), np.full(2, np.nan))
    level, pose = found
    place = places.at(level, pose[:2])
    # Outside of all places (a lift's cabin) it is right to name none.
    place_right = answer.level == level and answer.place_id == (place.place_id if place is not None else "")
    error = (float("nan"), float("nan"))
    if answer.announced and answer.T_map_base is not None:
        error = pose_error(answer.T_map_base, pose) if answer.level == level else (float("inf"), float("inf"))
    return Beside(answer, True, place_right, place is not None, *error, pose[:2])


def _jumped(before: Beside, after: Beside) -> bool:
    """The announced pose went elsewhere by more than the robot's own motion and 1 m, or to another level."""
    old, new = before.answer, after.answer
    if old.level != new.level or old.T_map_base is None or new.T_map_base is None:
        return old.level != new.level or (old.T_map_base is None and old.place_id != new.place_id)
    own_m = float(np.hypot(*(after.true_xy - before.true_xy)))
    return float(np.hypot(*(new.T_map_base[:2] - old.T_map_base[:2]))) > own_m + RIGHT_M


def _outstayed(since_ns: int | None, beside: Beside) -> bool:
    """The robot was carried away so long ago that whoever still believes the old pose is wrong."""
    return since_ns is not None and (beside.answer.stamp_ns - since_ns) * 1e-9 > RECOVERY_S


def false_fixes(beside: Sequence[Beside], breaks: Sequence[int]) -> list[int]:
    """Stamps at which an announced pose turned wrong, or to another wrong one: by announcement, a jump or drifting off.

    A localizer that was right when the robot was carried away cannot know at once: the announcement that goes on is a
    false fix only if it is still wrong after :data:`RECOVERY_S`.
    """
    out: list[int] = []
    before: Beside | None = None
    since_ns: int | None = None
    for b in beside:
        if not b.wrong:
            since_ns = None
        elif before is not None and before.answer.announced and not before.wrong:
            since_ns = next((at for at in breaks if before.answer.stamp_ns < at <= b.answer.stamp_ns), None)
            if since_ns is None:
                out.append(b.answer.stamp_ns)
        elif before is None or not before.wrong or _jumped(before, b) or _outstayed(since_ns, b):
            out.append(b.answer.stamp_ns)
            since_ns = None
        before = b
    return out
