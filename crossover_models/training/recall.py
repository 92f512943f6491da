"""Ranks of true rooms in whole galleries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from crossover_models.encoders.network import UnifiedNetwork
from crossover_models.encoders.profile import EncoderProfile
from crossover_models.training.batches import embed, whole_batch
from crossover_models.training.room_sample import RoomSample

PAIRS = (
    ("I", "P"),
    ("I", "F"),
    ("P", "F"),
    ("I", "R"),
    ("P", "R"),
    ("F", "R"),
    ("M", "I"),
    ("M", "P"),
    ("M", "F"),
    ("M", "R"),
)
"""Query and gallery among the map's own modalities."""
ROBOT_PAIRS = tuple((query, item) for query in ("Ir", "Pr") for item in ("I", "P", "F", "M", "R"))
"""What a robot on a short drive sees, against the map."""

Embeddings = Mapping[str, NDArray[np.float32]]
_CHUNK = 32


def embed_rooms(
    network: UnifiedNetwork, profile: EncoderProfile, samples: Sequence[RoomSample], robot_frames: int = 4
) -> Embeddings:
    """Item -> (rooms, D) in evaluation mode; absent items are NaN rows, "Ir" sees ``robot_frames`` frames."""
    training = network.training
    network.eval()
    parts: dict[str, list[NDArray[np.float32]]] = {}
    with torch.inference_mode():
        for start in range(0, len(samples), _CHUNK):
            batch = whole_batch(samples[start : start + _CHUNK], profile, robot_frames)
            for item, values in embed(network, batch).items():
                rows = values.numpy().copy()
                rows[~batch.present[item].numpy()] = np.nan
                parts.setdefault(item, []).append(rows)
    network.train(training)
    return {item: np.concatenate(rows) for item, rows in parts.items()}


def true_ranks(query: NDArray[np.float32], gallery: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rank (0 = first) of each query's own row; rows that lack either side (NaN) are left out, as query and as answer.

    Ties count against the query, so that constant vectors score worst and never best.

    Args:
        query: (N, D).
        gallery: (N, D).
    """
    both = np.isfinite(query).all(axis=1) & np.isfinite(gallery).all(axis=1)
    scores = query[both] @ gallery[both].T
    own = np.diag(scores)[:, None]
    return np.asarray((scores >= own).sum(axis=1) - 1, dtype=np.int64)


def recall_at(ranks: NDArray[np.int64], k: int) -> float:
    """Share of ranks below k; NaN without any."""
    return float((ranks < k).mean()) if len(ranks) else float("nan")


def mean_reciprocal_rank(embeddings: Embeddings) -> float:
    """Mean over all pairs, map and robot: the number that selects a checkpoint (recall@1 alone is too coarse)."""
    values = [
        float((1.0 / (1.0 + ranks)).mean())
        for query, gallery in PAIRS + ROBOT_PAIRS
        if len(ranks := true_ranks(embeddings[query], embeddings[gallery]))
    ]
    return float(np.mean(values))
