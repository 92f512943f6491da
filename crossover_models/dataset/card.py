"""The data card: what a data set holds, how it was made, what it may be used for, and what it cannot show."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from crossover_models.dataset.info import Holdings, holdings
from crossover_models.dataset.picture import PARTS as PICTURED
from crossover_models.dataset.picture import scan_picture, sheet, write_picture
from crossover_models.dataset.scene import MODALITIES
from crossover_models.dataset.store import SPLITS, DataSet
from crossover_models.dataset.trivial import PARTS as TRIVIAL_PARTS
from crossover_models.dataset.trivial import TrivialFeatures, trivial_features, trivial_recalls

Progress = Callable[[str, int, int], None]
_EXAMPLES = 2
_SIMULATED = """\
Everything here is **simulated**: no sensor of any real room was involved.

- **Rooms.** Layouts are drawn by a generator (rooms along a corridor, doors, windows, furniture by type of room)
  or, where ProcTHOR was given, taken from ProcTHOR-10K's single rooms (Apache-2.0). A share of surfaces carries
  small things.
- **Furniture.** CAD models of Sweet Home 3D's catalogs, chosen by type and nearest shape and scaled to the piece's
  box, where Debian's package is installed; parametric models for what the catalogs lack, or for everything without
  it.
- **Images.** Ray casting (Embree) with Lambert shading, shadows of up to three lamps, procedural textures,
  automatic exposure, white balance, gamma and noise. No reflections, no motion blur, no lens distortion.
- **Point clouds.** A survey lidar from two to four tripods (range noise, drop-out by chance and at grazing
  incidence), of which a few pictures color a part; or an RGB-D camera on a walk (noise growing with the square of
  the distance, holes at edges, 0.4 to 5 m). Partial, cut at the room's walls, thinned.
- **A robot's drive.** Contiguous frames and one to six sweeps of a 16-beam lidar on up to 1.5 m of way, on another
  day: some furniture is gone, the light is another. A query, never part of a map.
- **CAD.** The catalog's colors. What stands in the room is painted otherwise, on every day alike.
- **Floor plans.** Eight styles, drawn by somebody who did not measure: scale errors of about 1 %, symbols near the
  true pieces, some missing, some too many; occupancy grids and densities of a survey of their own.
- **Text.** Templates over the objects' boxes; each referral is true of exactly one object.
- **Rescans.** The same room after things moved, went and came; object ids stay.
"""
_LIMITS = """\
- Rooms are rectangles and unions of rectangles; walls are vertical; there are no stairs, no curved walls and no
  people.
- Textures repeat over faces of one color; glass is opaque to light and lidar; mirrors do not mirror.
- Small things are few and simple; what people really leave about is richer.
- Templated text has a small vocabulary: figures on it say nothing about free speech.
- The trivial baselines below know the objects' true types or the plan's exact scale: they bound what a shortcut
  gives, and a method below them on a pair has not used what is there.
