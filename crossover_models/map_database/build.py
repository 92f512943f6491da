"""From a building to a map database: every modality that a place has is embedded, every other stays absent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Building, Level, Mesh, Place
from crossover_models.floor_plan import OCCUPIED, FloorPlan
from crossover_models.map_database.file_format import DatabaseError
from crossover_models.map_database.writer import DatabaseWriter
from crossover_models.observation import Code, Modality
from crossover_models.sets.interaction import Interaction

Progress = Callable[[str], None]


class Profile(Protocol):
    """What is written down of an encoder's profile."""

    @property
    def name(self) -> str:
        """Its name."""


class PlaceEncoder(Protocol):
    """Encoders as far as a build needs them; see :class:`crossover_models.encoders.UnifiedEncoder`."""

    @property
    def profile(self) -> Profile:
        """Of the checkpoint."""

    @property
    def embedding_dim(self) -> int:
        """D."""

    @property
    def fingerprint(self) -> str:
        """Identity of weights and settings."""

    @property
    def interaction(self) -> Interaction | None:
        """How its tokens are compared; None where codes are vectors alone."""

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Code:
        """Views of one place."""

    def encode_point_cloud(self, points: NDArray[np.float32], colors: NDArray[np.uint8] | None = None) -> Code:
        """(N, 3) points."""

    def encode_mesh(self, meshes: Sequence[Mesh], poses: Sequence[NDArray[np.float64] | None] | None = None) -> Code:
        """CAD models of one place, and the poses (4, 4) of their own frames where known."""

    def encode_floor_plan(self, plan: FloorPlan, polygon: NDArray[np.float64]) -> Code:
        """The plan around a place."""

    def encode_text(self, text: str | Sequence[str]) -> Code:
        """Statements about a place."""


def build_database(
    buildings: Building | Sequence[Building],
    encoder: PlaceEncoder,
    out: Path | str,
    progress: Progress | None = None,
) -> None:
    """Write buildings and the embeddings of their places as one database; all of it appears, or nothing.

    Args:
        buildings: one or several, with different ids.
        encoder: its fingerprint is written into the database.
        out: file to write or replace.
        progress: told the name of each place when it is done.

    Raises:
        DatabaseError: ``out`` cannot be replaced, an id occurs twice, or a place cannot be embedded.
    """
    several = (buildings,) if isinstance(buildings, Building) else tuple(buildings)
    about = encoder.fingerprint, encoder.profile.name, encoder.embedding_dim, encoder.interaction
    with DatabaseWriter(out, *about) as writer:
        for building in several:
            writer.add_building(building)
            codes: dict[Modality, dict[str, Code]] = {}
            for level in building.levels:
                for place in level.places:
                    for modality, code in place_embeddings(level, place, encoder).items():
                        codes.setdefault(modality, {})[place.place_id] = code
                    if progress is not None:
                        progress(place.name)
            for modality in Modality:
                writer.add_embeddings(building.building_id, modality, codes.get(modality, {}))
        writer.publish()


def place_embeddings(level: Level, place: Place, encoder: PlaceEncoder) -> Mapping[Modality, Code]:
    """One code for each modality the place has.

    A place has a floor plan if a wall is drawn near it, and meshes if it is furnished; the walls around belong to the
    plan, so that a furnished room in a drawing without meshes lacks the modality.

    Raises:
        DatabaseError: an encoder refuses what the place holds; the message names place and modality.
    """
    calls: dict[Modality, Callable[[], Code]] = {}
    if _is_drawn(level.plan, place):
        calls[Modality.FLOOR_PLAN] = lambda: encoder.encode_floor_plan(level.plan, place.polygon)
    meshes = [furnishing.mesh for furnishing in place.furnishings]
    if meshes:
        poses = [furnishing.T_map_object for furnishing in place.furnishings]
        calls[Modality.MESH] = lambda: encoder.encode_mesh(meshes, poses)
    text = [sentence.strip() for sentence in place.text if sentence.strip()]
    if text:
        calls[Modality.TEXT] = lambda: encoder.encode_text(text)
    if place.images:
        calls[Modality.IMAGE] = lambda: encoder.encode_images(place.images)
    cloud = place.point_cloud
    if cloud is not None and len(cloud):
        calls[Modality.POINT_CLOUD] = lambda: encoder.encode_point_cloud(cloud)
    out: dict[Modality, Code] = {}
    for modality, call in calls.items():
        try:
            out[modality] = call()
        except ValueError as error:
            raise DatabaseError(f"place {place.place_id} ({place.name}), {modality.value}: {error}") from None
    return out


def _is_drawn(plan: FloorPlan, place: Place) -> bool:
    low, high = place.polygon.min(axis=0), place.polygon.max(axis=0)
    around = plan.crop((low + high) / 2, float((high - low).max()) + 1.0)
    return bool((around.occupancy == OCCUPIED).any())
