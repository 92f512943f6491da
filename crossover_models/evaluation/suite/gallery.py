"""All pictures of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from crossover_models.dataset.picture import write_picture
from crossover_models.dataset.store import DataSet
from crossover_models.evaluation.suite.methods import System
from crossover_models.evaluation.suite.pictures import embedding_map, matrices, write_figure
from crossover_models.evaluation.suite.retrieval_sheet import SHEETS, retrieval_sheet
from crossover_models.evaluation.suite.scans import evaluated_scans
from crossover_models.training.feature_set import FeatureSet


def draw(
    systems: Sequence[System],
    features: FeatureSet,
    folder: Path,
    scenes: Path | None,
    rescans_are_places: bool = False,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> list[tuple[str, str]]:
    """Matrices and maps of each method's first seed, retrieval sheets of the first method where scenes are at hand.

    Returns:
        Title and file name of each picture.

    Raises:
        DataSetError: ``scenes`` is no finished data set, or lacks a scan.
    """
    data = evaluated_scans(features, rescans_are_places)
    out: list[tuple[str, str]] = []
    opened = None if scenes is None else DataSet.open(scenes)
    if opened is not None:
        for a, b in SHEETS:
            progress(f"sheet {a}-{b}")
            sheet = retrieval_sheet(systems[0].seeds[0], data, opened, (a, b), seed=seed)
            if sheet is not None:
                title = f"{systems[0].name}: {a}-{b}, random queries (green: right, orange: wrong but the same type)"
                out.append((title, f"sheet-{_file(systems[0].name)}-{a}-{b}.jpg"))
                write_picture(folder / out[-1][1], sheet)
    for system in systems:
        progress(f"pictures of {system.name}")
        method = system.seeds[0]
        for kind, make in (("similarities", matrices), ("t-SNE", embedding_map)):
            figure = make(method, data, system.name)
            if figure is not None:
                out.append((f"{system.name}: {kind}", f"{kind.lower()}-{_file(system.name)}.png"))
                write_figure(folder / out[-1][1], figure)
    return out


def _file(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower())
