"""What a localizer leaves behind of a run, in two files that any program can write, and their reader.

``trajectory.txt``: announced poses only, TUM lines ``stamp_s x y z qx qy qz qw`` of base_link in the map frame of the
level it is said to be on. ``places.jsonl``: one JSON object an estimate, in the order of the stamps::

    {"stamp_s": 101.2, "state": "LOCALIZED", "building_id": "b", "level_id": "L1", "place_id": "L1_03",
     "probability": 0.97, "covariance": [xx, xy, xt, yy, yt, tt]}

A pose is announced by ``state`` LOCALIZED and a pose of the same stamp; in every other state the place is the best
guess, and null where there is none. ``probability`` is of that answer, null where the localizer has no such thing;
``covariance`` (upper triangle of x, y and heading; m and rad) is optional. An answer may use data up to its stamp only:
files cannot prove that, so it is what a localizer promises.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from crossover_models.estimate import LevelKey, LocalizationState
from crossover_models.evaluation.run_record import RunRecord
from crossover_models.evaluation.trajectory import read_tum, write_tum

TRAJECTORY, PLACES = "trajectory.txt", "places.jsonl"
# Stamps in seconds lose their last digits in a double; a sensor's period is far longer than this.
SAME_STAMP_NS = 1_000_000
# A file larger than this is not an answer: the largest honest one (an hour at 50 Hz) has a sixth of it.
MAX_BYTES = 256_000_000
_COLUMNS = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]


class AnswersError(ValueError):
    """Answers that are none; the message names the file, the line and the value."""


@dataclass(frozen=True)
class Answer:
    """One estimate of a localizer.

    Attributes:
        stamp_ns: of the sensor data.
        announced: the localizer commits itself (state LOCALIZED).
        level: where, None for no answer.
        place_id: place of that level, "" for none.
        probability: of the answer, None where unknown.
        T_map_base: (3,) announced pose [m, m, rad], None if not announced or if only a place is.
        covariance: (3, 3) of it, None where unknown.
    """

    stamp_ns: int
    announced: bool
    level: LevelKey | None
    place_id: str
    probability: float | None
    T_map_base: NDArray[np.float64] | None
    covariance: NDArray[np.float64] | None


def write_answers(folder: Path, record: RunRecord) -> int:
    """Write a run's estimates as the two files and return how many poses were announced.

    Of several estimates with one stamp the last one counts. With an announced pose, the probability is that of the pose
    and of its place; else the most probable place is named, with its own. Where nothing is believed yet, the place is
    that of the newest retrieval up to the stamp.
    """
    newest = {event.estimate.stamp_ns: event.estimate for event in record.estimates}
    retrievals = sorted(record.retrievals, key=lambda r: r.stamp_ns)
    retrieved_ns = np.array([r.stamp_ns for r in retrievals], dtype=np.int64)
    answers: list[Answer] = []
    states: list[LocalizationState] = []
    for stamp_ns in sorted(newest):
        estimate = newest[stamp_ns]
        best = estimate.best
        announced = best is not None and estimate.state == LocalizationState.LOCALIZED
        answer = Answer(stamp_ns, announced, None, "", None, None, None)
        if best is not None:
            probability = _bounded(best.probability * best.place_share)
            answer = replace(answer, level=best.level, place_id=best.place_id, probability=probability)
            if announced:
                answer = replace(answer, T_map_base=best.T_map_base, covariance=best.covariance)
            elif estimate.places:
                place = estimate.places[0]
                probability = _bounded(place.probability)
                answer = replace(answer, level=place.level, place_id=place.place_id, probability=probability)
        else:
            k = int(np.searchsorted(retrieved_ns, stamp_ns, side="right")) - 1
            if k >= 0 and retrievals[k].places:
                first = retrievals[k].places[0]
                answer = replace(
                    answer, level=first.level, place_id=first.place_id, probability=_bounded(first.probability)
                )
        answers.append(answer)
        states.append(estimate.state)
    return save_answers(folder, answers, states)


def save_answers(folder: Path, answers: Sequence[Answer], states: Sequence[LocalizationState] | None = None) -> int:
    """Write answers, in the order of their stamps, as the two files; returns how many poses were announced.

    ``states`` are those of the estimates; by default LOCALIZED where announced, INITIALIZING elsewhere. A covariance
    that is none is left out.
    """
    stamps: list[int] = []
    poses: list[NDArray[np.float64]] = []
    lines: list[str] = []
    for k, answer in enumerate(answers):
        state = LocalizationState.LOCALIZED if answer.announced else LocalizationState.INITIALIZING
        values: dict[str, Any] = {
            "stamp_s": answer.stamp_ns * 1e-9,
            "state": (state if states is None else states[k]).name,
            **dict.fromkeys(("building_id", "level_id", "place_id")),
            "probability": answer.probability,
        }
        if answer.level is not None:
            values.update(building_id=answer.level.building_id, level_id=answer.level.level_id)
            values.update(place_id=answer.place_id)
        if answer.announced and answer.T_map_base is not None:
            stamps.append(answer.stamp_ns)
            poses.append(answer.T_map_base)
            if answer.covariance is not None and _is_covariance(answer.covariance):
                values["covariance"] = [float(answer.covariance[i, j]) for i, j in _COLUMNS]
        lines.append(json.dumps(values, allow_nan=False) + "\n")
    folder.mkdir(parents=True, exist_ok=True)
    write_tum(folder / TRAJECTORY, stamps, np.array(poses).reshape(-1, 3))
    (folder / PLACES).write_text("".join(lines), encoding="utf-8")
    return len(poses)


def _is_covariance(matrix: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(matrix).all() and np.linalg.eigvalsh(matrix)[0] > 0.0)


def _bounded(probability: float) -> float | None:
    return min(max(float(probability), 0.0), 1.0) if math.isfinite(probability) else None


def read_answers(
    folder: Path, places: Collection[tuple[LevelKey, str]], levels: Collection[LevelKey], span_ns: tuple[int, int]
) -> tuple[Answer, ...]:
    """Read and check the two files; the answers in the order of their stamps.

    Args:
        folder: where the localizer wrote.
        places: (level, place id) of everything in the map.
        levels: all levels of the map.
        span_ns: first and last stamp of the run; an answer may lie at most a second outside.

    Raises:
        AnswersError: a file is missing, a line is not as documented, stamps do not increase or lie outside of the run,
            a level or place is not in the map, or a pose is announced that no line of places.jsonl knows.
    """
    known_places, known_levels = set(places), set(levels)
    poses = _read_poses(folder / TRAJECTORY)
    path = folder / PLACES
    out: list[Answer] = []
    used: set[int] = set()
    pose_ns = np.array(sorted(poses), dtype=np.int64)
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path.name}:{number}"
        values = _object(line, where)
        stamp_ns = round(_number(values.get("stamp_s"), f"{where}: stamp_s") * 1e9)
        if not span_ns[0] - 10**9 <= stamp_ns <= span_ns[1] + 10**9:
            raise AnswersError(f"{where}: stamp_s: {stamp_ns * 1e-9:.3f} lies outside of the run")
        if out and stamp_ns <= out[-1].stamp_ns:
            raise AnswersError(f"{where}: stamp_s: {stamp_ns * 1e-9:.3f} does not follow the one before")
        announced = _state(values.get("state"), where) == LocalizationState.LOCALIZED
        level, place_id = _where(values, where, known_places, known_levels)
        if announced and level is None:
            raise AnswersError(f"{where}: LOCALIZED without building_id and level_id")
        pose = None
        if announced and len(pose_ns):
            nearest = int(pose_ns[np.argmin(np.abs(pose_ns - stamp_ns))])
            if abs(nearest - stamp_ns) <= SAME_STAMP_NS:
                pose = poses[nearest]
                used.add(nearest)
        probability = values.get("probability")
        if probability is not None:
            probability = _number(probability, f"{where}: probability")
            if not 0.0 <= probability <= 1.0:
                raise AnswersError(f"{where}: probability: expected 0 to 1, got {probability:g}")
        covariance = _covariance(values.get("covariance"), where)
        out.append(Answer(stamp_ns, announced, level, place_id, probability, pose, covariance))
    unknown = sorted(set(poses) - used)
    if unknown:
        raise AnswersError(
            f"{TRAJECTORY}: {len(unknown)} poses, the first at {unknown[0] * 1e-9:.3f} s, "
            f"that {PLACES} does not announce (state LOCALIZED at the same stamp)"
        )
    return tuple(out)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise AnswersError(f"{path.name}: larger than {MAX_BYTES / 1e6:.0f} MB")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise AnswersError(f"{path.name}: not written") from None
    except (OSError, UnicodeDecodeError) as error:
        raise AnswersError(f"{path.name}: {' '.join(str(error).split())}") from None


def _read_poses(path: Path) -> dict[int, NDArray[np.float64]]:
    """Poses by stamp; an empty file is a localizer that announced nothing."""
    if not any(line.split("#", 1)[0].strip() for line in _text(path).splitlines()):
        return {}
    try:
        trajectory = read_tum(path)
    except ValueError as error:
        raise AnswersError(str(error).replace(str(path), path.name)) from None
    return dict(zip(trajectory.stamps_ns.tolist(), trajectory.T_map_base, strict=True))


def _object(line: str, where: str) -> dict[str, Any]:
    def refuse(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")

    try:
        values = json.loads(line, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise AnswersError(f"{where}: {error}") from None
    if not isinstance(values, dict):
        raise AnswersError(f"{where}: expected an object, got {type(values).__name__}")
    return values


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e10:
        raise AnswersError(f"{what}: expected a number, got {value!r:.40}")
    return float(value)


def _state(value: object, where: str) -> LocalizationState:
    try:
        return LocalizationState[str(value)]
    except KeyError:
        names = ", ".join(state.name for state in LocalizationState)
        raise AnswersError(f"{where}: state: expected one of {names}, got {value!r:.40}") from None


def _where(
    values: dict[str, Any], where: str, places: set[tuple[LevelKey, str]], levels: set[LevelKey]
) -> tuple[LevelKey | None, str]:
    names = [values.get(key) for key in ("building_id", "level_id", "place_id")]
    if any(name is not None and not isinstance(name, str) for name in names):
        raise AnswersError(f"{where}: building_id, level_id, place_id: expected strings or null, got {names!r:.80}")
    building, level_id, place_id = (name or "" for name in names)
    if not building and not level_id:
        if place_id:
            raise AnswersError(f"{where}: place_id {place_id!r:.40} without building_id and level_id")
        return None, ""
    level = LevelKey(building, level_id)
    if level not in levels:
        raise AnswersError(f"{where}: level {building}/{level_id} is not in the map")
    if place_id and (level, place_id) not in places:
        raise AnswersError(f"{where}: place_id {place_id!r:.40} is not on level {building}/{level_id} of the map")
    return level, place_id


def _covariance(value: object, where: str) -> NDArray[np.float64] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 6:
        raise AnswersError(f"{where}: covariance: expected six numbers, got {value!r:.60}")
    out = np.zeros((3, 3))
    for (i, j), entry in zip(_COLUMNS, value, strict=True):
        out[i, j] = out[j, i] = _number(entry, f"{where}: covariance")
    if not np.linalg.eigvalsh(out)[0] > 0.0:
        raise AnswersError(f"{where}: covariance: is not positive definite")
    return out
