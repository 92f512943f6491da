"""Open-RMF buildings: scale, frames, doors and rooms of planted files, and the real ones against their drawings."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from crossover_models.building import BuildingError, Level
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN
from crossover_models.geometry import transform_points_se2
from crossover_models.map_database.rmf import read_rmf
from crossover_models.map_database.rmf_file import read_rmf_file
from crossover_models.map_database.rmf_frames import level_frames

REAL = Path(__file__).parents[2] / "shared" / "data" / "rmf"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason=f"real Open-RMF buildings are not at {REAL}")
SCALE = 0.02  # metres a pixel


def two_rooms() -> dict[str, Any]:
    """Two rooms of 5 x 6 m side by side, 500 px wide and 300 high, a door between them; a sofa in the left one."""
    corners = [(100, 100), (350, 100), (600, 100), (600, 400), (350, 400), (100, 400), (350, 220), (350, 270)]
    vertices = [[x, y, 0.0, ""] for x, y in corners]
    vertices += [[200, 200, 0.0, "L1_kitchen"], [500, 300, 0.0, "robot_charger"], [480, 300, 0.0, "L1_meeting_rm_2"]]
    walls = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0), (1, 6), (7, 4)]
    door = {"name": [1, "d"], "type": [1, "hinged"], "motion_axis": [1, "start"]}
    return {
        "name": "building",
        "levels": {
            "L1": {
                "elevation": 0,
                "vertices": vertices,
                "walls": [[i, j, {}] for i, j in walls],
                "doors": [[6, 7, door]],
                "floors": [{"vertices": [0, 2, 3, 5], "parameters": {}}],
                "measurements": [[0, 2, {"distance": [3, 10.0]}]],
                "models": [
                    {"model_name": "OpenRobotics/Sofa", "name": "s", "x": 150, "y": 350, "z": 0, "yaw": 0},
                    {"model_name": "OpenRobotics/MaleVisitorSit", "name": "v", "x": 160, "y": 350, "z": 0, "yaw": 0},
                ],
                "fiducials": [[100, 100, "a"], [600, 100, "b"], [100, 400, "c"]],
            }
        },
        "lifts": {},
    }


def written(tmp_path: Path, root: dict[str, Any]) -> Path:
    path = tmp_path / "house.building.yaml"
    path.write_text(yaml.safe_dump(root))
    return path


def only_level(path: Path, scales: dict[str, float] | None = None) -> Level:
    (level,) = read_rmf(path, scales).levels
    return level


def test_planted_rooms_are_found_where_they_are(tmp_path: Path) -> None:
    building = read_rmf(written(tmp_path, two_rooms()))
    assert building.building_id == "house"
    (level,) = building.levels
    assert (level.level_id, level.name, level.elevation_m) == ("L1", "Level 1", 0.0)
    assert {place.name: place.category for place in level.places} == {
        "Kitchen": "kitchen", "Meeting room 2": "meeting room",
    }  # fmt: skip
    kitchen, meeting = sorted(level.places, key=lambda place: place.name)
    # Pixels go right and down from the top left: x 100..350 px is 2..7 m, y 100..400 px is -2..-8 m.
    assert np.allclose(kitchen.polygon.min(axis=0), [2.0, -8.0], atol=0.15)
    assert np.allclose(kitchen.polygon.max(axis=0), [7.0, -2.0], atol=0.15)
    assert np.allclose(meeting.polygon.max(axis=0), [12.0, -2.0], atol=0.15)
    assert "It holds a sofa." in kitchen.text and not any("visitor" in sentence for sentence in kitchen.text)
    assert "A door leads to Meeting room 2." in kitchen.text
    assert any("Robot charger" in sentence for sentence in meeting.text)
    assert not kitchen.furnishings  # models are only named: no meshes, so the modality is absent


def test_the_plan_has_walls_where_drawn_and_open_doors(tmp_path: Path) -> None:
    plan = only_level(written(tmp_path, two_rooms())).plan
    assert plan.value([(2.0, -5.0), (12.0, -5.0), (7.0, -3.0), (7.0, -7.0), (5.0, -2.0)]).tolist() == [OCCUPIED] * 5
    assert plan.value([(7.0, -4.9), (4.0, -5.0), (10.0, -5.0)]).tolist() == [FREE] * 3
    assert plan.value([(1.6, -5.0), (12.4, -5.0), (5.0, -1.6), (5.0, -8.4)]).tolist() == [UNKNOWN] * 4


def test_a_wall_drawn_through_a_door_is_open_there(tmp_path: Path) -> None:
    root = two_rooms()
    root["levels"]["L1"]["walls"].append([1, 4, {}])
    drawn, through = only_level(written(tmp_path, two_rooms())), only_level(written(tmp_path, root))
    assert np.array_equal(drawn.plan.occupancy, through.plan.occupancy)
    assert through.plan.value([(7.0, -4.9)]).tolist() == [FREE]


def test_walls_stand_with_a_lintel_over_the_door(tmp_path: Path) -> None:
    mesh = only_level(written(tmp_path, two_rooms())).structure
    assert mesh is not None
    corners = mesh.vertices[mesh.faces]
    upright = np.abs(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2]) < 1e-6
    middle = corners.mean(axis=1)
    in_door = (np.abs(middle[:, 0] - 7.0) < 0.06) & (middle[:, 1] > -5.35) & (middle[:, 1] < -4.45)
    assert (upright & in_door).any() and (corners[upright & in_door][..., 2] >= 2.2 - 1e-6).all()
    assert (mesh.vertices[:, 2].min(), mesh.vertices[:, 2].max()) == (0.0, 2.5)


def test_scale_is_the_mean_of_the_measurements_and_says_when_they_disagree(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = two_rooms()
    root["levels"]["L1"]["measurements"].append([0, 5, {"distance": [3, 9.0]}])  # 300 px: 0.03 m a pixel
    path = written(tmp_path, root)
    with caplog.at_level(logging.WARNING):
        frames = level_frames(path, read_rmf_file(path), {})
    assert frames["L1"].scale == pytest.approx(0.025)
    assert "measurements disagree, 0.02000 to 0.03000" in caplog.text


def test_a_plan_without_scale_names_the_level_and_the_cure(tmp_path: Path) -> None:
    root = two_rooms()
    del root["levels"]["L1"]["measurements"]
    path = written(tmp_path, root)
    with pytest.raises(BuildingError, match=r"house.building.yaml: level L1: no measurement.*--scale L1=") as caught:
        read_rmf(path)
    assert "\n" not in str(caught.value)
    given = only_level(path, {"L1": SCALE})
    assert np.array_equal(given.plan.occupancy, only_level(written(tmp_path, two_rooms())).plan.occupancy)
    with pytest.raises(BuildingError, match="scale given for level L7"):
        read_rmf(path, {"L7": SCALE})


def similar(points: NDArray[np.float64], scale: float, turn: float, shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (N, 2) turned, scaled and moved, with y down as in pictures."""
    up = points * [1.0, -1.0]
    cos, sin = np.cos(turn), np.sin(turn)
    return (scale * up @ np.array([[cos, sin], [-sin, cos]]) + shift) * [1.0, -1.0]


