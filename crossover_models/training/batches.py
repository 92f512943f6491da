"""From rooms to what the network is fed: random parts of them for training, all of them for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossover_models.encoders.inputs import Voxels, cloud_voxels
from crossover_models.encoders.network import UnifiedNetwork
from crossover_models.encoders.profile import EncoderProfile
from crossover_models.training.room_sample import RoomSample

ITEMS = ("I", "P", "F", "M", "R", "Ir", "Pr")
"""Images, points, floor plan, meshes and referrals of the map; images and points as a robot on a drive sees them."""

_LEAST_POINTS = 50
_PRESENT = 0.9


@dataclass(frozen=True)
class Batch:
    """Inputs of B rooms; rows of an absent item hold zeros and are masked.

    Attributes:
        views: item -> ((B, V, view), (B, V) which exist) for "I" and "Ir".
        plans: (B, plan).
        texts: (B, text).
        clouds: item -> voxels of each room, None where absent, for "P", "Pr" and "M".
        present: item -> (B,) bool.
    """

    views: dict[str, tuple[Tensor, Tensor]]
    plans: Tensor
    texts: Tensor
    clouds: dict[str, list[Voxels | None]]
    present: dict[str, Tensor]


def _padded(rows: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    most = max(len(r) for r in rows)
    views = torch.zeros(len(rows), most, rows[0].shape[1])
    mask = torch.zeros(len(rows), most, dtype=torch.bool)
    for i, row in enumerate(rows):
        views[i, : len(row)] = torch.from_numpy(np.ascontiguousarray(row))
        mask[i, : len(row)] = True
    return views, mask


def stack_clouds(clouds: Sequence[Voxels | None]) -> tuple[Tensor, Tensor, list[int]]:
    """Voxels (N, 4) with batch index, features (N, C), and the rows of ``clouds`` that exist."""
    rows = [i for i, cloud in enumerate(clouds) if cloud is not None]
    kept = [cloud for cloud in clouds if cloud is not None]
    coordinates = np.concatenate(
        [np.pad(c.coordinates, ((0, 0), (1, 0)), constant_values=i) for i, c in enumerate(kept)]
    )
    return torch.from_numpy(coordinates), torch.from_numpy(np.concatenate([c.features for c in kept])), rows


def _varied(points: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Random size and noise (CrossOver's augmentation, milder: a plan is metric); z stays on the floor."""
    varied = points * rng.uniform(0.97, 1.03) + rng.normal(0.0, 0.01, points.shape)
    return np.asarray(varied, dtype=np.float32)


def _turn(rng: np.random.Generator) -> float:
    """A quarter turn, which the alignment with the walls leaves open, and what it gets wrong, radians."""
    return float(rng.integers(4) * np.pi / 2 + rng.normal(0.0, np.deg2rad(3.0)))


