"""ProcTHOR's single rooms as buildings with one level and one place."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crossover_models.building import Building, BuildingError, Level, Place
from crossover_models.geometry import yaw_from_matrix
from crossover_models.simulation.cad.library import FurnitureLibrary
from crossover_models.simulation.furniture import SPLITS
from crossover_models.simulation.procthor.furnish import RoomDresser
from crossover_models.simulation.procthor.shell import build_shell
from crossover_models.simulation.procthor.source import RawRoom, parse_room, read_assets, read_lines
from crossover_models.simulation.wording import describe, referrals

TRAIN_FILE, VAL_FILE, ASSETS_FILE = "train.jsonl.gz", "val.jsonl.gz", "asset-database.json"
_STREAM = 20251122
_MENTIONED_M = 0.35
"""Things with no side as long as this are not spoken of."""


class ProcThorRooms:
    """The rooms of a folder with ProcTHOR's ``train.jsonl.gz``, ``val.jsonl.gz`` and ``asset-database.json``.

    Split ``train`` is ``train.jsonl.gz``; of ``val.jsonl.gz``, rows with an even index (from 0) are ``val`` and those
    with an odd one ``test``. Furniture comes from the same split of the library.

    Raises:
        BuildingError: a file is absent or not what it should be; the message names it.
    """

    def __init__(self, folder: Path, library: FurnitureLibrary) -> None:
        self._folder, self._library = Path(folder), library
        self._assets = read_assets(self._folder / ASSETS_FILE)
        train = [(self._folder / TRAIN_FILE, n, line) for n, line in read_lines(self._folder / TRAIN_FILE)]
        held = [(self._folder / VAL_FILE, n, line) for n, line in read_lines(self._folder / VAL_FILE)]
        self._rows = {"train": train, "val": held[::2], "test": held[1::2]}

    def __len__(self) -> int:
        """Rooms of all splits, whether or not they can be built."""
        return sum(len(rows) for rows in self._rows.values())

    def ids(self, split: str) -> tuple[str, ...]:
        """Building ids of a split, in the order of the file.

        Raises:
            BuildingError: an unknown split.
        """
        return tuple(f"procthor_{path.name.split('.')[0]}_{n - 1:04d}" for path, n, _ in self._of(split))

    def room(self, split: str, index: int) -> RawRoom:
        """A room as the file has it, in our axes.

        Raises:
            BuildingError: the line describes no room; the message names file, line, field and value.
        """
        rows = self._of(split)
        if not 0 <= index < len(rows):
            raise BuildingError(f"{self._folder}: split {split} has rooms 0 to {len(rows) - 1}, no room {index}")
        path, number, line = rows[index]
        return parse_room(line, f"{path}: line {number}", self._assets)

    def building(self, split: str, index: int) -> Building:
        """A room as a building, a pure function of the file, the library, split and index.

        Raises:
            BuildingError: as :meth:`room`.
        """
        room = self.room(split, index)
        building_id = self.ids(split)[index]
        rng = np.random.default_rng([_STREAM, SPLITS.index(split), index])
        tops = max((o.T_map_object[2, 3] + o.asset.size_m[2] for o in room.objects), default=0.0)
        shell = build_shell(room, float(tops), rng)
        place_id = "L1_01"
        pieces = RoomDresser(room, self._library, split, rng).furnishings(place_id)
        spoken = [p for p in pieces if float(np.ptp(p.mesh.vertices, axis=0).max()) >= _MENTIONED_M]
        headings = {p.object_id: yaw_from_matrix(p.T_map_object[:3, :3]) for p in spoken if p.T_map_object is not None}
        windows = sum(hole.kind == "window" for hole in room.holes)
        x, y = room.outline.T
        area = 0.5 * float(np.abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)))
        text = (
            describe(room.category, area, spoken, windows, len(shell.doors), rng),
            *referrals(spoken, headings, rng),
        )
        place = Place(
            place_id, f"{room.category.capitalize()} 1.01", room.category, room.outline, text, furnishings=pieces
        )
        level = Level("L1", "Level 1", 0.0, shell.height_m, shell.plan, (place,), shell.structure, shell.doors)
        return Building(building_id, (level,), f"simulated: ProcTHOR {split}, room {index}")

    def _of(self, split: str) -> list[tuple[Path, int, str]]:
        if split not in self._rows:
            raise BuildingError(f"split: must be one of {', '.join(SPLITS)}, got {split!r}")
        return self._rows[split]
