"""The online stages whose growth is measured: each prepares simulated input of a size and returns the work on it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from crossover_models.threads import use_threads

if TYPE_CHECKING:
    from crossover_models.map_database.build import PlaceEncoder

Work = Callable[[], object]
DIM = 256
ROOMS_OF_LEVEL = 20


@cache
def _encoder() -> PlaceEncoder:

    from crossover_models.encoders import load_encoder

    use_threads(1)
    return cast("PlaceEncoder", load_encoder("", "cpu"))


def _cloud(size: int) -> Work:
    """A room of 8 x 6 x 3 m, its points on walls and floor."""
    import numpy as np

    rng = np.random.default_rng(0)
    points = rng.uniform((0.0, 0.0, 0.0), (8.0, 6.0, 3.0), (size, 3)).astype(np.float32)
    side = rng.integers(0, 3, size)
    points[np.arange(size), side] = np.where(side == 2, 0.0, points[np.arange(size), side].round(-1))
    colors = rng.integers(0, 256, (size, 3)).astype(np.uint8)
    return lambda: _encoder().encode_point_cloud(points, colors)


def _views(size: int) -> Work:
    import numpy as np

    images = list(np.random.default_rng(0).integers(0, 256, (size, 240, 320, 3)).astype(np.uint8))
    return lambda: _encoder().encode_images(images)


def _index(size: int) -> Work:
    """Ten searches of the index over rooms."""
    from crossover_models.index.planted_codes import PlantedCodes
    from crossover_models.index.vector_index import VectorIndex

    codes = PlantedCodes(DIM)
    vectors = codes.draw(size)
    queries = codes.looks(vectors[: min(10, size)])
    folder = tempfile.TemporaryDirectory()
    index = VectorIndex.build(Path(folder.name) / "index", vectors)

    def work() -> object:
        # The folder lives as long as the work does.
        return folder.name, [index.search(query, 10) for query in queries]

    return work


def _levels(size: int) -> Work:
    """One retrieval over all levels of a building of 20 rooms a level."""
    import numpy as np

    from crossover_models.config import RetrievalSettings
    from crossover_models.estimate import LevelKey
    from crossover_models.index.planted_codes import PlantedCodes
    from crossover_models.map_database.store import PlaceRecord
    from crossover_models.observation import Modality
    from crossover_models.retrieval import PlaceIndex

    codes = PlantedCodes(DIM)
    vectors = codes.draw(size * ROOMS_OF_LEVEL)
    query = codes.looks(vectors[:1])[0]
    square = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 3.0], [0.0, 3.0]])
    places = [
        PlaceRecord(LevelKey("b", str(k // ROOMS_OF_LEVEL)), f"p{k}", "room", "office", square, ())
        for k in range(len(vectors))
    ]

    class Planted:
        embedding_dim = DIM
        interaction = None

        def building_ids(self) -> tuple[str, ...]:
            return ("b",)

        def places(self, building_id: str | None = None, level_id: str | None = None) -> list[PlaceRecord]:
            return places

        def embeddings(self, building_id: str, modality: Modality) -> tuple[tuple[str, ...], Any]:
            if modality != Modality.POINT_CLOUD:
                return (), np.zeros((0, DIM), dtype=np.float32)
            return tuple(place.place_id for place in places), vectors

        def tokens(self, building_id: str, modality: Modality) -> Any:
            return np.zeros((len(places), 0), dtype=np.int8)

    index = PlaceIndex(Planted(), RetrievalSettings())
    return lambda: index.search(query, Modality.POINT_CLOUD)


def _area(size: int) -> Work:
    """A global search of one level by a scan of it."""
    import numpy as np

    from crossover_models.config import RegistrationSettings
    from crossover_models.estimate import LevelKey
    from crossover_models.evaluation.search_cost import cast_scan, draw_floor
    from crossover_models.registration import PlanMatcher

    rng = np.random.default_rng(0)
    plan = draw_floor(float(size), rng)
    matcher = PlanMatcher({LevelKey("floor", "1"): plan}, RegistrationSettings(), "cpu")
    seen, _ = cast_scan(plan, 360.0, rng)
    return lambda: matcher.register(seen)


# Stage, what grows, how work of a size is prepared, and the largest exponent that is right.
STAGES: tuple[tuple[str, str, Callable[[int], Work], float], ...] = (
    ("encode cloud", "points", _cloud, 1.0),
    ("encode images", "views", _views, 1.0),
    ("index search", "rooms", _index, 1.0),
    ("retrieve", "levels", _levels, 1.0),
    ("register", "m2", _area, 1.0),
)
