"""Objects of a ScanNet scan: what was annotated on its mesh, with the CAD model that Scan2CAD aligned to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.readers.scan2cad import PlacedModel, matched
from crossover_models.dataset.readers.scannet_labels import Annotation
from crossover_models.dataset.scene import SceneObject


@dataclass(frozen=True)
class ScanObjects:
    """Objects of a scan and where they are seen.

    Attributes:
        objects: in the annotation's order.
        of_vertex: (V,) int32 index into ``objects``, -1 for none; None for a scan without annotation.
        of_number: ``objectId`` -> index into ``objects``.
        structure: indices of walls, floors and ceilings among ``objects``.
        others: CAD models of no annotated object, as objects; only a plan shows them.
    """

    objects: tuple[SceneObject, ...] = ()
    of_vertex: NDArray[np.int32] | None = None
    of_number: dict[int, int] | None = None
    structure: frozenset[int] = frozenset()
    others: tuple[SceneObject, ...] = ()

    def of_picture(self, numbers: NDArray[np.int64]) -> NDArray[np.int32]:
        """Picture (H, W) of ``objectId`` as one of indices into ``objects``, -1 for none."""
        unique, inverse = np.unique(numbers, return_inverse=True)
        index = np.array([(self.of_number or {}).get(int(n), -1) for n in unique], dtype=np.int32)
        return index[inverse].reshape(numbers.shape)


def object_name(scan_id: str, number: int | str) -> str:
    """``object_id``: ScanNet numbers each scan's objects anew, so the same number in a rescan is another object."""
    return f"{scan_id}/{number}"


def scan_objects(
    scan_id: str,
    points: NDArray[np.float64],
    annotation: Annotation,
    models: Sequence[PlacedModel],
    structure: bool,
    left_out: Counter[str],
) -> ScanObjects:
    """Objects of a scan; one with a CAD model has the model's pose and extents, others their points' bounds.

    Args:
        scan_id: the scan.
        points: (V, 3) mesh vertices, scene frame.
        annotation: of those vertices.
        models: CAD models in the scene.
        structure: walls, floors and ceilings are objects too (never with CAD).
        left_out: counts what finds no place.
    """
    left_out["segments that two objects claim"] += annotation.shared_segments
    of_instance = np.full(len(annotation.instances) + 1, -1, dtype=np.int32)
    boxes: dict[int, NDArray[np.float64]] = {}
    for i, instance in enumerate(annotation.instances):
        if instance.is_structure and not structure:
            continue
        own = points[annotation.of_vertex == i]
        if not len(own):
            left_out["objects without a vertex"] += 1
            continue
        of_instance[i] = len(boxes)
        boxes[i] = np.stack([own.min(axis=0), own.max(axis=0)])
    furniture = [i for i in boxes if not annotation.instances[i].is_structure]
    pairs = matched(models, [boxes[i] for i in furniture])
    found = {furniture[k]: models[m] for k, m in pairs.items()}
    others = tuple(
        SceneObject(object_name(scan_id, f"cad {m}"), "", model.T_scene_object, model.size_m, model.mesh, model.cad_id)
        for m, model in enumerate(models)
        if m not in pairs.values()
    )
    left_out["CAD models of no annotated object"] += len(others)
    objects = []
    for i, (low, high) in boxes.items():
        instance = annotation.instances[i]
        object_id = object_name(scan_id, instance.object_id)
        if i in found:
            model = found[i]
            thing = SceneObject(object_id, instance.label, model.T_scene_object, model.size_m, model.mesh, model.cad_id)
        else:
            pose = np.eye(4)
            pose[:3, 3] = (low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]
            thing = SceneObject(object_id, instance.label, pose, high - low)
        objects.append(thing)
    of_number = {annotation.instances[i].object_id: int(of_instance[i]) for i in boxes}
    solid = frozenset(int(of_instance[i]) for i in boxes if annotation.instances[i].is_structure)
    # Vertices without an instance have the index -1: the last entry, which is -1 too.
    return ScanObjects(tuple(objects), of_instance[annotation.of_vertex], of_number, solid, others)
