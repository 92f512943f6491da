"""Retrieval sheets: a query a row, and the places that a method named first; the right one is framed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.picture import cloud_picture, plan_picture
from crossover_models.dataset.scene import Scene, ScenePoints
from crossover_models.dataset.store import DataSet
from crossover_models.evaluation.suite.scans import EvaluatedScans
from crossover_models.evaluation.tasks.method import Method
from crossover_models.evaluation.tasks.ranking import first_ranks

SHEETS = (("I", "P"), ("I", "F"), ("P", "F"), ("I", "R"), ("P", "R"), ("I10", "P"))
SHOWN = 5
_TILE, _BAND, _MARGIN = (208, 156), 18, 6
_RIGHT, _SAME_TYPE, _WRONG, _INK, _WHITE = (0, 140, 90), (230, 159, 0), (190, 190, 190), (25, 25, 25), 255
_PARTS = {"I": "views", "P": "cloud", "M": "meshes", "F": "plans", "I1": "drive", "I10": "drive", "Pd": "drive"}
Picture = NDArray[np.uint8]


def retrieval_sheet(
    method: Method, data: EvaluatedScans, scenes: DataSet, pair: tuple[str, str], queries: int = 6, seed: int = 0
) -> Picture | None:
    """(H, W, 3) RGB: some queries, drawn at random, with the first places; None where the method has no answer.

    Args:
        method: whose answers.
        data: the scans.
        scenes: pictures of the same scans.
        pair: query and gallery.
        queries: rows.
        seed: of the draw; the same queries for every method.

    Raises:
        DataSetError: a scan that the data set does not have.
    """
    a, b = pair
    similarity, here, there = method.similarity(a, b), method.present(a), method.present(b)
    if similarity is None or here is None or there is None:
        return None
    kept = np.flatnonzero(here & there & data.has[a] & data.has[b] & data.places)
    if len(kept) < 2:
        return None
    block = similarity[np.ix_(kept, kept)]
    ranks = first_ranks(block, np.eye(len(kept), dtype=np.bool_))
    types = data.scans.categories
    tiles: dict[tuple[str, int], Picture] = {}

    def tile(item: str, row: int) -> Picture:
        if (item, row) not in tiles:
            parts = {_PARTS[item]} if item in _PARTS else set()
            tiles[item, row] = _tile(scenes.load(data.scans.scan_ids[row], parts), item)
        return tiles[item, row]

    lines = [_heads(f"query: {a}", [f"{b}: place {k + 1}" for k in range(min(SHOWN, len(kept)))])]
    for i in np.sort(np.random.default_rng(seed).permutation(len(kept))[:queries]):
        own = int(kept[i])
        line = [_framed(tile(a, own), f"{types[own]}: right at {int(ranks[i]) + 1} of {len(kept)}", _INK)]
        for j in np.argsort(-block[i], kind="stable")[:SHOWN]:
            place = int(kept[j])
            color = _RIGHT if place == own else _SAME_TYPE if types[place] == types[own] else _WRONG
            line.append(_framed(tile(b, place), types[place] + (", right" if place == own else ""), color))
        lines.append(np.hstack(line))
    return np.vstack(lines)


def _heads(query: str, places: Sequence[str]) -> Picture:
    return np.hstack(
        [_texted(np.full((22, _TILE[0] + 2 * _MARGIN, 3), _WHITE, np.uint8), t, 16) for t in (query, *places)]
    )


def _framed(tile: Picture, caption: str, color: tuple[int, int, int]) -> Picture:
    out = np.full((_TILE[1] + _BAND + 2 * _MARGIN, _TILE[0] + 2 * _MARGIN, 3), _WHITE, np.uint8)
    out[2 : 2 + _TILE[1] + 2 * (_MARGIN - 2), 2:-2] = color
    out[_MARGIN : _MARGIN + _TILE[1], _MARGIN:-_MARGIN] = tile
    return _texted(out, caption, out.shape[0] - 7)


def _texted(picture: Picture, text: str, row: int) -> Picture:
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(picture, plain, (_MARGIN, row), cv2.FONT_HERSHEY_SIMPLEX, 0.42, _INK, 1, cv2.LINE_AA)
    return picture


def _tile(scene: Scene, item: str) -> Picture:
    drive = scene.drive
    if item == "I" and scene.views:
        return _mosaic([view.image for view in scene.views], 4)
    if item == "I10" and drive is not None and drive.views:
        return _mosaic([view.image for view in drive.views], 4)
    if item == "I1" and drive is not None and drive.views:
        return _fitted(drive.views[0].image)
    if item == "P" and scene.cloud is not None:
        return cloud_picture(scene.cloud, _TILE)
    if item == "Pd" and drive is not None and drive.cloud is not None:
        return cloud_picture(drive.cloud, _TILE, "height")
    if item == "F" and scene.plans:
        return _fitted(plan_picture(scene.plans[0]))
    if item == "M":
        return _models(scene)
    return _written(" ".join((*scene.description, *(r.utterance for r in scene.referrals))))


def _mosaic(images: Sequence[Picture], count: int) -> Picture:
    """Up to four pictures, evenly spread, two by two."""
    chosen = [images[int(i)] for i in np.linspace(0, len(images) - 1, min(count, len(images)))]
    if len(chosen) < count:
        return _fitted(chosen[0])
    half = (_TILE[0] // 2, _TILE[1] // 2)
    small = [_fitted(image, half) for image in chosen]
    return np.vstack([np.hstack(small[:2]), np.hstack(small[2:])])


def _models(scene: Scene) -> Picture:
    """Corners of the posed CAD models from above, colored by height."""
    points = [
        o.cad.vertices @ o.T_scene_object[:3, :3].T + o.T_scene_object[:3, 3]
        for o in scene.objects
        if o.cad is not None
    ]
    cloud = np.concatenate(points) if points else np.zeros((0, 3))
    return cloud_picture(ScenePoints(cloud.astype(np.float32)), _TILE, "height")


def _written(text: str) -> Picture:
    out = np.full((_TILE[1], _TILE[0], 3), _WHITE, np.uint8)
    for k, line in enumerate(textwrap.wrap(text, 36)[:11]):
        plain = line.encode("ascii", "replace").decode()
        cv2.putText(out, plain, (3, 13 + 14 * k), cv2.FONT_HERSHEY_SIMPLEX, 0.33, _INK, 1, cv2.LINE_AA)
    return out


def _fitted(image: NDArray[Any], size: tuple[int, int] = _TILE) -> Picture:
    """The whole picture in a box (width, height), on white."""
    scale = min(size[0] / image.shape[1], size[1] / image.shape[0])
    width, height = max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    out = np.full((size[1], size[0], 3), _WHITE, np.uint8)
    row, col = (size[1] - height) // 2, (size[0] - width) // 2
    out[row : row + height, col : col + width] = cv2.resize(image, (width, height), interpolation=way)
    return out
