"""What the network with explicit sets is fed: rasters, poses, posed models, attributes."""

from __future__ import annotations

import numpy as np
import pytest
from sets_features import sets_rooms

from crossover_models.floor_plan import FREE, OCCUPIED, FloorPlan
from crossover_models.sets.attributes import Attributes, common_attributes, outline_size
from crossover_models.sets.inputs import posed_points, view_geometry
from crossover_models.sets.palette import palette
from crossover_models.sets.raster import CELL_M, CELLS, plan_raster, points_raster


def _room(rng: np.random.Generator, length: float = 6.0, width: float = 4.0) -> np.ndarray:
    along = rng.uniform(-0.5, 0.5, (4000, 2)) * [length, width]
    side = rng.integers(0, 2, 4000)
    sign = rng.choice([-0.5, 0.5], 4000)
    along[np.arange(4000), side] = sign * np.array([length, width])[side]
    walls = np.column_stack([along, rng.uniform(0.2, 2.4, 4000)])
    floor = np.column_stack([rng.uniform(-0.5, 0.5, (3000, 2)) * [length, width], np.zeros(3000)])
    return np.concatenate([walls, floor]).astype(np.float32)


def _turned(points: np.ndarray, degrees: float, shift: tuple[float, float]) -> np.ndarray:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    out = points.copy()
    out[:, :2] = points[:, :2] @ np.array([[c, s], [-s, c]]) + shift
    return out.astype(np.float32)


def test_a_raster_does_not_depend_on_the_frame_but_for_quarter_turns() -> None:
    points = _room(np.random.default_rng(0))
    here = points_raster(points).astype(float)
    there = points_raster(_turned(points, 37.0, (50.0, -20.0))).astype(float)
    best = max(np.corrcoef(here.ravel(), np.rot90(there, k, axes=(1, 2)).ravel())[0, 1] for k in range(4))
    assert best > 0.75


def test_bands_hold_what_lies_in_them() -> None:
    raster = points_raster(_room(np.random.default_rng(1)))
    half = CELLS // 2
    assert raster[0, half, half] > 0 and (raster[1:, half, half] == 0).all()
    spans = [np.ptp(np.flatnonzero(raster[2].max(axis=a))) * CELL_M for a in (0, 1)]
    assert abs(max(spans) - 6.0) < 0.5 and abs(min(spans) - 4.0) < 0.5


def test_no_points_give_an_empty_raster() -> None:
    assert not points_raster(np.zeros((0, 3), np.float32)).any()


def test_plan_and_cloud_of_one_room_lie_on_each_other() -> None:
    occupancy = np.full((200, 200), FREE, dtype=np.int8)
    occupancy[40:120, 40] = occupancy[40:120, 160] = OCCUPIED
    occupancy[40, 40:161] = occupancy[119, 40:161] = OCCUPIED
    plan = FloorPlan(occupancy, 0.05, (-4.0, -3.0))
    polygon = np.array([[-2.0, -1.0], [4.0, -1.0], [4.0, 3.0], [-2.0, 3.0]])
    drawn = plan_raster(plan, polygon)
    walls = points_raster(_room(np.random.default_rng(2)))[2]
    best = max(np.corrcoef((drawn[0] > 50).ravel(), (np.rot90(walls, k) > 50).ravel())[0, 1] for k in range(4))
    assert best > 0.6
    assert abs((drawn[1] > 127).sum() * CELL_M**2 - 24.0) < 2.5


def test_what_poses_say_does_not_depend_on_the_frame() -> None:
    rng = np.random.default_rng(3)
    poses = np.tile(np.eye(4, dtype=np.float32), (7, 1, 1))
    poses[:, :3, 3] = rng.uniform(-2, 2, (7, 3))
    looks = rng.uniform(0, 2 * np.pi, 7)
    poses[:, 0, 2], poses[:, 1, 2] = np.cos(looks), np.sin(looks)
    T = np.eye(4)
    T[:2, :2] = [[0.6, -0.8], [0.8, 0.6]]
    T[:3, 3] = [9.0, -4.0, 1.0]
    assert np.allclose(view_geometry(poses), view_geometry((T @ poses).astype(np.float32)), atol=1e-5)
    one = view_geometry(poses[:1])
    assert np.allclose(one, [0.0, 0.0, 1.0, 0.1], atol=1e-6)
    assert not view_geometry(poses[:0]).any()


def test_models_stand_where_their_objects_do_in_their_own_size() -> None:
    scan = sets_rooms(3).scans[1]
    for index in np.flatnonzero(scan.object_cad >= 0).tolist():
        points = posed_points(scan, index).astype(float)
        local = (points - scan.object_poses[index][:3, 3]) @ scan.object_poses[index][:3, :3]
        assert np.allclose(np.ptp(local, axis=0), scan.object_sizes[index], atol=1e-3)
        assert abs(local[:, 2].min()) < 1e-3
        assert np.allclose(local[:, :2].min(axis=0), -local[:, :2].max(axis=0), atol=1e-3)


def test_palette_is_a_share_of_colors() -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[:2] = [255, 0, 0]
    shares = palette(picture) ** 2
    assert np.isclose(shares.sum(), 1.0) and np.isclose(shares.max(), 0.5) and (shares > 0).sum() == 2
    assert not palette(np.zeros((0, 3), np.uint8)).any()


def test_answers_come_from_what_is_there() -> None:
    scan = sets_rooms(2).scans[0]
    counts = {name: scan.object_categories.count(name) for name in set(scan.object_categories)}
    name = max(counts, key=lambda n: counts[n])
    asked = Attributes((name, name, "area", "zebra"), (1, counts[name] + 1, 1000, 1), (0.5,) * 4)
    assert asked.answers(scan).tolist() == [1.0, 0.0, 0.0, 0.0]


def test_unknown_outline_and_type_are_not_answered() -> None:
    from dataclasses import replace

    scan = replace(sets_rooms(2).scans[0], outline=np.zeros((0, 2), np.float32), category="")
    asked = Attributes(("area", "width", "type office", "box"), (4.0, 2.0, 1.0, 1.0), (0.5,) * 4)
    assert np.isnan(asked.answers(scan)).tolist() == [True, True, True, False]


def test_only_questions_that_divide_the_rooms_are_kept() -> None:
    rooms = sets_rooms(40)
    attributes = common_attributes(rooms.scans, ("box", "ball", "zebra"))
    assert "zebra" not in attributes.keys and all(0.03 <= rate <= 0.97 for rate in attributes.rates)
    again = Attributes.from_json(attributes.to_json())
    assert again.keys == attributes.keys and np.allclose(again.rates, attributes.rates, atol=1e-4)


@pytest.mark.parametrize("text", ["[]", "3", '[["a", 1.0, 1.0]]', '[["a", 1.0]]'])
def test_attributes_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="attributes"):
        Attributes.from_json(text)


def test_size_of_an_outline() -> None:
    area, length, width = outline_size(np.array([[0, 0], [5, 0], [5, 2], [0, 2]], dtype=float))
    assert np.allclose([area, length, width], [10.0, 5.0, 2.0], atol=1e-4)
