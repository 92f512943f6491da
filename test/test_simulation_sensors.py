"""Simulated sensors against scenes whose answers are known."""

import numpy as np
import pytest

from crossover_models.building import Mesh
from crossover_models.geometry import se3_from_se2, transform_points_se3
from crossover_models.simulation.appearance import Appearance, Light, draw_appearance
from crossover_models.simulation.camera import PinholeCamera, optical_pose, render
from crossover_models.simulation.lidar import LidarModel, sweep
from crossover_models.simulation.procedural import generate_building
from crossover_models.simulation.raycast import RayScene
from crossover_models.simulation.rooms import room_samples
from crossover_models.simulation.shapes import MeshBuilder, joined, moved
from crossover_models.simulation.survey import level_meshes, standing_points, survey, thinned

RED, GREY = (220, 20, 20), (150, 150, 150)


def room(half_m: float = 4.0, height_m: float = 3.0) -> Mesh:
    b = MeshBuilder()
    b.box((-half_m, -half_m, 0.0), (half_m, half_m, height_m), GREY)
    return b.mesh()


def block(center: tuple[float, float, float], side: float = 0.8, color=RED) -> Mesh:
    b = MeshBuilder()
    c = np.array(center)
    b.box(c - side / 2, c + side / 2, color)
    return b.mesh()


def daylight() -> Appearance:
    lamps = (Light(np.array([0.0, 0.0, 2.8]), np.full(3, 1.0)),)
    return Appearance(lamps, np.full(3, 0.4), np.ones(3), 1.0, 2.2, 1.0)


def red(image: np.ndarray) -> np.ndarray:
    i = image.astype(int)
    return (i[..., 0] > 2 * i[..., 1]) & (i[..., 0] > 2 * i[..., 2])


def test_rays_hit_boxes_at_the_analytic_distance():
    scene = RayScene([room(), block((2.0, 0.0, 1.0))])
    distance, face = scene.cast(np.array([0.0, 0.0, 1.0]), np.array([[1.0, 0, 0], [-1, 0, 0], [0, 0, 1], [0, 0, -1]]))
    np.testing.assert_allclose(distance, [1.6, 4.0, 2.0, 1.0], atol=1e-5)
    assert scene.face_mesh[face].tolist() == [1, 0, 0, 0]


def test_rays_equal_a_plain_triangle_intersection():
    rng = np.random.default_rng(0)
    corners = rng.uniform(-2, 2, (60, 3, 3)).astype(np.float32)
    mesh = Mesh(corners.reshape(-1, 3), np.arange(180, dtype=np.int32).reshape(-1, 3))
    origin = rng.uniform(-1, 1, (300, 3))
    ray = rng.normal(size=(300, 3))
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    distance, face = RayScene([mesh]).cast(origin, ray)
    expected = np.full(300, np.inf)
    for a, b, c in corners.astype(float):
        e1, e2 = b - a, c - a
        h = np.cross(ray, e2)
        det = h @ e1
        s = origin - a
        u = np.einsum("ij,ij->i", s, h) / det
        q = np.cross(s, e1)
        v = np.einsum("ij,ij->i", ray, q) / det
        t = (q @ e2) / det
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 1e-6)
        expected = np.where(hit, np.minimum(expected, t), expected)
    assert (np.isfinite(distance) == np.isfinite(expected)).mean() > 0.99
    both = np.isfinite(distance) & np.isfinite(expected)
    np.testing.assert_allclose(distance[both], expected[both], atol=1e-3)
    assert ((face >= 0) == np.isfinite(distance)).all()


def test_an_empty_scene_is_refused_and_a_miss_is_infinite():
    with pytest.raises(ValueError, match="no faces"):
        RayScene([])
    distance, face = RayScene([block((5.0, 0, 0))]).cast(np.zeros(3), np.array([[-1.0, 0, 0]]))
    assert np.isinf(distance[0]) and face[0] == -1


