"""Opening whatever is compared: ``NAME=KIND:CHECKPOINT``, with kinds that are imported when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

from crossover_models.evaluation.tasks.instances import SceneObjects
from crossover_models.evaluation.tasks.method import Method
from crossover_models.evaluation.tasks.ranking import Array, Mask
from crossover_models.training.feature_set import FeatureSet

Opener = Callable[[Path | None, FeatureSet, Path | None], Method]
"""Checkpoint (None where the kind needs none), scans, and the folder of their data set where it is at hand."""
CHANCE = "chance"


class MethodError(ValueError):
    """A method that cannot be opened; the message names it."""


def _later(module: str, function: str) -> Opener:
    def opened(checkpoint: Path | None, features: FeatureSet, scenes: Path | None) -> Method:
        opener = cast("Opener", getattr(import_module(module), function))
        return opener(checkpoint, features, scenes)

    return opened


_PEERS = "crossover_models.evaluation.peers"
OPENERS: dict[str, Opener] = {
    "reference": _later("crossover_models.reference.method", "open_reference"),
    "sets": _later("crossover_models.sets.method", "open_sets"),
    "baseline": _later(f"{_PEERS}.baseline", "open_baseline"),
    "ulip2": _later(f"{_PEERS}.ulip", "open_ulip"),
    "pointbind": _later(f"{_PEERS}.pointbind", "open_pointbind"),
    "trivial": _later(f"{_PEERS}.trivial", "open_trivial"),
    "colors": _later(f"{_PEERS}.trivial", "open_colors"),
    "layouts": _later(f"{_PEERS}.trivial", "open_layouts"),
    "types": _later(f"{_PEERS}.trivial", "open_types"),
    "living_scenes": _later(f"{_PEERS}.living_scenes", "open_living_scenes"),
}
UNLEARNED = ("trivial", "colors", "layouts", "types")
"""Kinds that learn nothing, without a checkpoint: for every pair the one that applies, and each of them alone."""


@dataclass(frozen=True)
class Named:
    """One method as the user named it; several with the same name are seeds of one.

    Attributes:
        name: in tables and JSON.
        kind: key of :data:`OPENERS`.
        checkpoint: None where the kind needs none.
    """

    name: str
    kind: str
    checkpoint: Path | None

    @staticmethod
    def parse(text: str, option: str = "--method", beside: Path | None = None) -> Named:
        """``NAME=KIND:CHECKPOINT`` or ``NAME=KIND``; a relative checkpoint lies ``beside``.

        Raises:
            MethodError: another form, or an unknown kind.
        """
        name, equals, rest = text.partition("=")
        kind, _, where = rest.partition(":")
        if not equals or not name.strip() or not kind:
            raise MethodError(f"{option} {text}: expected NAME=KIND:CHECKPOINT")
        if name == CHANCE:
            raise MethodError(f"{option} {text}: {CHANCE} is a row of its own")
        if kind not in OPENERS:
            raise MethodError(f"{option} {text}: unknown kind {kind!r}, expected one of {', '.join(OPENERS)}")
        path = None if not where else Path(where) if beside is None else beside / where
        return Named(name.strip(), kind, path)


@dataclass(frozen=True)
class System:
    """A method under its name: one checkpoint, or one for each seed.

    Attributes:
        name: in tables and JSON.
        kind: key of :data:`OPENERS`.
        checkpoints: names of the files, in order.
        seeds: the opened methods, in order.
    """

    name: str
    kind: str
    checkpoints: tuple[str, ...]
    seeds: tuple[Method, ...]


def open_systems(
    named: Sequence[Named],
    features: FeatureSet,
    scenes: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[System, ...]:
    """Open all methods, in the order of their names' first occurrence.

    Raises:
        MethodError: one name for two kinds, or a method that cannot be imported; what an opener raises.
    """
    groups: dict[str, list[Named]] = {}
    for one in named:
        groups.setdefault(one.name, []).append(one)
    out = []
    for name, members in groups.items():
        kinds = {one.kind for one in members}
        if len(kinds) > 1:
            raise MethodError(f"--method {name}: seeds of one method are of one kind, got {', '.join(sorted(kinds))}")
        seeds: list[Method] = []
        for one in members:
            progress(name if len(members) == 1 else f"{name}, seed {len(seeds) + 1} of {len(members)}")
            try:
                seeds.append(Remembered(OPENERS[one.kind](one.checkpoint, features, scenes)))
            except ModuleNotFoundError as error:
                raise MethodError(f"--method {name}: kind {one.kind} needs {error.name}, which is missing") from None
        files = tuple(one.checkpoint.name for one in members if one.checkpoint is not None)
        out.append(System(name, members[0].kind, files, tuple(seeds)))
    return tuple(out)


class Remembered:
    """A method whose similarities are computed once: several tasks ask for the same ones."""

    def __init__(self, method: Method) -> None:
        self._method = method
        self.name, self.emergent = method.name, method.emergent
        self._similarities: dict[tuple[str, str], Array | None] = {}
        self._objects: dict[str, tuple[SceneObjects, ...] | None] = {}

    def present(self, item: str) -> Mask | None:
        """See :class:`Method`."""
        return self._method.present(item)

    def similarity(self, query: str, gallery: str) -> Array | None:
        """See :class:`Method`."""
        if (query, gallery) not in self._similarities:
            self._similarities[query, gallery] = self._method.similarity(query, gallery)
        return self._similarities[query, gallery]

    def vectors(self, item: str) -> Array | None:
        """See :class:`Method`."""
        return self._method.vectors(item)

    def objects(self, item: str) -> tuple[SceneObjects, ...] | None:
        """See :class:`Method`."""
        if item not in self._objects:
            self._objects[item] = self._method.objects(item)
        return self._objects[item]


def read_systems(path: Path) -> tuple[tuple[Named, ...], tuple[Named, ...]]:
    """Methods and ablation rows of a YAML file: ``methods:`` and ``ablation:``, name -> ``KIND:CHECKPOINT`` or a list.

    Relative checkpoints lie beside the file.

    Raises:
        MethodError: not such a file.
    """
    import yaml

    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise MethodError(f"--systems {path}: cannot be read: {error}".splitlines()[0]) from None
    if not isinstance(told, dict) or not told or not told.keys() <= {"methods", "ablation"}:
        raise MethodError(f"--systems {path}: expected the keys methods and ablation, and no others")
    out = []
    for part in ("methods", "ablation"):
        rows = told.get(part) or {}
        if not isinstance(rows, Mapping):
            raise MethodError(f"--systems {path}: {part}: expected name: KIND:CHECKPOINT")
        found = []
        for name, value in rows.items():
            for one in value if isinstance(value, list) else [value]:
                found.append(Named.parse(f"{name}={one}", f"--systems {path}: {part}:", path.parent))
        out.append(tuple(found))
    return out[0], out[1]
