"""Faults of the map's file: replaced or damaged while the node runs, and loaded again."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from crossover_ros.faults.case import Act, Case
from crossover_ros.faults.stand import replace_file

if TYPE_CHECKING:
    from crossover_ros.faults.stand import Stand


def _load(path: Callable[[Stand], Any]) -> Act:
    def act(stand: Stand) -> None:
        done, text = stand.witness.load_database(str(path(stand)))
        stand.answers.add(f"load_database: {'success' if done else 'refused'}: {text}")

    return act


def _then(*acts: Act) -> Act:
    def act(stand: Stand) -> None:
        for one in acts:
            one(stand)

    return act


def _write(content: bytes) -> Act:
    return lambda stand: (stand.database.write_bytes(content), None)[1]


def _cut_file(stand: Stand) -> None:
    os.truncate(stand.database, stand.database.stat().st_size // 2)


def _many_loads(stand: Stand) -> None:
    for path in (stand.database, stand.other, stand.database, stand.folder / "none.xmap", stand.database):
        _load(lambda _, chosen=path: chosen)(stand)  # type: ignore[misc]


def _restore(stand: Stand) -> None:
    stand.restore_database()


_BACK = _then(_restore, _load(lambda stand: stand.database))


def databases() -> tuple[Case, ...]:
    """The map's file is replaced or damaged while the node runs, and loaded again."""
    own, other = _load(lambda stand: stand.database), _load(lambda stand: stand.other)

    def case(name: str, done: str, begin: Act, *tells: str, end: Act = _restore, **more: Any) -> Case:
        return Case(f"database: {name}", "database", done, begin, tells, end=end, **more)

    return (
        case(
            "replaced",
            "another building's map put in its place; nobody loads it",
            lambda stand: replace_file(stand.other, stand.database),
        ),
        case("loaded again", "the same map loaded", own, "load_database: success: .* is in use"),
        case(
            "other building",
            "another building's map loaded, then the right one",
            other,
            "load_database: success: .* is in use",
            end=_BACK,
            lasts_s=6.0,
        ),
        case(
            "garbage",
            "bytes that are no map written over it, then loaded",
            _then(_write(b"no map" * 999), own),
            r"load_database: refused: .*is not a map database.*stays",
        ),
        case(
            "cut",
            "its file cut in half, then loaded",
            _then(_cut_file, own),
            r"load_database: refused: .*truncated: \d+ of \d+ bytes",
        ),
        case(
            "gone",
            "its file deleted, then loaded",
            _then(lambda stand: stand.database.unlink(), own),
            r"load_database: refused: .*no such file.*stays",
        ),
        case(
            "directory",
            "a directory loaded",
            _load(lambda stand: stand.folder),
            r"load_database: refused: .*is a directory",
        ),
        case("no path", "an empty path loaded", _load(lambda _: ""), r"load_database: refused: path: is empty"),
        case(
            "many loads", "five loads in a row, two of them wrong", _many_loads, r"load_database: refused: .*none\.xmap"
        ),
    )