def test_things_in_between_block_and_things_behind_do_not():
    scene = RayScene([block((1.0, 0.0, 0.0), 0.5)])
    eye = np.zeros((3, 3))
    assert scene.blocked(eye, np.array([[3.0, 0, 0], [0.5, 0, 0], [0, 3.0, 0]])).tolist() == [True, False, False]


@pytest.mark.parametrize(("bearing", "rows", "cols"), [(0.45, None, slice(0, 80)), (-0.45, None, slice(80, 160))])
def test_a_red_box_to_the_left_appears_in_the_left_half(bearing, rows, cols):
    camera = PinholeCamera(160, 120, 80.0)
    scene = RayScene([room(), block((2.5 * np.cos(bearing), 2.5 * np.sin(bearing), 1.2))])
    picture = render(scene, daylight(), camera, optical_pose(np.array([0.0, 0, 1.2]), 0.0), np.random.default_rng(0))
    seen = red(picture.image)
    assert seen[:, cols].sum() > 200 and seen[:, cols].sum() > 0.99 * seen.sum()
    assert (seen == (picture.instance == 1)).mean() > 0.98


def test_high_things_appear_high_and_the_camera_turns_with_its_yaw():
    camera = PinholeCamera(160, 120, 80.0)
    scene = RayScene([room(), block((0.0, 2.5, 2.2))])
    picture = render(
        scene, daylight(), camera, optical_pose(np.array([0.0, 0, 1.2]), np.pi / 2), np.random.default_rng(0)
    )
    rows, cols = np.nonzero(picture.instance == 1)
    assert rows.max() < 60 and abs(cols.mean() - 79.5) < 2
    down = render(
        scene, daylight(), camera, optical_pose(np.array([0.0, 0, 1.2]), np.pi / 2, 0.3), np.random.default_rng(0)
    )
    assert np.nonzero(down.instance == 1)[0].mean() < rows.mean() - 15


def test_pixels_project_back_onto_the_surface_that_was_seen():
    camera = PinholeCamera(64, 48, 70.0)
    T_map_camera = optical_pose(np.array([0.3, -0.4, 1.1]), 0.7, 0.2)
    picture = render(RayScene([room()]), daylight(), camera, T_map_camera, np.random.default_rng(0))
    v, u = np.mgrid[:48, :64]
    k = camera.matrix
    z = picture.depth_m
    points = np.stack([(u - k[0, 2]) / k[0, 0] * z, (v - k[1, 2]) / k[1, 1] * z, z], axis=-1).reshape(-1, 3)
    world = transform_points_se3(T_map_camera, points)
    off = np.min(
        [
            np.abs(np.abs(world[:, 0]) - 4),
            np.abs(np.abs(world[:, 1]) - 4),
            np.abs(world[:, 2]),
            np.abs(world[:, 2] - 3),
        ],
        axis=0,
    )
    assert off.max() < 1e-3


def test_a_shadow_lies_where_a_slab_keeps_the_lamp_out():
    b = MeshBuilder()
    b.box((0.6, -0.7, 1.2), (1.6, 0.7, 1.25), GREY)
    camera, pose = PinholeCamera(120, 90, 80.0), optical_pose(np.array([0.0, 0, 0.9]), 0.0, 0.35)
    lit = render(RayScene([room()]), daylight(), camera, pose, np.random.default_rng(0)).image.astype(float)
    shaded = render(RayScene([room(), b.mesh()]), daylight(), camera, pose, np.random.default_rng(0)).image.astype(
        float
    )

    def brightness(image, x, y):
        ray = camera.matrix @ transform_points_se3(np.linalg.inv(pose), np.array([[x, y, 0.0]]))[0]
        col, row = np.rint(ray[:2] / ray[2]).astype(int)
        return image[row - 1 : row + 2, col - 1 : col + 2].mean()

    # From the lamp at (0, 0, 2.8) the slab's shadow covers x 1.1 to 2.9 m of the floor.
    assert brightness(lit, 2.0, 0.0) - brightness(shaded, 2.0, 0.0) > 20
    assert abs(brightness(lit, 3.5, 0.0) - brightness(shaded, 3.5, 0.0)) < 10


