"""Similarity matrices and maps of the embedding space, as PNG."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from crossover_models.dataset.scene_file import write_whole
from crossover_models.evaluation.report_style import GRID, INK, PLACE_COLORS, QUIET
from crossover_models.evaluation.suite.scans import EvaluatedScans
from crossover_models.evaluation.suite.tsne import MOST, tsne
from crossover_models.evaluation.tasks.method import MAP_ITEMS, PAIRS, Method

ITEM_NAMES = {"I": "images", "P": "point cloud", "M": "CAD", "F": "floor plan", "R": "text"}
_DPI = 110
_MARKS = ("o", "s", "^", "D", "v")
_QUERIES = 300


def matrices(method: Method, data: EvaluatedScans, name: str) -> Figure | None:
    """Similarities of every pair, places sorted by type of room; each row from its least to its largest value.

    None where the method compares nothing.
    """
    order = sorted(np.flatnonzero(data.places)[:_QUERIES], key=lambda i: data.scans.categories[i])
    panels = []
    for a, b in PAIRS:
        similarity = method.similarity(a, b)
        here, there = method.present(a), method.present(b)
        if similarity is None or here is None or there is None:
            continue
        kept = [i for i in order if here[i] and there[i] and data.has[a][i] and data.has[b][i]]
        if len(kept) > 1:
            panels.append((f"{a}-{b}", similarity[np.ix_(kept, kept)], [data.scans.categories[i] for i in kept]))
    if not panels:
        return None
    columns = min(5, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(2.3 * columns, 2.55 * rows + 0.5), layout="constrained")
    for index, (pair, values, types) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, index + 1)
        low, high = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
        axes.imshow((values - low) / np.maximum(high - low, 1e-9), cmap="viridis", vmin=0.0, vmax=1.0)
        axes.set_title(pair, fontsize=10, color=INK)
        axes.set(xticks=[], yticks=[])
        _type_lines(axes, types)
    figure.suptitle(f"{name}: similarities (rows ask), places sorted by type of room", fontsize=11, color=INK)
    return figure


def _type_lines(axes: Axes, types: list[str]) -> None:
    for i in np.flatnonzero(np.array(types[1:]) != np.array(types[:-1])):
        for draw in (axes.axhline, axes.axvline):
            draw(i + 0.5, color="white", linewidth=0.5, alpha=0.7)


def embedding_map(method: Method, data: EvaluatedScans, name: str) -> Figure | None:
    """t-SNE of the global vectors of all modalities: by modality, and by type of room; None without vectors."""
    vectors, items, places = [], [], []
    for item in MAP_ITEMS:
        found, there = method.vectors(item), method.present(item)
        if found is None or there is None:
            continue
        kept = np.flatnonzero(there & data.has[item] & data.places)[: MOST // len(MAP_ITEMS)]
        vectors.append(found[kept])
        items += [item] * len(kept)
        places += kept.tolist()
    if sum(map(len, vectors)) < 4 or len({v.shape[1] for v in vectors}) != 1:
        return None
    spots = tsne(np.concatenate(vectors))
    types = [data.scans.categories[i] or "unknown" for i in places]
    figure = Figure(figsize=(9.6, 4.9), layout="constrained")
    labels = {item: name for item, name in ITEM_NAMES.items() if item in items}
    _scatter(figure.add_subplot(1, 2, 1), spots, [labels[i] for i in items], "by modality", _links(spots, places))
    _scatter(figure.add_subplot(1, 2, 2), spots, types, "by type of room", [])
    figure.suptitle(f"{name}: t-SNE of the scans' vectors", fontsize=11, color=INK)
    return figure


def _links(spots: NDArray[np.float64], places: list[int]) -> list[NDArray[np.float64]]:
    """A star from each scan's middle to its modalities."""
    out = []
    for place in set(places):
        own = spots[[i for i, p in enumerate(places) if p == place]]
        out += [np.stack([own.mean(axis=0), spot]) for spot in own]
    return out


def _scatter(
    axes: Axes, spots: NDArray[np.float64], labels: list[str], title: str, links: list[NDArray[np.float64]]
) -> None:
    for ends in links:
        axes.plot(*ends.T, color=GRID, linewidth=0.5, zorder=0)
    for k, name in enumerate(dict.fromkeys(labels)):
        own = spots[[i for i, label in enumerate(labels) if label == name]]
        color, mark = PLACE_COLORS[k % len(PLACE_COLORS)], _MARKS[(k // len(PLACE_COLORS) + k) % len(_MARKS)]
        axes.scatter(own[:, 0], own[:, 1], s=13, color=color, marker=mark, linewidths=0, label=name)
    axes.set_title(title, fontsize=10, color=INK)
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set_color(QUIET)
    count = len(set(labels))
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.02),
        ncols=min(count, 4),
        fontsize=7,
        frameon=False,
        handletextpad=0.2,
    )


def write_figure(path: Path, figure: Figure) -> None:
    """Write as PNG; the file is whole or as before at any moment."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, buffer.getvalue())
