"""Two localizers that localize nothing: the floor under every figure, and what the benchmark's tests are run with.

``constant`` always abstains. ``random-place`` announces, once a second and blindly, the middle of a random place of the
map with a random heading and an honest probability of one over the number of places. Neither reads the sensor data; the
bag only says from when to when the run lasts.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from crossover_models.evaluation.buildings.answers import PLACES, TRAJECTORY
from crossover_models.evaluation.trajectory import write_tum

KINDS = ("constant", "random-place")
PERIOD_S = 1.0


def bag_span_ns(bag: Path) -> tuple[int, int]:
    """First and last recording time of a rosbag2 by its metadata.

    Raises:
        ValueError: no metadata of a rosbag2.
        OSError: the file cannot be read.
    """
    path = bag / "metadata.yaml"
    try:
        facts = yaml.safe_load(path.read_text(encoding="utf-8"))["rosbag2_bagfile_information"]
        start = int(facts["starting_time"]["nanoseconds_since_epoch"])
        return start, start + int(facts["duration"]["nanoseconds"])
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: no metadata of a rosbag2: {type(error).__name__}: {error}") from None


def answer(kind: str, bag: Path, database: Path, out: Path, seed: int = 0) -> int:
    """Write the answers of one of :data:`KINDS` and return how many poses they announce."""
    from crossover_models.map_database.store import MapDatabase
    from crossover_models.places import interior_point

    first, last = bag_span_ns(bag)
    stamps = list(range(first, last + 1, round(PERIOD_S * 1e9)))
    out.mkdir(parents=True, exist_ok=True)
    if kind == "constant":
        lines = [{"stamp_s": stamp * 1e-9, "state": "INITIALIZING", "probability": None} for stamp in stamps]
        poses = np.zeros((0, 3))
        stamps = []
    else:
        with MapDatabase.open(database) as opened:
            places = opened.places()
        if not places:
            raise ValueError(f"{database}: holds no places")
        rng = np.random.default_rng([seed, first % (1 << 32)])
        drawn = [places[int(k)] for k in rng.integers(len(places), size=len(stamps))]
        yaws = rng.uniform(-np.pi, np.pi, len(stamps))
        poses = np.array([(*interior_point(p.polygon), yaw) for p, yaw in zip(drawn, yaws, strict=True)])
        lines = [
            {
                "stamp_s": stamp * 1e-9,
                "state": "LOCALIZED",
                "building_id": place.key.building_id,
                "level_id": place.key.level_id,
                "place_id": place.place_id,
                "probability": 1.0 / len(places),
            }
            for stamp, place in zip(stamps, drawn, strict=True)
        ]
    write_tum(out / TRAJECTORY, stamps, poses)
    (out / PLACES).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return len(stamps)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point: ``python -m crossover_models.evaluation.buildings.trivial KIND BAG DATABASE OUT``."""
    parser = argparse.ArgumentParser(description="a localizer that localizes nothing")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("bag", type=Path)
    parser.add_argument("database", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    try:
        answer(arguments.kind, arguments.bag, arguments.database, arguments.out, arguments.seed)
    except (ValueError, OSError) as error:
        print(f"{arguments.kind}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
