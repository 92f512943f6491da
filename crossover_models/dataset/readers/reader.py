"""What every reader of a published data set does: name its scans with their splits, and read one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from crossover_models.dataset.scene import Scene


class ReaderError(ValueError):
    """A root without the expected files, or a scan that cannot be read; the message names file and reason."""


@dataclass(frozen=True)
class ReaderOptions:
    """What a user may choose; a reader names the ones it goes by in ``uses``.

    Attributes:
        views: RGB views a scan, spread over its poses; all where there are fewer.
        referrals: SceneVerse's sentences: one JSON file, or a folder of them.
        scan2cad: Scan2CAD's ``full_annotations.json``.
        shapenet: folder of ShapeNetCore.v2 (``CATEGORY/MODEL/models/model_normalized.obj``).
        scenecad: SceneCAD's folder of layouts.
        structure: walls, floors and ceilings are objects too, as the paper's tables count them.
    """

    views: int = 20
    referrals: Path | None = None
    scan2cad: Path | None = None
    shapenet: Path | None = None
    scenecad: Path | None = None
    structure: bool = False

    def __post_init__(self) -> None:
        if self.views < 0:
            raise ReaderError(f"views: must be 0 or more, got {self.views}")


@dataclass(frozen=True)
class ReadScan:
    """One scan, and what of it could not be used.

    Attributes:
        scene: the scan.
        left_out: what was left out -> how often, e.g. ``{"frames without a pose": 12}``.
    """

    scene: Scene
    left_out: Mapping[str, int] = field(default_factory=dict)


class Reader(Protocol):
    """A published data set on disk. Making one looks for its files and reads its lists; scans are read one by one.

    ``Reader(root, options)`` raises :class:`ReaderError` where ``root`` lacks a file that the layout promises, naming
    the file looked for.
    """

    name: ClassVar[str]
    """As in papers, e.g. ``"ScanNet v2"``; it becomes ``Scene.source``."""
    uses: ClassVar[frozenset[str]]
    """Fields of :class:`ReaderOptions` that this reader goes by; others are refused when given."""

    def __init__(self, root: Path, options: ReaderOptions) -> None:
        """Open the set under its root."""
        ...

    def scan_ids(self) -> tuple[tuple[str, str], ...]:
        """(scan_id, split) of every scan that is there, sorted by scan_id; the published splits where given."""
        ...

    def read(self, scan_id: str) -> ReadScan:
        """Read one scan.

        Raises:
            ReaderError: a file of it is missing, broken or contradicts another one.
            OSError: a file cannot be read.
        """
        ...
