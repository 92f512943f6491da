"""``crossover eval``: any task of the paper, or all of them, for any methods, on the features of a data set."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from crossover_models.threads import use_threads

TASKS = ("scene", "instance", "category", "intra", "temporal-scene", "temporal-instance", "missing", "robot")
SUITES = {"paper": TASKS}
RESULTS = "results.json"


def add_command(subparsers: Any) -> None:
    """Add ``eval``."""
    parser = subparsers.add_parser(
        "eval",
        help="the paper's tasks: scene, instance, category, temporal and robot retrieval, with intervals and chance",
        description="Compare methods on a split of frozen features that `crossover data features` made: every figure "
        "with a bootstrap interval over rooms and beside chance. Methods are named NAME=KIND:CHECKPOINT; several of "
        "one name are seeds of one method.",
        epilog="Kinds: reference (the published design), sets (ours), baseline (instance baseline), ulip2, pointbind, "
        "living_scenes; trivial, colors, layouts and types learn nothing and have no checkpoint (types reads the true "
        "labels). The table of targets looks for the names ours and reference.",
    )
    parser.add_argument("task", nargs="?", choices=TASKS, metavar="TASK", help=f"one of {', '.join(TASKS)}")
    parser.add_argument("--suite", choices=tuple(SUITES), help="all tasks of the paper instead of one")
    parser.add_argument("--dataset", type=Path, metavar="DIR", help="features of a data set")
    parser.add_argument("--split", default="test", help="default: test")
    parser.add_argument(
        "--method", action="append", default=[], metavar="NAME=KIND:CHECKPOINT", help="what to compare; repeatable"
    )
    parser.add_argument(
        "--ablation",
        action="append",
        default=[],
        metavar="NAME=KIND:CHECKPOINT",
        help="a row of the ablation table (scene retrieval); repeatable",
    )
    parser.add_argument(
        "--systems", type=Path, metavar="FILE", help="YAML with methods: and ablation:, name -> KIND:FILE"
    )
    parser.add_argument(
        "--scenes", type=Path, metavar="DIR", help="the data set itself: pictures, and plans for trivial"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here; - for stdout")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write figures and pictures here")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write a page here, its pictures beside it")
    parser.add_argument("--from-json", type=Path, metavar="FILE", help="show figures of an earlier run instead")
    parser.add_argument(
        "--legacy", action="store_true", help="list rescans in the order of the data, as the reference does"
    )
    parser.add_argument(
        "--rescans-are-places", action="store_true", help="every scan stands in the gallery, not each room once"
    )
    parser.add_argument("--most", type=int, metavar="N", help="only the first N scans")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap and of drawn losses (default: 0)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``crossover eval``."""
    from rich.console import Console

    from crossover_models.evaluation.suite.methods import MethodError

    if arguments.seed < 0:
        raise MethodError(f"--seed: must not be negative, got {arguments.seed}")
    if arguments.most is not None and arguments.most < 2:
        raise MethodError(f"--most: expected at least 2 scans, got {arguments.most}")
    console = Console(stderr=str(arguments.json) == "-")
    found = _evaluate(arguments, console) if arguments.from_json is None else _read(arguments.from_json)
    _write(arguments, found)
    from crossover_models.evaluation.suite.sheets import sheets
    from crossover_models.evaluation.suite.tables import table

    for sheet in sheets(found):
        console.print(table(sheet))
    for place in (arguments.out and arguments.out / RESULTS, arguments.json, arguments.markdown):
        if place is not None and str(place) != "-":
            console.print(f"wrote {place}", markup=False, soft_wrap=True)
    return 0