def test_light_and_camera_differ_between_draws_but_texture_does_not():
    scene, camera = RayScene([room(), block((2.5, 0.0, 0.4))]), PinholeCamera(64, 48)
    pose, lamps = optical_pose(np.array([0.0, 0, 1.2]), 0.0), np.array([[0.0, 0.0, 2.8]])
    means = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        means.append(render(scene, draw_appearance(lamps, rng), camera, pose, rng).image.reshape(-1, 3).mean(axis=0))
    spread = np.std(means, axis=0)
    assert (spread > 6).all() and np.std(np.array(means)[:, 0] / np.array(means)[:, 2]) > 0.05
    same = [render(scene, daylight(), camera, pose, np.random.default_rng(s)).image.astype(int) for s in (0, 1)]
    assert np.abs(same[0] - same[1]).mean() < 2.0


def test_lidar_ranges_have_the_stated_noise_dropout_and_limits():
    model = LidarModel(noise_m=0.02, dropout=0.1, grazing=1e-6)
    scene = RayScene([room(4.0, 9.0)])
    T_map_sensor = np.eye(4)
    T_map_sensor[2, 3] = 4.0
    rng, errors, count = np.random.default_rng(0), [], 0
    for _ in range(10):
        points = sweep(scene, model, T_map_sensor, rng)
        count += len(points)
        distance = np.linalg.norm(points, axis=1)
        exact, _ = scene.cast(T_map_sensor[:3, 3], points / distance[:, None])
        errors.append(distance - exact)
    error = np.concatenate(errors)
    assert abs(error.mean()) < 5e-4 and error.std() == pytest.approx(0.02, rel=0.03)
    assert count / (10 * 16 * 360) == pytest.approx(0.9, abs=0.01)
    near = sweep(RayScene([room(0.15, 0.3)]), model, se3_from_se2([0, 0, 0], 0.15), rng)
    far = sweep(RayScene([room(25.0, 3.0)]), model, se3_from_se2([0, 0, 0], 1.5), rng)
    assert len(near) == 0 and np.linalg.norm(far, axis=1).max() < 20.0


def test_lidar_loses_grazing_returns():
    long = MeshBuilder()
    long.box((-0.5, -0.5, 0.0), (18.0, 0.5, 3.0), GREY)
    scene, T_map_sensor = RayScene([long.mesh()]), se3_from_se2([0, 0, 0], 1.0)
    kept = sweep(scene, LidarModel(dropout=0.0, grazing=0.1), T_map_sensor, np.random.default_rng(0))
    everything = sweep(scene, LidarModel(dropout=0.0, grazing=1e-9), T_map_sensor, np.random.default_rng(0))
    assert (kept[:, 0] > 8).sum() < 0.7 * (everything[:, 0] > 8).sum()
    assert (np.abs(kept[:, 0]) < 0.5).sum() > 0.9 * (np.abs(everything[:, 0]) < 0.5).sum()


def test_sweeps_are_in_the_sensor_frame():
    scene = RayScene([room(), block((0.0, 2.0, 0.6))])
    T_map_sensor = se3_from_se2([0.0, 0.0, np.pi / 2], 0.6)
    points = sweep(scene, LidarModel(noise_m=0.0, dropout=0.0), T_map_sensor, np.random.default_rng(0))
    ahead = points[(np.abs(points[:, 1]) < 0.1) & (points[:, 0] > 0) & (np.abs(points[:, 2]) < 0.1)]
    assert np.allclose(ahead[:, 0], 1.6, atol=0.01)


