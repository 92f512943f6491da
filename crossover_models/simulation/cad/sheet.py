"""Pictures of a library's models by category, for people to check labels and fronts.

``python -m crossover_models.simulation.cad.sheet --out models.png`` also writes the models' authors and licences to
``models.txt``, as the licences ask wherever pictures are shown. All fronts face the viewer, a little to the left.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Mesh
from crossover_models.simulation.appearance import Appearance, Light
from crossover_models.simulation.cad.sweet_home import CatalogModel, SweetHomeLibrary, load_model
from crossover_models.simulation.camera import PinholeCamera, optical_pose, render
from crossover_models.simulation.raycast import RayScene
from crossover_models.simulation.shapes import MeshBuilder

_VIEW = PinholeCamera(168, 140, 40.0)
_LABEL_PX = 26
_BEARING_RAD = -0.5
_PITCH_RAD = 0.38


def model_picture(mesh: Mesh, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(140, 168, 3) uint8 RGB: a model in its own frame on a plain floor, seen from its front."""
    extent = float(np.ptp(mesh.vertices, axis=0).max())
    unit = Mesh(mesh.vertices / np.float32(extent), mesh.faces, mesh.face_colors)
    middle = np.array([0.0, 0.0, float(unit.vertices[:, 2].max()) / 2])
    backward = np.array([np.cos(_BEARING_RAD) * np.cos(_PITCH_RAD), np.sin(_BEARING_RAD) * np.cos(_PITCH_RAD), 0.0])
    backward[2] = np.sin(_PITCH_RAD)
    floor = MeshBuilder()
    floor.quad([[-8, -8, -0.002], [8, -8, -0.002], [8, 8, -0.002], [-8, 8, -0.002]], (214, 214, 210))
    lamp = Light(np.array([1.2, -1.6, 2.4]), np.full(3, 1.6))
    look = Appearance((lamp,), np.full(3, 0.45), np.ones(3), 1.0, 2.2, 0.0)
    pose = optical_pose(middle + 2.1 * backward, _BEARING_RAD + np.pi, _PITCH_RAD)
    return render(RayScene([floor.mesh(), unit]), look, _VIEW, pose, rng).image


def model_sheet(models: Sequence[CatalogModel], columns: int = 10) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB: each model with its category, name and split."""
    rng = np.random.default_rng(0)
    tiles = []
    for model in models:
        tile = np.full((_VIEW.height + _LABEL_PX, _VIEW.width, 3), 255, dtype=np.uint8)
        tile[: _VIEW.height] = model_picture(load_model(model), rng)
        for line, text in enumerate((f"{model.category} ({model.split})", model.model_id)):
            at = (3, _VIEW.height + 10 + 12 * line)
            cv2.putText(tile, text[:34], at, cv2.FONT_HERSHEY_SIMPLEX, 0.33, (0, 0, 0), 1, cv2.LINE_AA)
        tiles.append(tile)
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])


def main(argv: Sequence[str] | None = None) -> int:
    """Write the sheet and, beside it, whom to credit."""
    parser = argparse.ArgumentParser(description="Picture sheet of the furniture catalogs' models")
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    parser.add_argument("--folder", type=Path, help="where the catalogs (*.sh3f) lie")
    parser.add_argument("--category", action="append", help="only this one; may be repeated")
    arguments = parser.parse_args(argv)
    library = SweetHomeLibrary(arguments.folder)
    models = [m for m in library.models() if arguments.category is None or m.category in arguments.category]
    if not models:
        raise SystemExit(f"--category: no model of {', '.join(arguments.category)}")
    models.sort(key=lambda m: (m.category, m.model_id))
    if not cv2.imwrite(str(arguments.out), cv2.cvtColor(model_sheet(models), cv2.COLOR_RGB2BGR)):
        raise OSError(f"{arguments.out}: cannot be written")
    credits = library.credits([f"sweet-home/{m.model_id}" for m in models])
    arguments.out.with_suffix(".txt").write_text("\n".join(credits) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
