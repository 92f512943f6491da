"""All methods through all tasks: figures with intervals, chance, spread over seeds, ready for JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from crossover_models.evaluation.buildings.intervals import RESAMPLES
from crossover_models.evaluation.suite.compare import Cells, comparisons, gains, losses, means
from crossover_models.evaluation.suite.intervals import METHOD, Resamples, described, rounded
from crossover_models.evaluation.suite.measure import TASKS, Question, emergent
from crossover_models.evaluation.suite.methods import CHANCE, System
from crossover_models.evaluation.suite.outcome import Outcome, mean_over_seeds
from crossover_models.evaluation.suite.scans import EvaluatedScans, evaluated_scans
from crossover_models.evaluation.suite.targets import targets
from crossover_models.training.feature_set import FeatureSet

SCHEMA_VERSION = 1
KEYS = {name: "pairs" if name == "scene" else name.replace("-", "_") for name in TASKS}
"""Task -> its key in the JSON."""
Progress = Callable[[str, int, int], None]


def evaluate(
    systems: Sequence[System],
    features: FeatureSet,
    tasks: Sequence[str],
    *,
    ablation: Sequence[System] = (),
    seed: int = 0,
    legacy: bool = False,
    rescans_are_places: bool = False,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Every figure of these tasks as plain values.

    Args:
        systems: methods to compare.
        features: the scans that all of them were opened on.
        tasks: of :data:`TASKS`.
        ablation: further methods, for a table of their own (scene retrieval only).
        seed: of the bootstrap and of what a map loses.
        legacy: see :func:`temporal_scene`.
        rescans_are_places: see :func:`evaluated_scans`.
        progress: called with what is done and how much of it.

    Raises:
        TaskError: a method that gives no proper answers.
    """
    data = evaluated_scans(features, rescans_are_places)
    question = Question(data, seed, legacy)
    resamples = Resamples(data.rooms, seed)
    out = _about(systems, features, data, question, rescans_are_places)
    steps, done = len(systems) * len(tasks) + len(ablation) + 1, 0
    scene: Cells = {}
    for task in tasks:
        cells: Cells = {}
        for system in systems:
            progress(f"{task}: {system.name}", done, steps)
            _collect(cells, system, task, question)
            done += 1
        out[KEYS[task]] = _table(cells, systems, resamples)
        if task == "scene":
            scene = cells
        elif task == "robot":
            out["robot_gain"] = gains(cells, resamples)
        elif task == "missing":
            out["missing_loss"] = losses(cells, resamples)
    if scene:
        out["mean"] = means(scene, systems, resamples)
        out["comparisons"] = comparisons(scene, [s.name for s in systems], resamples)
    if ablation:
        cells = {}
        for system in ablation:
            progress(f"ablation: {system.name}", done, steps)
            _collect(cells, system, "scene", question)
            done += 1
        out["ablation"] = _table(cells, ablation, resamples)
        out["ablation_mean"] = means(cells, ablation, resamples)
        out["ablation_methods"] = _methods(ablation)
    out["targets"] = targets(out)
    progress("done", steps, steps)
    return out


def _collect(cells: Cells, system: System, task: str, question: Question) -> None:
    each = [TASKS[task](method, question) for method in system.seeds]
    for pair in each[0]:
        found = [o for outcomes in each if (o := outcomes[pair]) is not None]
        cells.setdefault(pair, {})[system.name] = mean_over_seeds(found) if len(found) == len(each) else None


def _table(cells: Cells, systems: Sequence[System], resamples: Resamples) -> dict[str, Any]:
    """Pair -> method -> figures, the last method being chance; null for pairs that a method cannot compare."""
    out: dict[str, Any] = {}
    for pair, methods in cells.items():
        some = next((o for o in methods.values() if o is not None), None)
        names = [] if some is None else list(some.parts)
        row: dict[str, Any] = {}
        for system in systems:
            query, gallery = pair.replace(" ", "-").split("-")
            outcome = methods[system.name]
            figures = dict.fromkeys(names) if outcome is None else _figures(outcome, resamples)
            apart = emergent(system.seeds[0], query, gallery)
            row[system.name] = {**figures, "n": 0 if outcome is None else len(outcome.scans), "emergent": apart}
        if some is not None:
            row[CHANCE] = {name: rounded(some.chance[name]) for name in names} | {"n": len(some.scans)}
        out[pair] = row
    return out


def _figures(outcome: Outcome, resamples: Resamples) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, samples in outcome.figures(resamples.weights).items():
        out.update(described(name, samples, resamples.rooms))
    if outcome.seeds:
        once = resamples.weights[:1]
        each = [one.figures(once) for one in outcome.seeds]
        out["seeds"] = len(each)
        for name in outcome.parts:
            values = np.array([figures[name][0] for figures in each])
            known = bool(np.isfinite(values).all())
            out[f"{name}_seeds"] = [rounded(float(v)) if np.isfinite(v) else None for v in values]
            out[f"{name}_spread"] = rounded(float(values.std(ddof=1))) if known else None
    return out


def _methods(systems: Sequence[System]) -> dict[str, Any]:
    return {
        system.name: {
            "kind": system.kind,
            "checkpoints": list(system.checkpoints),
            "emergent": sorted("-".join(pair) for pair in system.seeds[0].emergent),
        }
        for system in systems
    }


def _about(
    systems: Sequence[System], features: FeatureSet, data: EvaluatedScans, question: Question, rescans: bool
) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "split": features.scans[0].split,
        "scans": len(data),
        "rooms": len(set(data.rooms)),
        "places": int(data.places.sum()),
        "rescans": len(data.rescans),
        "rescans_are_places": rescans,
        "legacy": question.legacy,
        "seed": question.seed,
        "bootstrap": METHOD,
        "resamples": RESAMPLES,
        "methods": _methods(systems),
    }
