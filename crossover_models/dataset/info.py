"""What a data set holds and what it weighs, as tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from crossover_models.dataset.scene import MODALITIES
from crossover_models.dataset.scene_file import PARTS, check_scene
from crossover_models.dataset.store import SPLITS, DataSet

MB = 1e6


@dataclass(frozen=True)
class Holdings:
    """Counts and sizes.

    Attributes:
        scans: split -> number of scans.
        rooms: split -> number of rooms.
        buildings: split -> number of buildings.
        models: split -> number of CAD models.
        categories: split -> type of room -> rooms.
        present: split -> modality -> scans that have it.
        mb_per_scan: part of a scene file -> mean size, MB.
        total_mb: of all scene files.
    """

    scans: dict[str, int]
    rooms: dict[str, int]
    buildings: dict[str, int]
    models: dict[str, int]
    categories: dict[str, Counter[str]]
    present: dict[str, Counter[str]]
    mb_per_scan: dict[str, float]
    total_mb: float


def holdings(data: DataSet) -> Holdings:
    """Count and weigh every scene, checking each on the way.

    Raises:
        SceneError: a damaged file.
    """
    rooms: dict[str, set[str]] = {split: set() for split in SPLITS}
    buildings: dict[str, set[str]] = {split: set() for split in SPLITS}
    models: dict[str, set[str]] = {split: set() for split in SPLITS}
    categories: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    present: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    sizes: Counter[str] = Counter()
    for scan_id in data.scan_ids():
        sizes.update(check_scene(data.path(scan_id)))
        scene = data.load(scan_id, ())
        if scene.room_id not in rooms[scene.split]:
            categories[scene.split][scene.category or "unknown"] += 1
        rooms[scene.split].add(scene.room_id)
        buildings[scene.split].add(scene.building_id)
        models[scene.split] |= {o.cad_id for o in scene.objects if o.cad_id}
        present[scene.split].update(m.value for m in scene.recorded)
    count = max(1, len(data.scan_ids()))
    return Holdings(
        {split: len(data.scan_ids(split)) for split in SPLITS},
        {split: len(found) for split, found in rooms.items()},
        {split: len(found) for split, found in buildings.items()},
        {split: len(found) for split, found in models.items()},
        categories,
        present,
        {part: sizes[part] / MB / count for part in (*PARTS, "text and boxes")},
        sum(sizes.values()) / MB,
    )


def show_info(data: DataSet) -> None:
    """Print what :func:`holdings` finds, and the speed at which the set was made."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    found, console = holdings(data), Console()
    table = Table(title=Text(f"{data.folder} ({data.info.source})"))
    table.add_column("")
    for split in SPLITS:
        table.add_column(split, justify="right")
    for name, counts in (
        ("rooms", found.rooms),
        ("scans", found.scans),
        ("buildings", found.buildings),
        ("CAD models", found.models),
    ):
        table.add_row(name, *(str(counts[split]) for split in SPLITS))
    table.add_section()
    for modality in MODALITIES:
        table.add_row(
            f"scans with {modality.value.replace('_', ' ')}", *(str(found.present[s][modality.value]) for s in SPLITS)
        )
    table.add_section()
    for category in sorted({c for counts in found.categories.values() for c in counts}):
        table.add_row(category, *(str(found.categories[split][category]) for split in SPLITS))
    console.print(table)
    rooms = max(1, sum(found.rooms.values()))
    weights = Table(
        title=f"{found.total_mb:.1f} MB; 2,000 such rooms take {2000 * found.total_mb / rooms / 1e3:.2f} GB"
    )
    weights.add_column("part")
    weights.add_column("MB a scan", justify="right")
    for part, size in found.mb_per_scan.items():
        weights.add_row(part, f"{size:.3f}")
    weights.add_row("all", f"{sum(found.mb_per_scan.values()):.3f}")
    console.print(weights)
    notes = data.info.notes or {}
    seconds = notes.get("seconds", {})
    if seconds:
        scans = max(1, sum(found.scans.values()))
        times = Table(title="CPU seconds a scan, by stage")
        times.add_column("stage")
        times.add_column("s", justify="right")
        for stage, value in seconds.items():
            times.add_row(stage, f"{value / scans:.2f}")
        times.add_row("all", f"{sum(seconds.values()) / scans:.2f}")
        console.print(times)
    speed = notes.get("last_call", {})
    if speed.get("rooms"):
        console.print(
            f"{speed['rooms']} rooms in {speed['wall_s']:.0f} s by the last call: "
            f"{speed['rooms_per_min']:.1f} rooms/min with {notes['workers']} worker(s)"
        )
    for name, reason in notes.get("failed", []):
        console.print(f"left out: {name}: {reason}", markup=False, soft_wrap=True)
