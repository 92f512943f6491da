"""Reading an IFC file in another process first: on some damaged files the geometry kernel crashes its process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossover_models.building import BuildingError

# A large building takes minutes; a file on which the kernel turns in circles takes for ever.
TIMEOUT_S = 1200.0


def check_survives(path: Path, kinds: Sequence[str]) -> None:
    """Triangulate every element of ``kinds`` in a child process, whose death is then only an error.

    Raises:
        BuildingError: the child was killed by a signal, which the message names, or did not end in ``TIMEOUT_S``.
    """
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
    command = [sys.executable, __file__, str(path), *kinds]
    try:
        child = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise BuildingError(
            f"{path}: damaged IFC file: the geometry kernel did not finish within {TIMEOUT_S:.0f} s"
        ) from None
    # Other failures of the child are exceptions, which the reader meets itself and says more about.
    if child.returncode < 0:
        raise BuildingError(f"{path}: damaged IFC file: the geometry kernel crashes on it (signal {-child.returncode})")


def triangulate(path: str, kinds: Sequence[str]) -> None:
    """What the child does: every shape once, nothing kept."""
    import ifcopenshell
    import ifcopenshell.geom

    model: Any = ifcopenshell.open(path)
    make_settings: Any = ifcopenshell.geom.settings
    settings = make_settings()
    settings.set("use-world-coords", True)
    for kind in kinds:
        try:
            elements = model.by_type(kind)
        except RuntimeError:  # the class does not exist in this schema
            continue
        for element in elements:
            if element.Representation is None:
                continue
            try:
                ifcopenshell.geom.create_shape(settings, element)
            except RuntimeError:
                continue


if __name__ == "__main__":
    triangulate(sys.argv[1], sys.argv[2:])