def test_meshes_can_be_moved_and_joined():
    mesh = block((1.0, 0.0, 0.0), 0.2)
    turned = moved(mesh, [0.0, 0.0, np.pi / 2], 1.0)
    np.testing.assert_allclose(turned.vertices.mean(axis=0), [0.0, 1.0, 1.0], atol=1e-6)
    both = joined([mesh, Mesh(turned.vertices, turned.faces)])
    assert len(both.faces) == 24 and both.faces.max() == 47 and both.face_colors.shape == (24, 3)


def test_boxes_face_outwards():
    mesh = block((0.0, 0.0, 0.0), 2.0)
    corners = mesh.vertices[mesh.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("ij,ij->i", normal, corners.mean(axis=1)) > 0).all()


def test_thinning_keeps_one_point_a_voxel():
    points = np.random.default_rng(0).uniform(-1, 1, (5000, 3)).astype(np.float32)
    kept = thinned(points, 0.25)
    keys = np.floor(kept / 0.25).astype(int)
    assert len(np.unique(keys, axis=0)) == len(kept) == len(np.unique(np.floor(points / 0.25).astype(int), axis=0))


def test_a_survey_has_views_and_a_cloud_of_every_place_and_repeats_itself():
    made = generate_building(11, split="test", levels=1, rooms_per_level=4)
    camera = PinholeCamera(48, 48, 85.0)
    one = survey(made, np.random.default_rng(5), 3, camera)
    two = survey(made, np.random.default_rng(5), 3, camera)
    for place, again in zip(one.levels[0].places, two.levels[0].places, strict=True):
        assert len(place.images) == 3 and all(i.shape == (48, 48, 3) and i.std() > 4 for i in place.images)
        assert all(np.array_equal(a, b) for a, b in zip(place.images, again.images, strict=True))
        assert np.array_equal(place.point_cloud, again.point_cloud)
        low, high = place.polygon.min(axis=0) - 0.25, place.polygon.max(axis=0) + 0.25
        assert len(place.point_cloud) > 500
        assert ((place.point_cloud[:, :2] > low) & (place.point_cloud[:, :2] < high)).all()


def test_people_stand_beside_the_furniture():
    made = generate_building(12, split="val", levels=1)
    rng = np.random.default_rng(0)
    for place in made.levels[0].places:
        for x, y in standing_points(place, 5, rng):
            for f in place.furnishings:
                low, high = f.mesh.vertices.min(axis=0), f.mesh.vertices.max(axis=0)
                assert low[2] > 1.0 or not (low[0] < x < high[0] and low[1] < y < high[1])


def test_room_samples_have_every_modality_and_clouds_that_fit_their_pose():
    made = generate_building(13, levels=1, rooms_per_level=4)
    level = made.levels[0]
    scene = RayScene(level_meshes(level))
    model = LidarModel(azimuths=120, noise_m=0.0)
    samples = list(
        room_samples(made, np.random.default_rng(1), views=1, camera=PinholeCamera(40, 30), lidar=model, missing=0.0)
    )
    assert [s.place_id for s in samples] == [f"{made.building_id}/{p.place_id}" for p in level.places]
    for sample in samples:
        assert len(sample.images) == 1 and sample.text and len(sample.cloud) > 300 and sample.cloud_colors is None
        points = transform_points_se3(se3_from_se2(sample.T_map_cloud), sample.cloud)
        # Every return lies on a surface: rays from 0.5 m away in six directions meet something right there.
        axes = np.vstack([np.eye(3), -np.eye(3)])
        chosen = points[:: max(1, len(points) // 100)]
        gaps = [np.abs(scene.cast(chosen - 0.05 * a, np.tile(a, (len(chosen), 1)))[0] - 0.05) for a in axes]
        assert np.median(np.min(gaps, axis=0)) < 1e-3
    again = list(
        room_samples(made, np.random.default_rng(1), views=1, camera=PinholeCamera(40, 30), lidar=model, missing=0.0)
    )
    assert all(np.array_equal(a.cloud, b.cloud) for a, b in zip(samples, again, strict=True))
