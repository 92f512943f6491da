"""A picture of a database: plan, places, doors, lifts and furniture of each level, to scale."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import shapely

from crossover_models.floor_plan import FREE, OCCUPIED, FloorPlan
from crossover_models.map_database.file_format import DatabaseError
from crossover_models.places import interior_point

if TYPE_CHECKING:
    from crossover_models.map_database.store import LevelRecord, MapDatabase

COLUMNS = 2
FOOT = 0.05  # strip below a plan, in its heights, for the scale bar
LETTERS_ACROSS = 85  # of size 8 fit across a plan


def draw_database(database: MapDatabase, out: Path, level: str = "") -> None:
    """Draw all levels, or one named ``LEVEL`` or ``BUILDING/LEVEL``, into a PNG, SVG or PDF file.

    Raises:
        DatabaseError: no such level, or a file name that matplotlib cannot write.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    if out.is_dir() or not out.suffix:  # matplotlib would add .png and write somewhere else
        raise DatabaseError(f"--out {out}: expected a file name that ends in .png, .svg or .pdf")
    levels = [
        record
        for record in database.levels()
        if level in ("", record.key.level_id, f"{record.key.building_id}/{record.key.level_id}")
    ]
    if not levels:
        held = ", ".join(f"{record.key.building_id}/{record.key.level_id}" for record in database.levels())
        raise DatabaseError(f"--level {level}: not in {database.path}; it holds {held}")
    columns = min(COLUMNS, len(levels))
    rows = -(-len(levels) // columns)
    plans = [database.floor_plan(record.key) for record in levels]
    shape = max(plan.size_m[1] / plan.size_m[0] for plan in plans)
    width = 9.0 if columns > 1 else 12.0
    figure, axes = plt.subplots(
        rows, columns, figsize=(width * columns, (width * shape + 0.8) * rows), squeeze=False, layout="constrained"
    )
    try:
        for axis, record, plan in zip(axes.flat, levels, plans, strict=False):
            _draw_level(axis, database, record, plan)
        for axis in axes.flat[len(levels) :]:
            axis.axis("off")
        figure.savefig(out, dpi=110)
    except ValueError as error:
        raise DatabaseError(f"--out {out}: {' '.join(str(error).split())}") from None
    finally:
        plt.close(figure)


def _draw_level(axis: Any, database: MapDatabase, record: LevelRecord, plan: FloorPlan) -> None:
    rows, cols = plan.occupancy.shape
    (x0, y0), (width, height) = plan.origin_xy, plan.size_m
    shade = np.full((rows, cols, 3), 232, dtype=np.uint8)
    shade[plan.occupancy == FREE] = 255
    shade[plan.occupancy == OCCUPIED] = 45
    axis.imshow(shade, origin="lower", extent=(x0, x0 + width, y0, y0 + height), interpolation="nearest")
    places = database.places(record.key.building_id, record.key.level_id)
    for k, place in enumerate(places):
        color = f"C{k % 10}"
        axis.fill(*place.polygon.T, color=color, alpha=0.22, linewidth=0)
    for _, furnishing in database.furnishings(record.key):
        corners = np.ascontiguousarray(furnishing.mesh.vertices[:, :2], dtype=np.float32)
        if len(corners) >= 3:
            outline = cv2.convexHull(corners)[:, 0]
            axis.fill(*outline.T, facecolor="#b08d57", alpha=0.45, edgecolor="#6b5330", linewidth=0.6)
    for door in database.doors(record.key):
        axis.plot(*door.segment.T, color="#1f77b4", linewidth=2.2, solid_capstyle="butt")
    for lift in database.lifts(record.key):
        axis.plot(*lift.position, marker="s", color="#7b3294", markersize=9)
        style = {"fontsize": 8, "color": "#7b3294", "parse_math": False}
        axis.annotate(lift.name, lift.position, xytext=(6, 6), textcoords="offset points", **style)
    for place in places:
        _label(axis, place.name, shapely.Polygon(place.polygon), width)
    _scale_bar(axis, plan)
    title = f"{record.key.building_id} / {record.name}   {width:.1f} x {height:.1f} m, {len(places)} places"
    axis.set_title(title, parse_math=False)
    axis.set_xlabel("x (m)")
    axis.set_ylabel("y (m)")
    axis.set_aspect("equal")
    axis.set_xlim(x0, x0 + width)
    axis.set_ylim(y0 - FOOT * height, y0 + height)


def _label(axis: Any, name: str, outline: shapely.Polygon, plan_width_m: float) -> None:
    """A place's name in its middle, small and on several lines where the place is small."""
    inside = outline.contains(outline.centroid)
    x, y = outline.centroid.coords[0] if inside else interior_point(np.asarray(outline.exterior.coords)[:-1])
    room_m = outline.bounds[2] - outline.bounds[0]
    letters = max(6, int(room_m / plan_width_m * LETTERS_ACROSS))
    text = textwrap.fill(name, letters, break_long_words=False)
    size = 8.0 if max(map(len, text.splitlines()), default=0) <= letters else 6.0
    # Names are the users': "$5 shop" is no formula.
    style = {"fontsize": size, "weight": "bold", "linespacing": 0.95, "parse_math": False}
    axis.annotate(text, (x, y), ha="center", va="center", **style)


def _scale_bar(axis: Any, plan: FloorPlan) -> None:
    """Below the plan, where it hides nothing."""
    (x0, y0), (width, height) = plan.origin_xy, plan.size_m
    length = max((v for v in (1, 2, 5, 10, 20, 50) if v <= width / 4), default=1)
    x, y = x0 + 0.03 * width, y0 - 0.5 * FOOT * height
    axis.plot([x, x + length], [y, y], color="black", linewidth=3, solid_capstyle="butt")
    axis.annotate(f"{length} m", (x + length, y), xytext=(6, 0), textcoords="offset points", va="center", fontsize=9)
