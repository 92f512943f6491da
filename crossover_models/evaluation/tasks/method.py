"""What the evaluation asks of anything that it compares: similarities between scans, and embeddings of objects."""

from __future__ import annotations

from typing import Protocol

from crossover_models.evaluation.tasks.instances import SceneObjects
from crossover_models.evaluation.tasks.ranking import Array, Mask

MAP_ITEMS = ("I", "P", "M", "F", "R")
"""Modalities of a map: images, point cloud, CAD meshes, floor plan, text (referrals)."""
ROBOT_ITEMS = ("I1", "I10", "Pd")
"""What a robot sees on its drive: one frame, ten contiguous frames, the cloud of a few sweeps."""
PAIRS = (
    ("I", "P"),
    ("I", "R"),
    ("P", "R"),
    ("I", "F"),
    ("P", "F"),
    ("R", "F"),
    ("M", "P"),
    ("M", "F"),
    ("M", "R"),
    ("I", "M"),
)
"""Query and gallery, as the published tables have them, and the pairs with CAD."""


class Method(Protocol):
    """One system over the N scans of a data set's split, already computed.

    Attributes:
        name: in tables and JSON.
        emergent: pairs (query, gallery) that were never contrasted in its training.
    """

    name: str
    emergent: frozenset[tuple[str, str]]

    def present(self, item: str) -> Mask | None:
        """(N,) which scans have the item; None where the system cannot embed it."""

    def similarity(self, query: str, gallery: str) -> Array | None:
        """(N, N) of every scan's query item against every scan's gallery item, higher is more alike.

        Rows and columns of scans that lack the item are never read. None where the system cannot compare the two.
        """

    def vectors(self, item: str) -> Array | None:
        """(N, D) global vectors for maps of the embedding space; None where it has none."""

    def objects(self, item: str) -> tuple[SceneObjects, ...] | None:
        """Embeddings of each scan's objects in one of I, P, M, R; None where it embeds no objects."""