def _seen_part(points: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Half of the time only what lies on one side of a vertical plane: a robot seldom sees the whole room."""
    if len(points) and rng.random() < 0.5:
        direction = rng.uniform(0.0, 2.0 * np.pi)
        along = points[:, 0] * np.cos(direction) + points[:, 1] * np.sin(direction)
        points = np.asarray(points[along <= np.quantile(along, rng.uniform(0.5, 1.0))], dtype=np.float32)
    return points


def _contiguous(views: NDArray[np.float32], most: int, rng: np.random.Generator) -> NDArray[np.float32]:
    count = int(rng.integers(1, min(most, len(views)) + 1))
    start = int(rng.integers(0, len(views) - count + 1))
    return views[start : start + count]


def _cloud(
    profile: EncoderProfile, points: NDArray[np.float32], rng: np.random.Generator | None = None
) -> Voxels | None:
    if len(points) < _LEAST_POINTS:
        return None
    if rng is None:
        return cloud_voxels(profile, points, None)
    return cloud_voxels(profile, _varied(points, rng), None, _turn(rng))


def _masks(values: dict[str, list[bool]]) -> dict[str, Tensor]:
    return {item: torch.tensor(flags) for item, flags in values.items()}


def training_batch(
    samples: Sequence[RoomSample], profile: EncoderProfile, rng: np.random.Generator, with_clouds: int | None = None
) -> Batch:
    """Random views, sentences, headings, crops and pieces of furniture; each item dropped one time in ten.

    Only the first ``with_clouds`` rooms bring clouds: those cost a hundred times what the frozen features do, and more
    rooms mean more negatives for the others.
    """
    survey, robot, plans, texts = [], [], [], []
    clouds: dict[str, list[Voxels | None]] = {"P": [], "Pr": [], "M": []}
    for index, s in enumerate(samples):
        count = int(rng.integers(1, len(s.survey_views) + 1))
        survey.append(s.survey_views[rng.permutation(len(s.survey_views))[:count]])
        robot.append(_contiguous(s.robot_views, 4, rng))
        plans.append(s.plans[int(rng.integers(len(s.plans)))])
        texts.append(s.texts[0 if rng.random() < 0.5 else int(rng.integers(len(s.texts)))])
        if with_clouds is not None and index >= with_clouds:
            for values in clouds.values():
                values.append(None)
            continue
        clouds["P"].append(_cloud(profile, s.survey_points, rng))
        clouds["Pr"].append(_cloud(profile, _seen_part(s.robot_points, rng), rng))
        kept = rng.random(int(s.mesh_object.max(initial=-1)) + 1) < 0.85
        pieces = s.mesh_points[kept[s.mesh_object]] if len(s.mesh_points) else s.mesh_points
        clouds["M"].append(_cloud(profile, pieces, rng))
    present = {item: (rng.random(len(samples)) < _PRESENT).tolist() for item in ITEMS}
    for item, values in clouds.items():
        clouds[item] = [v if keep else None for v, keep in zip(values, present[item], strict=True)]
        present[item] = [v is not None for v in clouds[item]]
    return Batch(
        {"I": _padded(survey), "Ir": _padded(robot)},
        torch.from_numpy(np.stack(plans)),
        torch.from_numpy(np.stack(texts)),
        clouds,
        _masks(present),
    )


def whole_batch(samples: Sequence[RoomSample], profile: EncoderProfile, robot_frames: int = 4) -> Batch:
    """Everything of each room, unchanged; of the robot's drive its first ``robot_frames`` frames."""
    clouds = {
        "P": [_cloud(profile, s.survey_points) for s in samples],
        "Pr": [_cloud(profile, s.robot_points) for s in samples],
        "M": [_cloud(profile, s.mesh_points) for s in samples],
    }
    present = {item: [True] * len(samples) for item in ITEMS}
    present.update({item: [v is not None for v in values] for item, values in clouds.items()})
    return Batch(
        {
            "I": _padded([s.survey_views for s in samples]),
            "Ir": _padded([s.robot_views[:robot_frames] for s in samples]),
        },
        torch.from_numpy(np.stack([s.plans[0] for s in samples])),
        torch.from_numpy(np.stack([s.texts[0] for s in samples])),
        clouds,
        _masks(present),
    )


def embed(network: UnifiedNetwork, batch: Batch) -> dict[str, Tensor]:
    """Item -> (B, D); rows of absent items are zero. All clouds pass the 3D network as one batch."""
    out = {item: network.images(*batch.views[item]) for item in batch.views}
    out["F"] = network.floor_plan(batch.plans)
    out["R"] = network.text(batch.texts)
    names = sorted(batch.clouds)
    coordinates, features, rows = stack_clouds([cloud for name in names for cloud in batch.clouds[name]])
    points = network.points(coordinates, features, len(rows))
    rooms = len(batch.plans)
    everywhere = points.new_zeros(len(names) * rooms, points.shape[1]).index_copy(0, torch.tensor(rows), points)
    out.update(zip(names, torch.split(everywhere, rooms), strict=True))
    return out
