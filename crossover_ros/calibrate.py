"""``crossover calibrate``: fit what scores of retrieval are worth, on drives through validation buildings."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crossover_models.threads import use_threads

if TYPE_CHECKING:
    from crossover_models.belief_fit import Believed, Furnished
    from crossover_models.building import Building
    from crossover_models.estimate import Retrieval
    from crossover_models.evaluation.buildings.recordings import Recording
    from crossover_models.likelihood_fit import Look
    from crossover_models.observation import SceneEmbedding
    from crossover_models.retrieval import PlaceIndex
    from crossover_ros.calibrate_belief import Heard
    from crossover_ros.encoder_source import Encoder

DEFAULT_OUT = Path("build/calibration")
RUNS, BUILDINGS, TWINS = 3, 4, 2
# How a place is called in a query, besides being described.
_PHRASES = ("the {}", "near the {}", "I am in the {}")


def add_command(subparsers: Any) -> None:
    """Add ``calibrate`` to the command line."""
    parser = subparsers.add_parser(
        "calibrate",
        help="fit what scores of retrieval are worth in nats, on validation buildings",
        description="Drive through simulated validation buildings, compare every look with every place of their maps, "
        "and fit a weight for each pair of modalities; then let the belief follow the drives and fit how often "
        "retrieval errs, what furniture is worth and at which probability a pose is announced (written beside the "
        "weights). The weights are for the encoder that made them; the localizer finds them in the package.",
    )
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help=f"maps and bags, used again ({DEFAULT_OUT})")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"drives through each building ({RUNS})")
    parser.add_argument(
        "--buildings", type=int, default=BUILDINGS, help=f"buildings, at most {BUILDINGS} ({BUILDINGS})"
    )
    parser.add_argument("--twins", type=int, default=TWINS, help=f"drives through each of two look-alikes ({TWINS})")
    parser.add_argument("--checkpoint", default="", help="of the encoders; the shipped one by default")
    parser.add_argument("--into", type=Path, help="folder for NAME.likelihood.json; default: the package's weights")
    parser.add_argument("--name", default="edge", help="NAME of the file (edge)")
    parser.set_defaults(run=run, resumes=True)


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``crossover calibrate``."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Table

    from crossover_models.belief_fit import fit_announcement, fit_furniture, fit_outliers
    from crossover_models.encoders import load_encoder
    from crossover_models.evaluation.validation import ValidationRecorder, plan_twins, plan_validation
    from crossover_models.furniture_field import INDEPENDENT_RAYS, OUTCOMES
    from crossover_models.likelihood import SHIPPED, SUFFIX
    from crossover_models.likelihood_fit import fit_likelihood
    from crossover_ros.calibrate_belief import drive_belief, embeddings_in, heard_in

    plan = (*plan_validation(arguments.runs, buildings=arguments.buildings), *plan_twins(arguments.twins))
    use_threads(1)
    encoder = load_encoder(arguments.checkpoint, "auto")
    looks: list[Look] = []
    drives: list[tuple[Recording, list[Heard]]] = []
    believed: list[Believed] = []
    furnished: list[Furnished] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("calibrate", total=2 * len(plan))
        recorder = ValidationRecorder(arguments.out, lambda: encoder, lambda text: bar.update(task, description=text))
        written: set[str] = set()
        for planned in plan:
            recording = recorder.recording(planned)
            bar.update(task, description=f"{planned.name}: looks", advance=1)
            heard = heard_in(recording.bag, encoder)
            drives.append((recording, heard))
            if planned.building.twins:  # No look at a place is right there and wrong at its twin.
                continue
            looks += looks_of_drive(recording, embeddings_in(heard), encoder, planned.name, len(looks))
            if str(planned.building) not in written:
                written.add(str(planned.building))
                building = recorder.building(planned.building)
                looks += looks_of_texts(building, recording.database, encoder, len(looks))
        facts: dict[str, Any] = {
            "data": "simulated",
            "buildings": list(dict.fromkeys(str(planned.building) for planned in plan)),
            "runs": len(plan),
            "command": f"crossover calibrate --runs {arguments.runs} --buildings {arguments.buildings} "
            f"--twins {arguments.twins}",
        }
        fitted = fit_likelihood(looks, encoder.fingerprint, facts)
        for number, (recording, heard) in enumerate(drives):
            bar.update(task, description=f"{plan[number].name}: belief", advance=1)
            poses, slices = drive_belief(recording, heard, encoder, fitted, number)
            believed += poses
            # Furniture of look-alikes is alike too.
            furnished += [] if plan[number].building.twins else slices
    outliers = fit_outliers(looks, fitted)
    constants: dict[str, Any] = {
        "retrieval_outliers": round(outliers, 3),
        "alike_nats": round(-float(np.log(outliers)), 2),
        "localized_probability": dict(fit_announcement(believed)),
    }
    if furnished:
        constants["furniture"] = fit_furniture(furnished, OUTCOMES, INDEPENDENT_RAYS)
        constants["furniture_slices"] = len(furnished)
    fitted = replace(fitted, facts={**fitted.facts, "belief": constants})
    folder: Path = arguments.into or SHIPPED
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{arguments.name}{SUFFIX}"
    path.write_text(fitted.to_json(), encoding="utf-8")
    table = Table(title=f"{len(looks)} looks in {len(written)} validation buildings (simulated)", title_justify="left")
    for name in ("query", "looks", "stays", "uniform (nat)", "fitted (nat)", "top-1 (%)"):
        table.add_column(name, justify="left" if name == "query" else "right")
    for name, fit in fitted.facts["fit"].items():
        numbers = f"{fit['nats_uniform']:.2f}", f"{fit['nats_fitted']:.2f}", f"{100 * fit['top1_of_stays']:.0f}"
        table.add_row(name, str(fit["looks"]), str(fit["visits"]), *numbers)
    console = Console()
    console.print(table)
    constant_table = Table(title="constants of the belief, as fitted", title_justify="left")
    constant_table.add_column("constant")
    constant_table.add_column("value", justify="right")
    for name, value in constants.items():
        constant_table.add_row(name, str(value))
    console.print(constant_table)
    console.print(f"weights in {path}", markup=False, soft_wrap=True)
    return 0


def looks_of_drive(
    recording: Recording, embeddings: Sequence[SceneEmbedding], encoder: Encoder, name: str, first_visit: int
) -> Iterator[Look]:
    """Every look of a drive that would count in a belief, while the robot is in a place of the map.

    Args:
        recording: map and truth.
        embeddings: of its bag, in their order.
        encoder: the map's.
        name: of the drive, in stays' identity.
        first_visit: number of the first stay; following ones count up from it.
    """
    from crossover_models.config import BeliefSettings
    from crossover_models.evaluation.buildings.beside import true_at, true_breaks
    from crossover_models.evaluation.buildings.recordings import read_true_run
    from crossover_models.geometry import relative_se2
    from crossover_models.likelihood_fit import Look
    from crossover_models.places import PlaceMap

    true, settings = read_true_run(recording), BeliefSettings()
    breaks = true_breaks(true)
    index = place_index(recording.database, encoder)
    places = PlaceMap(index.places)
    rows = {(place.key, place.place_id): k for k, place in enumerate(index.places)}
    looked_at: dict[Any, NDArray[np.float64]] = {}
    visits: dict[Any, int] = {}
    for embedding in embeddings:
        found = true_at(true.trajectory, embedding.stamp_ns, breaks)
        if found is None or not len(embedding.vector):
            continue
        level, pose = found
        place = places.at(level, pose[:2], margin_m=0.0)
        last = looked_at.get(embedding.modality)
        if last is not None:
            step = relative_se2(last, pose)
            if np.hypot(step[0], step[1]) < settings.retrieval_travel_m and abs(step[2]) < settings.retrieval_turn_rad:
                continue
        if place is None:
            continue
        looked_at[embedding.modality] = pose
        key = (name, embedding.modality, place.key, place.place_id)
        visit = visits.setdefault(key, first_visit + len(visits))
        found_places = index.search(
            embedding.vector, embedding.modality, top_k=len(index.places), tokens=embedding.tokens
        )
        yield Look(visit, embedding.modality, centered_scores(found_places, rows), rows[place.key, place.place_id])


def looks_of_texts(building: Building, database: Path, encoder: Encoder, first_visit: int) -> Iterator[Look]:
    """Sentences about every place of a building, worded anew: short ones, and descriptions as people give them."""
    from crossover_models.likelihood_fit import Look
    from crossover_models.observation import Modality
    from crossover_models.simulation.wording import describe

    index = place_index(database, encoder)
    rows = {(place.key.level_id, place.place_id): k for k, place in enumerate(index.places)}
    by_row = {(place.key, place.place_id): k for k, place in enumerate(index.places)}
    rng = np.random.default_rng([600, len(rows)])
    visit = first_visit
    for level in building.levels:
        for place in level.places:
            row = rows.get((level.level_id, place.place_id))
            if row is None or not place.category:
                continue
            area_m2 = float(np.prod(np.ptp(place.polygon, axis=0)))
            sentences = [phrase.format(place.category) for phrase in _PHRASES]
            sentences.append(describe(place.category, area_m2, place.furnishings, 1, 1, rng))
            for sentence in sentences:
                code = encoder.encode_text(sentence)
                found = index.search(code.vector, Modality.TEXT, top_k=len(index.places), tokens=code.tokens)
                yield Look(visit, Modality.TEXT, centered_scores(found, by_row), row)
                visit += 1


def place_index(database: Path, encoder: Encoder) -> PlaceIndex:
    """Index over all places of a map, without weights of scores."""
    from crossover_models.config import RetrievalSettings
    from crossover_models.map_database.store import MapDatabase
    from crossover_models.retrieval import PlaceIndex

    with MapDatabase.open(database, encoder.fingerprint) as opened:
        return PlaceIndex(opened, RetrievalSettings())


def centered_scores(retrieval: Retrieval, rows: dict[Any, int]) -> dict[Any, NDArray[np.float64]]:
    """Modality of the map -> (P,) scores of a ranking of all places, less their mean; NaN where a place lacks it."""
    out: dict[Any, NDArray[np.float64]] = {}
    for ranked in retrieval.places:
        for modality, score in ranked.modality_scores.items():
            column = out.setdefault(modality, np.full(len(rows), np.nan))
            column[rows[ranked.level, ranked.place_id]] = score
    return {modality: column - np.nanmean(column) for modality, column in out.items()}
