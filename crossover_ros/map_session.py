"""A map database in use: opened, read into a localizer, and closed."""

from __future__ import annotations

from dataclasses import dataclass

from crossover_models.config import LocalizerSettings
from crossover_models.estimate import LevelKey
from crossover_models.geometry import Array, se3_from_se2
from crossover_models.localizer import Localizer, TextEncoder
from crossover_models.stage_clock import StageClock


@dataclass(frozen=True)
class MapSession:
    """A localizer on one database.

    Attributes:
        path: the database.
        fingerprint: of its content.
        encoder_fingerprint: of the encoder that made its embeddings.
        localizer: the core, which has read all it needs.
        frames: (building frame, map frame, T_building_map (4, 4)) of every level, for TF.
        unindexed: modalities of so many places that an index is worth it, without a fresh one.
    """

    path: str
    fingerprint: str
    encoder_fingerprint: str
    localizer: Localizer
    frames: tuple[tuple[str, str, Array], ...]
    unindexed: tuple[str, ...] = ()

    @property
    def levels(self) -> tuple[LevelKey, ...]:
        """All levels of the map."""
        return tuple(self.localizer.plans)


def open_map(
    path: str,
    settings: LocalizerSettings,
    expected_fingerprint: str | None,
    encode_text: TextEncoder | None,
    clock: StageClock | None = None,
) -> MapSession:
    """Open a database and build the localizer on it.

    Args:
        path: file written by ``crossover map build``.
        settings: of the localizer.
        expected_fingerprint: of the encoder in use, where it is known; databases of others are refused.
        encode_text: encoder of text queries.
        clock: where the time of each stage is counted.

    Raises:
        ValueError: no path, no such database, a broken one, one of another encoder, or without the building wanted.
    """
    from crossover_models.map_database.place_indexes import large_modalities, open_place_indexes
    from crossover_models.map_database.store import MapDatabase

    if not path:
        raise ValueError("database: no path given; set the parameter database or call the service load_database")
    with MapDatabase.open(path, expected_fingerprint) as database:
        indexes = open_place_indexes(database)
        localizer = Localizer(database, settings, encode_text, clock=clock, indexes=indexes)
        frames = tuple(
            (
                f"building_{level.key.building_id}",
                level.key.map_frame,
                se3_from_se2(level.T_building_map, level.elevation_m),
            )
            for level in database.levels()
        )
        unindexed = tuple(modality.value for modality in large_modalities(database) if modality not in indexes)
        return MapSession(str(path), database.fingerprint, database.encoder_fingerprint, localizer, frames, unindexed)