def test_fiducials_lay_levels_over_each_other(tmp_path: Path) -> None:
    root = two_rooms()
    below = root["levels"]["L1"]
    shift = np.array([40.0, -25.0])
    # The upper floor is drawn 1.5 times as large, turned by 20 degrees and moved; it has no measurement.
    upper: dict[str, Any] = {**below, "elevation": 4.0, "measurements": []}
    for key in ("vertices", "fiducials"):
        moved = similar(np.array([row[:2] for row in below[key]], dtype=float), 1.5, np.deg2rad(20.0), shift)
        upper[key] = [[float(x), float(y), *row[2:]] for (x, y), row in zip(moved, below[key], strict=True)]
    upper["models"] = []
    root["levels"]["L2"] = upper
    root["lifts"] = {
        "Lift1": {
            "x": 300, "y": 300, "yaw": 0.3, "width": 2.0, "depth": 2.0, "reference_floor_name": "L1",
            "level_doors": {"L1": ["d"], "L2": ["d"]}, "doors": {"d": {"width": 1.0, "x": 0.0, "y": 1.0}},
        }
    }  # fmt: skip
    building = read_rmf(written(tmp_path, root))
    first, second = building.levels
    assert np.allclose(first.T_building_map, 0.0)
    a = transform_points_se2(first.T_building_map, first.doors[0].segment)
    b = transform_points_se2(second.T_building_map, second.doors[0].segment)
    assert np.allclose(a, b, atol=1e-6)
    assert second.T_building_map[2] == pytest.approx(-np.deg2rad(20.0))
    assert second.elevation_m == 4.0
    lifts = [transform_points_se2(level.T_building_map, level.lifts[0].position[None]) for level in building.levels]
    assert np.allclose(lifts[0], [[6.0, -6.0]], atol=1e-9) and np.allclose(lifts[0], lifts[1], atol=1e-6)


def test_metric_drawings_need_no_scale_and_count_upward(tmp_path: Path) -> None:
    root = two_rooms()
    level = root["levels"]["L1"]
    root["coordinate_system"] = "cartesian_meters"
    level["measurements"] = []
    level["vertices"] = [[row[0] * SCALE, row[1] * SCALE, *row[2:]] for row in level["vertices"]]
    level["models"] = []
    plan = only_level(written(tmp_path, root)).plan
    assert plan.value([(7.0, 3.0), (4.0, 5.0)]).tolist() == [OCCUPIED, FREE]