"""


def write_card(data: DataSet, path: Path, progress: Progress = lambda *_: None) -> dict[str, Any]:
    """Write the card (Markdown) with its pictures beside it; returns the figures of the trivial baselines by split.

    Raises:
        SceneError: a damaged scene file.
        OSError: a file cannot be written.
    """
    found = holdings(data)
    figures: dict[str, Any] = {}
    ids = data.scan_ids()
    done = 0
    for split in SPLITS:
        features: list[TrivialFeatures] = []
        seen: set[str] = set()
        for scan_id in data.scan_ids(split):
            scene = data.load(scan_id, TRIVIAL_PARTS)
            done += 1
            progress("reading", done, len(ids))
            # A room and its rescan would be each other's wrong answers.
            if scene.room_id not in seen:
                seen.add(scene.room_id)
                features.append(trivial_features(scene))
        figures[split] = trivial_recalls(features, partial(progress, f"plans of {split}"))
    pictures = path.parent / f"{path.stem}-pictures"
    write_picture(pictures / "sheet.jpg", sheet(data, 24))
    examples = [ids[int(k * (len(ids) - 1) / max(1, _EXAMPLES - 1))] for k in range(min(_EXAMPLES, len(ids)))]
    for k, scan_id in enumerate(dict.fromkeys(examples), start=1):
        write_picture(pictures / f"scan-{k}.jpg", scan_picture(data.load(scan_id, PICTURED)))
    path.parent.mkdir(parents=True, exist_ok=True)
    text = card_text(data, found, figures, pictures.name, len(dict.fromkeys(examples)), _credits(data))
    unfinished = path.with_name(path.name + ".partial")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
    return figures


def card_text(
    data: DataSet,
    found: Holdings,
    figures: dict[str, Any],
    pictures: str,
    examples: int,
    credits: tuple[str, ...],
) -> str:
    """The card as Markdown."""
    info = data.info
    lines = [f"# Data card: {info.source}", "", f"Made by `{info.command}`.", ""]
    lines += [_SIMULATED if info.simulated else "Read from the published files; nothing here is simulated.\n"]
    lines += ["## What it holds", "", _table(["", *SPLITS], _holdings_rows(found)), ""]
    if info.simulated:
        lines += [
            "No room, building or CAD model is in two splits; making a set ends with a check of exactly that, and "
            "refuses otherwise.",
            "",
        ]
    lines += [
        "## What it weighs",
        "",
        _table(["part", "MB a scan"], [[part, f"{mb:.3f}"] for part, mb in found.mb_per_scan.items()]),
        "",
        f"{found.total_mb:.0f} MB in all; 2,000 scans would take {2 * sum(found.mb_per_scan.values()):.1f} GB.",
        "",
    ]
    lines += ["## What methods that learn nothing reach", "", _trivial_intro(), ""]
    for split in SPLITS:
        rows = [
            [
                name,
                *(f"{100 * values[f'r{k}']:.0f}" for k in (1, 5, 10)),
                f"{values['n']:.0f}",
                f"{100 * values['chance']:.1f}",
            ]
            for name, values in figures.get(split, {}).items()
        ]
        if rows:
            header = ["baseline, query-gallery", "R@1 [%]", "R@5 [%]", "R@10 [%]", "rooms", "chance R@1 [%]"]
            lines += [f"### {split}", "", _table(header, rows), ""]
    lines += [
        "## Settings",
        "",
        _table(["setting", "value"], [[k, str(v)] for k, v in sorted(info.settings.items())]),
        "",
    ]
    lines += [
        "## Pictures",
        "",
        f"24 random scans: two views, a floor plan, the cloud from above.\n\n![sheet]({pictures}/sheet.jpg)",
        "",
    ]
    lines += [f"![one scan with every modality]({pictures}/scan-{k}.jpg)\n" for k in range(1, examples + 1)]
    if info.simulated:
        lines += ["## Limits", "", _LIMITS]
    if credits:
        lines += ["## Attribution", "", "CAD models shown or contained, with author and licence:", ""]
        lines += [f"- {line}" for line in credits]
    return "\n".join(lines).rstrip() + "\n"


def _trivial_intro() -> str:
    return (
        "`I` images, `I1` one image, `D` ten frames of a robot's drive, `D1` one of them, `P` point cloud, `M` CAD, "
        "`F` floor plan, `R` text. Colors: histograms. Plans: correlation of the cloud's walls with the ink over all "
        "yaws and shifts. Types: the *true* types of the objects (in view, in the cloud, with CAD) against those that "
        "the text names."
    )


def _holdings_rows(found: Holdings) -> list[list[str]]:
    rows = [
        [name, *(str(counts[split]) for split in SPLITS)]
        for name, counts in (
            ("rooms", found.rooms),
            ("scans", found.scans),
            ("buildings", found.buildings),
            ("CAD models", found.models),
        )
    ]
    for modality in MODALITIES:
        name = f"scans with {modality.value.replace('_', ' ')}"
        rows.append([name, *(str(found.present[split][modality.value]) for split in SPLITS)])
    kinds = sorted({kind for counts in found.categories.values() for kind in counts})
    rows += [[kind, *(str(found.categories[split][kind]) for split in SPLITS)] for kind in kinds]
    return rows


def _credits(data: DataSet) -> tuple[str, ...]:
    ids = {o.cad_id for scene in data.scenes(None, ()) for o in scene.objects if o.cad_id.startswith("sweet-home/")}
    if not ids:
        return ()
    from crossover_models.simulation.cad.library import LibraryError, open_library

    try:
        return open_library("sweet-home").credits(sorted(ids))
    except LibraryError:
        return ("models of Sweet Home 3D's catalogs (CC-BY 3.0 and CC0); install them to list the authors",)


def _table(header: list[str], rows: list[list[str]]) -> str:
    out = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*out, *("| " + " | ".join(row) + " |" for row in rows)])
