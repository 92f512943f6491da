"""Training of the object recognizer on rendered instance ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from crossover_models.dataset.scene import View
from crossover_models.dataset.store import DataSet
from crossover_models.encoders.efficientnet import EfficientNetLite0
from crossover_models.sets.recognizer import GRID, ObjectRecognizer
from crossover_models.training.errors import TrainingError

LEAST_OBJECTS = 20
"""Categories with fewer objects in the training split are not told apart."""
_LEAST_SHARE = 2e-4
"""Of a picture's pixels in a cell: less is not seen."""
_RARE_WEIGHT = 3.0
_CELLS_WEIGHT = 10.0
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SeenObjects:
    """Pictures of one split as the recognizer sees them.

    Attributes:
        mid: (V, 112, 14, 14) float16 maps of the front end.
        last: (V, 1280, 7, 7) float16.
        shown: (V, C, 14, 14) bool, which category a cell shows.
    """

    mid: NDArray[np.float16]
    last: NDArray[np.float16]
    shown: NDArray[np.bool_]


def known_categories(data: DataSet, least: int = LEAST_OBJECTS) -> tuple[str, ...]:
    """Categories that the training split has often enough, the most frequent first.

    Raises:
        TrainingError: there is none.
    """
    counts = Counter(thing.category for scan in data.scan_ids("train") for thing in data.load(scan, parts=()).objects)
    found = tuple(name for name, count in counts.most_common() if count >= least and name)
    if not found:
        most = max((count for name, count in counts.items() if name), default=0)
        raise TrainingError(f"{data.folder}: no category has {least} objects in its training scans (at most {most})")
    return found


def seen_objects(
    data: DataSet, split: str, categories: Sequence[str], folder: Path, tell: Progress | None = None
) -> SeenObjects:
    """Maps and labels of all pictures that have instance ids; kept in ``folder``, read from there the next time."""
    files = {name: folder / f"{split}_{name}.npy" for name in ("mid", "last", "shown")}
    if not all(path.is_file() for path in files.values()):
        front_end, index = EfficientNetLite0(), {name: i for i, name in enumerate(categories)}
        mids, lasts, shown = [], [], []
        scans = data.scan_ids(split)
        for number, scan_id in enumerate(scans, 1):
            scene = data.load(scan_id, parts=("views", "depth"))
            views = [view for view in scene.views if view.instance is not None]
            if views:
                mid, last = front_end.maps([view.image for view in views])
                mids.append(mid.numpy().astype(np.float16))
                lasts.append(last.numpy().astype(np.float16))
                names = [index.get(thing.category, -1) for thing in scene.objects]
                shown.append(np.stack([_shown(view, names, len(categories)) for view in views]))
            if tell is not None:
                tell(number, len(scans))
        folder.mkdir(parents=True, exist_ok=True)
        for name, parts in (("mid", mids), ("last", lasts), ("shown", shown)):
            partial = files[name].with_suffix(".partial.npy")
            np.save(partial, np.concatenate(parts))
            partial.replace(files[name])
    arrays = {name: np.load(path, mmap_mode="r", allow_pickle=False) for name, path in files.items()}
    return SeenObjects(arrays["mid"], arrays["last"], arrays["shown"])


def _shown(view: View, names: Sequence[int], count: int) -> NDArray[np.bool_]:
    """(C, 14, 14) of one picture."""
    assert view.instance is not None
    height, width = view.instance.shape
    rows = np.arange(height) * GRID // height
    cell = rows[:, None] * GRID + (np.arange(width) * GRID // width)[None, :]
    category = np.append(np.asarray(names, dtype=np.int64), -1)[view.instance]
    there = category >= 0
    counts = np.zeros((count, GRID * GRID), dtype=np.int64)
    np.add.at(counts, (category[there], cell[there]), 1)
    seen = counts >= max(1.0, _LEAST_SHARE * height * width)
    return np.asarray(seen.reshape(count, GRID, GRID), dtype=np.bool_)


class RecognizerStage:
    """Binary cross-entropy a cell and category, and a picture and category; the score is the mean AUC by picture."""

    name = "recognizer"

    def __init__(self, module: ObjectRecognizer, train: SeenObjects, val: SeenObjects) -> None:
        self.module: nn.Module = module
        self._network, self._train, self._val = module, train, val

    def rows(self) -> int:
        """Number of training pictures."""
        return len(self._train.mid)

    def loss(self, rows: Sequence[int], rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        """Mean over the pictures; half of the batches are mirrored."""
        chosen = np.sort(np.asarray(rows))
        mid, last = (
            torch.from_numpy(array[chosen].astype(np.float32)) for array in (self._train.mid, self._train.last)
        )
        shown = torch.from_numpy(self._train.shown[chosen].astype(np.float32))
        if rng.random() < 0.5:
            mid, last, shown = mid.flip(3), last.flip(3), shown.flip(3)
        logits = self._network(mid, last)
        weight = torch.tensor(_RARE_WEIGHT)
        cells = functional.binary_cross_entropy_with_logits(logits, shown, pos_weight=weight)
        whole = functional.binary_cross_entropy_with_logits(logits.flatten(2).amax(2), shown.flatten(2).amax(2))
        return _CELLS_WEIGHT * cells + whole

    def validate(self) -> dict[str, float]:
        """Mean area under the curve over the categories that at least ten validation pictures show."""
        self.module.eval()
        most = []
        with torch.inference_mode():
            for start in range(0, len(self._val.mid), 64):
                mid, last = (
                    torch.from_numpy(a[start : start + 64].astype(np.float32)) for a in (self._val.mid, self._val.last)
                )
                most.append(self._network(mid, last).flatten(2).amax(2).numpy())
        self.module.train()
        scores = np.concatenate(most)
        truth = np.asarray(self._val.shown.any(axis=(2, 3)), dtype=np.bool_)
        values = [area_under_curve(scores[:, c], truth[:, c]) for c in range(truth.shape[1]) if truth[:, c].sum() >= 10]
        return {"score": float(np.mean(values)) if values else 0.0, "categories": float(len(values))}


def area_under_curve(scores: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    """Probability that a positive scores higher than a negative (ties count half)."""
    order = np.sort(scores)
    rank = (np.searchsorted(order, scores, "left") + np.searchsorted(order, scores, "right")) / 2.0
    positive, negative = int(truth.sum()), int((~truth).sum())
    if not positive or not negative:
        return float("nan")
    # Mann-Whitney: of the rank sum, what positives take from each other is taken out.
    own = np.sort(scores[truth])
    among = (np.searchsorted(own, own, "left") + np.searchsorted(own, own, "right")) / 2.0
    return float((rank[truth].sum() - among.sum()) / (positive * negative))