def test_a_drawing_without_floors_is_free_where_its_walls_close(tmp_path: Path) -> None:
    root = two_rooms()
    root["levels"]["L1"]["floors"] = []
    plan = only_level(written(tmp_path, root)).plan
    assert plan.value([(4.0, -5.0), (10.0, -5.0), (7.0, -4.9)]).tolist() == [FREE] * 3
    assert plan.value([(1.6, -5.0), (12.4, -5.0)]).tolist() == [UNKNOWN] * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda level: level["walls"].append([0, 99, {}]), "level L1: wall 0-99: there are 11 vertices"),
        (
            lambda level: level["measurements"].append([0, 0, {"distance": [3, 1.0]}]),
            "measurement 0-0: 1.0 m over 0.0 px",
        ),
        (lambda level: level["measurements"].append([0, 1, {"distance": [3, -1.0]}]), "measurement 0-1: -1.0 m"),
        (lambda level: level["vertices"].append([float("nan"), 0, 0, ""]), "vertices: must be finite"),
        (lambda level: level["vertices"].append(["x"]), "level L1: could not convert"),
        (lambda level: level["floors"].append({"vertices": [0, 1]}), r"floor \[0, 1\]: needs at least 3"),
        (lambda level: level["floors"].append({}), "level L1: field 'vertices' is missing"),
        (lambda level: level["models"].append({"x": 1}), "level L1: field 'model_name' is missing"),
        (lambda level: level.update(walls=[], floors=[]), "level L1: no walls and no floors"),
        (
            lambda level: level["measurements"][0][2].update(distance=[3, 1e6]),
            "level L1: extent .* check units and scale",
        ),
    ],
)
def test_bad_fields_are_named_in_one_line(tmp_path: Path, change: Any, message: str) -> None:
    root = two_rooms()
    change(root["levels"]["L1"])
    with pytest.raises(BuildingError, match=message) as caught:
        read_rmf(written(tmp_path, root))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no levels"),
        ("- 1\n- 2\n", "no levels"),
        ("levels: {}\n", "no levels"),
        ("levels: {L1: [1, 2]}\n", "level L1: "),
        ("levels: {L1: {}}\ncoordinate_system: wgs84\n", "coordinate_system 'wgs84'"),
        ("a: [1, 2\nb: }", "not a YAML file"),
        ("!!python/object/apply:os.system ['true']", "not a YAML file"),
    ],
)
def test_what_is_no_building_gets_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.building.yaml"
    path.write_text(text)
    with pytest.raises(BuildingError, match=message) as caught:
        read_rmf(path)
    assert "\n" not in str(caught.value)


def test_a_drawing_that_is_no_picture_is_named(tmp_path: Path) -> None:
    root = two_rooms()
    root["levels"]["L1"]["drawing"] = {"filename": "house.png"}
    path = written(tmp_path, root)
    assert only_level(path).drawing is None
    (tmp_path / "house.png").write_text("no picture")
    with pytest.raises(BuildingError, match="is not a picture"):
        read_rmf(path)
    half = np.zeros((40, 60, 4), dtype=np.uint8)
    half[:, :30] = (0, 0, 255, 255)
    cv2.imwrite(str(tmp_path / "house.png"), half)
    drawing = only_level(path).drawing
    assert drawing is not None and drawing.shape == (40, 60, 3)
    assert drawing[0, 0].tolist() == [255, 0, 0] and drawing[0, -1].tolist() == [255, 255, 255]


def ink_under_walls(level: Level, scale: float) -> tuple[float, float]:
    """Share of wall cells with a dark stroke of the drawing within 0.15 m, and the same for walls moved by 1 m."""
    assert level.drawing is not None
    grey = cv2.cvtColor(level.drawing, cv2.COLOR_RGB2GRAY)
    reach = max(1, round(0.15 / scale))
    dark = cv2.dilate((grey < 140).astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    xy = level.plan.position(np.argwhere(level.plan.occupancy == OCCUPIED))
    shares = []
    for shift in (0.0, 1.0):
        col, row = np.round((xy + shift) / scale * [1.0, -1.0]).astype(int).T
        inside = (row >= 0) & (row < dark.shape[0]) & (col >= 0) & (col < dark.shape[1])
        shares.append(float(dark[row[inside], col[inside]].mean()))
    return shares[0], shares[1]


@needs_real
@pytest.mark.parametrize(
    ("name", "places", "lifts", "least_ink"),
    [("office", (4,), (0,), 0.95), ("hotel", (10, 23, 23), (2, 2, 2), 0.75), ("clinic", (56, 32), (4, 4), 0.9)],
)
def test_real_buildings_fit_their_drawings(
    name: str, places: tuple[int, ...], lifts: tuple[int, ...], least_ink: float
) -> None:
    path = REAL / name / f"{name}.building.yaml"
    building = read_rmf(path)
    frames = level_frames(path, read_rmf_file(path), {})
    assert tuple(len(level.places) for level in building.levels) == places
    assert tuple(len(level.lifts) for level in building.levels) == lifts
    for level, frame in zip(building.levels, frames.values(), strict=True):
        there, moved = ink_under_walls(level, frame.scale)
        assert there > least_ink and there > moved + 0.2, (level.level_id, there, moved)
        names = [place.name for place in level.places]
        assert len(set(names)) == len(names)
        for place in level.places:
            assert place.text and not place.furnishings and not place.images
