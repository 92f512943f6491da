"""What ``crossover calibrate`` hears in a bag, and how a belief follows it when nothing is ever announced."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from crossover_models.observation import SceneEmbedding

if TYPE_CHECKING:
    from crossover_models.belief_fit import Believed, Furnished
    from crossover_models.evaluation.buildings.recordings import Recording
    from crossover_models.furniture_field import FurnitureField
    from crossover_models.likelihood import RetrievalLikelihood
    from crossover_models.localizer import Localizer
    from crossover_models.map_database.store import MapDatabase
    from crossover_ros.encoder_source import Encoder

# What reaches a localizer: odometry as (stamp in ns, pose (3,)), or an embedding.
Heard = tuple[int, NDArray[np.float64]] | SceneEmbedding
# A wrong pose that fits the slice worse than this tells nothing of furniture: walls have decided already.
FITS_AS_WELL_NATS = 0.08


def heard_in(bag_path: Path, encoder: Encoder) -> list[Heard]:
    """Everything that a replay of a bag would tell the localizer, in its order."""
    from crossover_models.perception import Perception
    from crossover_ros.bag_reading import Bag
    from crossover_ros.replay import Replay
    from crossover_ros.settings import EncoderNodeSettings

    settings = EncoderNodeSettings()
    listener = _Listener()
    with Bag(bag_path) as bag:
        Replay(Perception(encoder, settings), cast("Any", listener), settings, cast("Any", listener)).run(bag)
    return listener.heard


def embeddings_in(heard: Sequence[Heard]) -> list[SceneEmbedding]:
    """What of it is no odometry."""
    return [entry for entry in heard if isinstance(entry, SceneEmbedding)]


def drive_belief(
    recording: Recording, heard: Sequence[Heard], encoder: Encoder, likelihood: RetrievalLikelihood, number: int
) -> tuple[list[Believed], list[Furnished]]:
    """The belief's best pose after each slice of a drive, and the furniture around the true pose and its rivals.

    Nothing is announced, so that the belief goes on searching and weighing as it does before a fix.

    Args:
        recording: map and truth.
        heard: of its bag.
        encoder: the map's.
        likelihood: what retrieval's scores are worth.
        number: of the drive.
    """
    from crossover_models.belief_fit import Believed
    from crossover_models.config import LocalizerSettings
    from crossover_models.evaluation.buildings.beside import true_at, true_breaks
    from crossover_models.evaluation.buildings.recordings import read_true_run
    from crossover_models.localizer import Localizer
    from crossover_models.map_database.store import MapDatabase

    true = read_true_run(recording)
    breaks = true_breaks(true)
    silent = LocalizerSettings().with_flat({"belief.localized_probability": 1.0})
    believed: list[Believed] = []
    furnished: list[Furnished] = []
    with MapDatabase.open(recording.database, encoder.fingerprint) as database:
        localizer = Localizer(database, silent, likelihood=likelihood)
        field = furniture_of(database, localizer)
    for entry in heard:
        if isinstance(entry, tuple):
            localizer.on_odometry(*entry)
            continue
        estimate = localizer.on_embedding(entry)
        found = true_at(true.trajectory, entry.stamp_ns, breaks)
        if entry.wall_slice is None or found is None or not estimate.hypotheses:
            continue
        right = [h.level == found[0] and _near(h.T_map_base, found[1]) for h in estimate.hypotheses]
        believed.append(Believed(number, estimate.hypotheses[0].probability, right[0]))
        sample = _furnished(field, entry, estimate.hypotheses, right, number)
        if sample is not None:
            furnished.append(sample)
    return believed, furnished


def furniture_of(database: MapDatabase, localizer: Localizer) -> FurnitureField:
    """The furniture of a map, as the localizer sees it."""
    from crossover_models.furniture_field import FurnitureField

    return FurnitureField(
        (key, plan, [piece.mesh for _, piece in database.furnishings(key)]) for key, plan in localizer.plans.items()
    )


def _furnished(
    field: FurnitureField, seen: SceneEmbedding, hypotheses: Sequence[Any], right: Sequence[bool], number: int
) -> Furnished | None:
    from crossover_models.belief_fit import Furnished

    if seen.wall_slice is None or not any(right):
        return None
    here = hypotheses[list(right).index(True)]
    rivals = [h for h, is_right in zip(hypotheses, right, strict=True) if not is_right]
    rivals = [h for h in rivals if h.score >= here.score - FITS_AS_WELL_NATS]
    shares = [field.outcomes(seen.wall_slice, h.level, h.T_map_base[None]) for h in [here, *rivals]]
    if not rivals or any(share is None for share in shares):
        return None
    told = np.concatenate([share for share in shares if share is not None])
    return Furnished(number, told[0], told[1:])


def _near(pose: NDArray[np.float64], true: NDArray[np.float64]) -> bool:
    from crossover_models.evaluation.judgement import RIGHT_DEG, RIGHT_M
    from crossover_models.evaluation.trajectory import pose_error

    error_m, error_deg = pose_error(pose, true)
    return error_m <= RIGHT_M and error_deg <= RIGHT_DEG


class _Listener:
    """Stands where a replay has the localizer and the writer of its record, and keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.last_retrieval = None

    def on_odometry(self, stamp_ns: int, T_odom_base: NDArray[np.float64]) -> None:
        """Keep it."""
        self.heard.append((stamp_ns, T_odom_base))

    def on_embedding(self, embedding: SceneEmbedding) -> None:
        """Keep it."""
        self.heard.append(embedding)

    def estimate(self, estimate: object, latency_s: float | None) -> None:
        """There is none."""
