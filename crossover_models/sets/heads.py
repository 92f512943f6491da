"""The second phase: what clouds and rasters give stays as it is and is kept, and everything behind it goes on learning.

A step costs a twentieth then. Pairs with pictures and texts, which learn slowly, gain most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from crossover_models.dataset.features import SceneFeatures
from crossover_models.sets import batches
from crossover_models.sets.attributes import Attributes
from crossover_models.sets.codes import Codes
from crossover_models.sets.inputs import padded, stacked
from crossover_models.sets.network import OBJECT_GEOMETRY, SetsNetwork
from crossover_models.sets.palette import COLORS
from crossover_models.sets.stage import SetsModule, SetsStage, category_loss


@dataclass(frozen=True)
class Kept:
    """Of one scan: what was pooled and laid out, one row a variant.

    Attributes:
        clouds: of the scan and of the drive: (n, parts) and (n, C, 32, 32); n is 0 to 2.
        palettes: of those clouds (n, 64).
        mesh: of the CAD models; n is 0 or 1.
        plans: of every drawing.
    """

    clouds: tuple[Tensor, Tensor]
    palettes: Tensor
    mesh: tuple[Tensor, Tensor]
    plans: tuple[Tensor, Tensor]


def keep(network: SetsNetwork, scan: SceneFeatures, sources: batches.Sources) -> Kept:
    """Pass a scan's clouds and rasters through the frozen networks, in evaluation mode."""
    clouds = [batches.cloud(scan, sources, None, driven) for driven in (False, True)]
    there = [cloud for cloud in clouds if cloud is not None]
    models = batches.mesh(scan, sources, None)
    with torch.inference_mode():
        none = network.laid(torch.zeros(0, 4, 64, 64), "points")
        seen, palettes = none, torch.zeros(0, COLORS)
        if there:
            coordinates, features, colors, rasters, _ = batches.cloud_tensors(there, None)
            seen, palettes = network.point_parts(coordinates, features, colors, rasters)[:2], colors
        mesh = none if models is None else network.laid(stacked([models.raster]), "points")
        plans = network.laid(torch.from_numpy(scan.plan_rasters / 255.0).float(), "plan")
    return Kept(_plain(seen), palettes.clone(), _plain(mesh), _plain(plans))


def _plain(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The same numbers, fit for training: tensors of inference mode are not."""
    return pair[0].clone(), pair[1].clone()


class HeadsStage(SetsStage):
    """As :class:`SetsStage`, with clouds and rasters kept; their networks are frozen."""

    name = "heads"

    def __init__(
        self,
        module: SetsModule,
        train: Sequence[SceneFeatures],
        val: Sequence[SceneFeatures],
        sources: batches.Sources,
        attributes: Attributes,
        withheld: frozenset[frozenset[str]] = frozenset(),
        legacy_columns: bool = False,
    ) -> None:
        super().__init__(module, train, val, sources, attributes, withheld, legacy_columns)
        module.network.clouds.requires_grad_(False)
        module.network.layouts.requires_grad_(False)
        module.eval()
        self._kept = [keep(module.network, scan, sources) for scan in train]

    def _encoded(
        self, rows: Sequence[int], draw: batches.Augment
    ) -> tuple[dict[str, Codes], dict[str, Tensor], Tensor]:
        network, scans = self._own.network, [self._train[i] for i in rows]
        kept = [self._kept[i] for i in rows]
        first = scans[0]
        codes: dict[str, Codes] = {}
        present: dict[str, Tensor] = {}
        evidence = max(s.view_objects.shape[1] for s in self._train)
        for item in ("I", "D"):
            seen = [batches.survey(s, draw) if item == "I" else batches.drive(s, draw) for s in scans]
            codes[item] = network.images(*batches.views_tensors(seen, (first.views.shape[1], evidence)))
            present[item] = torch.tensor([v is not None for v in seen])
        chosen = [draw.row(len(k.clouds[0])) for k in kept]
        palettes = _rows([(k.palettes, k.palettes) for k in kept], chosen)[0]
        codes["P"] = network.points_from(*_rows([k.clouds for k in kept], chosen), palettes)
        meshes = [batches.mesh(s, self._sources, draw) for s in scans]
        shape_dim = next(iter(self._sources.shapes.values())).shape[1]
        shapes, mask, _, labels = batches.mesh_tensors(meshes, shape_dim + OBJECT_GEOMETRY, None)
        laid = _rows([k.mesh for k in kept], [0 if m is not None else None for m in meshes])
        codes["M"], logits = network.mesh(shapes, mask, laid)
        drawn = [draw.row(len(k.plans[0])) for k in kept]
        plans = torch.stack(
            [
                torch.zeros(first.plans.shape[1]) if row is None else torch.from_numpy(scan.plans[row])
                for scan, row in zip(scans, drawn, strict=True)
            ]
        )
        codes["F"] = network.floor_plan(plans, _rows([k.plans for k in kept], drawn))
        said, there = padded([batches.sentences(s, draw) for s in scans], first.texts.shape[1])
        codes["R"] = network.text(said, there)
        present |= {"P": _any(chosen), "M": mask.any(dim=1), "F": _any(drawn), "R": there.any(dim=1)}
        return codes, present, category_loss(network, logits, labels)


def _rows(pairs: Sequence[tuple[Tensor, Tensor]], chosen: Sequence[int | None]) -> tuple[Tensor, Tensor]:
    """The chosen variant of each scan; zero for None."""

    def chosen_rows(side: int) -> Tensor:
        return torch.stack(
            [
                pair[side].new_zeros(pair[side].shape[1:]) if row is None else pair[side][row]
                for pair, row in zip(pairs, chosen, strict=True)
            ]
        )

    return chosen_rows(0), chosen_rows(1)


def _any(chosen: Sequence[int | None]) -> Tensor:
    return torch.tensor([row is not None for row in chosen])
