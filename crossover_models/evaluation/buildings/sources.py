"""Which source files a program is made of, so that a result is kept as long as none of them changes, and no longer.

Found by reading import statements, those inside functions too; a module that is imported by a name made at run time
must be named by the caller.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import crossover_models
from crossover_models.evaluation.buildings.cases import digest

PACKAGE = Path(crossover_models.__file__).parent
# Beside a module: what it may read while it runs.
_DATA = (".json", ".safetensors", ".npz")


def package_roots() -> dict[str, Path]:
    """Folder of each package whose files count, by its name; the ROS side only where it is there."""
    roots = {"crossover_models": PACKAGE, "crossover_ros": PACKAGE.parent / "crossover_ros"}
    return {name: path for name, path in roots.items() if path.is_dir()}


@cache
def modules_digest(modules: tuple[str, ...], without: tuple[str, ...] = ()) -> str:
    """Of the version, and of all files that these modules are made of (see :func:`module_files`)."""
    files = module_files(modules, package_roots(), without)
    sums = [[str(name), hashlib.sha256(path.read_bytes()).hexdigest()] for name, path in sorted(files.items())]
    return digest([crossover_models.__version__, sums])


def module_files(modules: Sequence[str], roots: Mapping[str, Path], without: Sequence[str] = ()) -> dict[str, Path]:
    """Name -> path of the sources of modules (dotted names) with all that they import from ``roots``, and data files.

    Of a package only ``__init__.py`` and what is imported from it counts; a name that is no module of ``roots`` is
    somebody else's and left out. Modules in ``without``, or below one of them, are not followed: imported for their
    types alone, they make no difference.
    """
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _path(name, roots)
        if path is None or name in found or any(name == w or name.startswith(f"{w}.") for w in without):
            continue
        found[name] = path
        # Importing a.b.c runs a and a.b first.
        waiting += [name.rsplit(".", k)[0] for k in range(1, name.count(".") + 1)]
        waiting += _imported(path, name)
    out: dict[str, Path] = dict(found)
    for folder in {path.parent for path in found.values()}:
        root = next(r for r in roots.values() if r == folder or r in folder.parents)
        for path in folder.iterdir():
            if path.suffix in _DATA and path.is_file():
                out[f"{root.name}/{path.relative_to(root).as_posix()}"] = path
    return out


def _path(module: str, roots: Mapping[str, Path]) -> Path | None:
    top, *rest = module.split(".")
    if top not in roots:
        return None
    base = roots[top].joinpath(*rest)
    package, plain = base / "__init__.py", base.with_suffix(".py")
    return package if package.is_file() else plain if rest and plain.is_file() else None


def _imported(path: Path, module: str) -> Iterator[str]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            yield base
            # What is imported from a package may be a module of it.
            yield from (f"{base}.{alias.name}" for alias in node.names)