def _evaluate(arguments: argparse.Namespace, console: Any) -> dict[str, Any]:
    from crossover_models.evaluation.suite.methods import MethodError, Named, open_systems, read_systems

    if (arguments.task is None) == (arguments.suite is None):
        raise MethodError(f"TASK or --suite: name one of {', '.join(TASKS)}, or --suite paper")
    if arguments.dataset is None:
        raise MethodError("--dataset: name the folder that `crossover data features` wrote")
    named, rows = ((), ()) if arguments.systems is None else read_systems(arguments.systems)
    named = (*named, *(Named.parse(text) for text in arguments.method))
    rows = (*rows, *(Named.parse(text, "--ablation") for text in arguments.ablation))
    if not named:
        raise MethodError("--method: name at least one, NAME=KIND:CHECKPOINT")
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from crossover_models.evaluation.suite.run import evaluate
    from crossover_models.training.feature_set import FeatureSet

    use_threads(1)
    tasks = SUITES[arguments.suite] if arguments.suite else (arguments.task,)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        job = bar.add_task("reading features", total=None)
        features = FeatureSet.open(arguments.dataset, arguments.split, arguments.most)

        def opening(name: str) -> None:
            bar.update(job, description=f"opening {name}")

        def report(what: str, done: int, steps: int) -> None:
            bar.update(job, description=what, completed=done, total=steps)

        systems = open_systems(named, features, arguments.scenes, opening)
        ablation = open_systems(rows, features, arguments.scenes, opening)
        found = evaluate(
            systems,
            features,
            tasks,
            ablation=ablation,
            seed=arguments.seed,
            legacy=arguments.legacy,
            rescans_are_places=arguments.rescans_are_places,
            progress=report,
        )
        found["provenance"] = {"command": _command(arguments), "simulated": _simulated(arguments.scenes)}
        folder = _picture_folder(arguments)
        if folder is not None:
            from crossover_models.evaluation.suite.gallery import draw

            found["pictures"] = draw(
                systems, features, folder, arguments.scenes, arguments.rescans_are_places, arguments.seed, opening
            )
    return found


def _picture_folder(arguments: argparse.Namespace) -> Path | None:
    """Beside the page if there is one: a page shows only what lies there."""
    if arguments.markdown is not None:
        page: Path = arguments.markdown
        return page.parent / f"{page.stem}-pictures"
    return None if arguments.out is None else Path(arguments.out) / "pictures"


def _simulated(scenes: Path | None) -> bool | None:
    """Whether the data set says so; None where it is not at hand."""
    if scenes is None:
        return None
    from crossover_models.dataset.store import read_info

    return read_info(scenes).simulated


def _command(arguments: argparse.Namespace) -> str:
    """What was asked, with the user's folders left out."""
    words = ["crossover eval", arguments.task or f"--suite {arguments.suite}", "--dataset FEATURES"]
    if arguments.split != "test":
        words.append(f"--split {arguments.split}")
    if arguments.systems is not None:
        words.append(f"--systems {arguments.systems.name}")
    for option in ("method", "ablation"):
        for text in getattr(arguments, option):
            head, colon, where = text.partition(":")
            words.append(f"--{option} {head}{colon}{Path(where).name if where else ''}")
    words += ["--scenes DATASET"] if arguments.scenes is not None else []
    words += [f"--{name.replace('_', '-')}" for name in ("legacy", "rescans_are_places") if getattr(arguments, name)]
    words += [f"--most {arguments.most}"] if arguments.most is not None else []
    words += [f"--seed {arguments.seed}"] if arguments.seed else []
    words += [f"--markdown {arguments.markdown.name}"] if arguments.markdown is not None else []
    return " ".join(words)


def _read(path: Path) -> dict[str, Any]:
    from crossover_models.evaluation.suite.methods import MethodError
    from crossover_models.evaluation.suite.run import SCHEMA_VERSION

    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise MethodError(f"--from-json {path}: no JSON: {error}") from None
    version = found.get("schema_version") if isinstance(found, dict) else None
    if version != SCHEMA_VERSION:
        raise MethodError(f"--from-json {path}: schema_version {version}, this program reads {SCHEMA_VERSION}")
    out: dict[str, Any] = found
    return out


def _write(arguments: argparse.Namespace, found: dict[str, Any]) -> None:
    from crossover_models.dataset.scene_file import write_whole
    from crossover_models.evaluation.suite.page import page

    text = json.dumps(found, indent=1, allow_nan=False) + "\n"
    if str(arguments.json) == "-":
        sys.stdout.write(text)
    places = {arguments.json: text} if arguments.json is not None and str(arguments.json) != "-" else {}
    if arguments.out is not None:
        places[arguments.out / RESULTS] = text
    if arguments.markdown is not None:
        folder = _picture_folder(arguments)
        assert folder is not None
        there = [
            (title, f"{folder.name}/{name}") for title, name in found.get("pictures", []) if (folder / name).is_file()
        ]
        places[arguments.markdown] = page(found, there)
    for path, content in places.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content.encode())
