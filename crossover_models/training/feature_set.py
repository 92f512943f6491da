"""All scans of one split of a feature cache, in memory: what training and evaluation read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crossover_models.dataset.features import FeaturesError, SceneFeatures, load_features
from crossover_models.dataset.features_make import FOLDER
from crossover_models.dataset.store import SUFFIX


@dataclass(frozen=True)
class FeatureSet:
    """Scans in the order of their ids; their widths agree.

    Attributes:
        scans: features of each scan.
        source: where they are from, for messages.
    """

    scans: tuple[SceneFeatures, ...]
    source: str

    def __post_init__(self) -> None:
        if not self.scans:
            raise FeaturesError(f"{self.source}: no scans")
        first = self.scans[0]
        for scan in self.scans:
            for name in ("views", "plans", "texts"):
                width, other = getattr(first, name).shape[1], getattr(scan, name).shape[1]
                if width != other:
                    raise FeaturesError(
                        f"{self.source}: {scan.scan_id}: {name}: width {other}, but {width} in {first.scan_id}; "
                        "features of different front ends cannot be mixed"
                    )

    def __len__(self) -> int:
        return len(self.scans)

    def __iter__(self) -> Iterator[SceneFeatures]:
        return iter(self.scans)

    @staticmethod
    def open(folder: Path, split: str, most: int | None = None) -> FeatureSet:
        """Read a split of what ``crossover data features`` wrote; at most ``most`` scans.

        Raises:
            FeaturesError: no such split, or a damaged file; the first is named.
        """
        place = folder / FOLDER / split
        if not place.is_dir():
            raise FeaturesError(f"{place}: no features of split {split!r}; `crossover data features` makes them")
        paths = sorted(place.glob(f"*{SUFFIX}"))[:most]
        return FeatureSet(tuple(load_features(path) for path in paths), str(place))
