"""The unified encoders: structure, invariances, fingerprints and everything they refuse."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from encoder_fakes import SIZES, TINY, LetterFrontEnd, PixelFrontEnd, open_tiny, save_tiny, tiny_state

from crossover_models.building import Mesh
from crossover_models.encoders import EncoderError, UnifiedEncoder, load_encoder
from crossover_models.encoders.alignment import wall_heading
from crossover_models.encoders.checkpoint import SHIPPED, fingerprint, load_checkpoint
from crossover_models.encoders.front_ends import open_front_ends
from crossover_models.encoders.heads import FrameNetwork, ProjectionHead
from crossover_models.encoders.inputs import surface_points, voxelize
from crossover_models.encoders.network import UnifiedNetwork
from crossover_models.encoders.pinned_weights import check_file
from crossover_models.encoders.plan_patch import plan_patch
from crossover_models.encoders.profile import REFERENCE_3D, SMALL
from crossover_models.encoders.resnet import SparseResNet
from crossover_models.encoders.unified import pick_device
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan
from crossover_models.sparse import backend

CUBE = Mesh(
    np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float32),
    np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6],
              [0, 6, 4], [1, 5, 7], [1, 7, 3]], dtype=np.int32),
)  # fmt: skip
SQUARE = np.array([[1.0, 1.0], [5.0, 1.0], [5.0, 4.0], [1.0, 4.0]])


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> UnifiedEncoder:
    return open_tiny(save_tiny(tmp_path_factory.mktemp("tiny") / "tiny.safetensors"))


def room_cloud(points: int = 4000, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    size = np.array([6.0, 4.0, 2.6])
    cloud = rng.random((points, 3)) * size
    side = rng.integers(0, 6, points)
    for axis in range(3):
        cloud[side == 2 * axis, axis] = 0.0
        cloud[side == 2 * axis + 1, axis] = size[axis]
    return cloud.astype(np.float32)


def room_plan() -> FloorPlan:
    occupancy = np.full((120, 160), UNKNOWN, dtype=np.int8)
    occupancy[20:80, 20:100] = FREE
    occupancy[20:80, [20, 99]] = OCCUPIED
    occupancy[[20, 79], 20:100] = OCCUPIED
    return FloorPlan(occupancy, 0.05, (0.0, 0.0))


def pictures(count: int = 3, shape: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for _ in range(count)]


def test_every_modality_gives_a_unit_vector_and_the_same_one_twice(encoder: UnifiedEncoder) -> None:
    def run() -> list[np.ndarray]:
        return [
            encoder.encode_images(pictures()).vector,
            encoder.encode_images(pictures(1)).vector,
            encoder.encode_images([np.zeros((1, 1, 3), dtype=np.uint8)]).vector,
            encoder.encode_point_cloud(room_cloud()).vector,
            encoder.encode_point_cloud(room_cloud(), np.full((4000, 3), 200, dtype=np.uint8)).vector,
            encoder.encode_mesh([CUBE]).vector,
            encoder.encode_floor_plan(room_plan(), SQUARE).vector,
            encoder.encode_text("a red chair").vector,
        ]

    first, second = run(), run()
    for a, b in zip(first, second, strict=True):
        assert a.shape == (encoder.embedding_dim,) and a.dtype == np.float32
        assert np.linalg.norm(a) == pytest.approx(1.0, abs=1e-5)
        assert np.array_equal(a, b)
    different = np.array(first) @ np.array(first).T - np.eye(len(first))
    assert different.max() < 0.99999, "two different inputs gave one vector"


def test_order_of_views_and_points_does_not_matter(encoder: UnifiedEncoder) -> None:
    views = pictures(4)
    assert np.allclose(encoder.encode_images(views).vector, encoder.encode_images(views[::-1]).vector, atol=1e-6)
    cloud = room_cloud()
    shuffled = cloud[np.random.default_rng(2).permutation(len(cloud))]
    same = encoder.encode_point_cloud(cloud).vector, encoder.encode_point_cloud(shuffled).vector
    assert np.allclose(*same, atol=1e-5)


def test_clouds_may_lie_anywhere_in_the_map_but_heights_count(encoder: UnifiedEncoder) -> None:
    cloud = room_cloud().astype(np.float64)
    here = encoder.encode_point_cloud(cloud).vector
    moved = encoder.encode_point_cloud(cloud + np.array([512.1, -1024.07, 0.0])).vector
    assert float(here @ moved) > 0.999
    assert float(here @ encoder.encode_point_cloud(cloud + np.array([0.0, 0.0, 1.5])).vector) < float(here @ moved)


def turned(points: np.ndarray, angle_rad: float) -> np.ndarray:
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return points @ np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("angle_deg", [0.0, 13.0, 44.0, 46.0, 89.0, 200.0])
def test_clouds_are_squared_to_their_walls(angle_deg: float) -> None:
    cloud = turned(room_cloud(6000), np.deg2rad(angle_deg)) + np.random.default_rng(3).normal(0.0, 0.01, (6000, 3))
    off = (wall_heading(cloud[:, :2]) - np.deg2rad(angle_deg)) % (np.pi / 2)
    assert min(off, np.pi / 2 - off) < np.deg2rad(1.1)
    sides = np.ptp(voxelize(cloud, None, 0.1, 8.0).coordinates, axis=0)[:2] * 0.1
    assert sorted(sides) == pytest.approx([4.0, 6.0], abs=0.35)


def test_heading_of_few_points_is_a_number() -> None:
    assert 0.0 <= wall_heading(np.zeros((1, 2))) < np.pi / 2


def test_far_points_are_dropped_and_two_far_groups_keep_one() -> None:
    near = room_cloud(500)
    far = near + np.float32(100.0)
    mixed = voxelize(np.concatenate([near, far[:50]]), None, 0.25, 8.0)
    assert np.ptp(mixed.coordinates[:, :2], axis=0).max() * 0.25 < 17.0
    groups = np.concatenate([np.zeros((10, 3)), np.full((10, 3), 100.0)]).astype(np.float32)
    assert len(voxelize(groups, None, 0.25, 8.0).coordinates) == 1


def test_voxel_features_are_means() -> None:
    points = np.array([[0.01, 0.01, 0.5], [0.02, 0.02, 0.6], [2.0, 2.0, 1.0]], dtype=np.float32)
    colors = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0]], dtype=np.uint8)
    voxels = voxelize(points - np.float32([0.02, 0.02, 0.0]), colors, 0.5, 8.0)
    rows = {round(float(f[1]), 3): f for f in voxels.features}
    assert set(rows) == {0.275, 0.5} or len(voxels.coordinates) == 3
    assert rows[0.5][2:].tolist() == [1.0, -1.0, -1.0]
    assert (voxels.features[:, 0] == 1.0).all()
    assert (voxelize(points, None, 0.5, 8.0).features[:, 2:] == 0.0).all()


def test_surface_points_are_even_and_on_the_surface() -> None:
    points, colors = surface_points([CUBE], 1000.0, 20000)
    assert len(points) == 6000 and colors is None
    on_face = np.isclose(points, 0.0, atol=1e-6) | np.isclose(points, 1.0, atol=1e-6)
    assert on_face.any(axis=1).all()
    for axis in range(3):
        for value in (0.0, 1.0):
            assert (np.isclose(points[:, axis], value, atol=1e-6)).sum() == pytest.approx(1000, rel=0.1)
    assert points.mean(axis=0) == pytest.approx([0.5, 0.5, 0.5], abs=0.02)
    painted = Mesh(CUBE.vertices, CUBE.faces, np.full((12, 3), 7, dtype=np.uint8))
    assert surface_points([painted], 1000.0, 100)[1] is not None
    assert surface_points([painted, CUBE], 1000.0, 100)[1] is None


def test_plan_patch_is_metric_and_turns_with_the_heading() -> None:
    plan, profile = room_plan(), SMALL.with_flat({"plan_side_m": 6.4, "plan_pixels": 128})
    patch = plan_patch(plan, SQUARE, 0.0, profile)
    inside = patch[..., 2] == 255
    assert inside.sum() * 0.05**2 == pytest.approx(12.0, rel=0.05)
    turned = plan_patch(plan, SQUARE, np.pi / 2, profile)
    rotated = np.rot90(patch, -1)
    assert (np.abs(turned.astype(int) - rotated) > 8).mean() < 0.05
    occupancy = plan.occupancy.copy()
    occupancy[40, 60] = OCCUPIED  # a post at x = 3.025 m, y = 2.025 m: left of nothing, below the middle
    post = plan_patch(FloorPlan(occupancy, 0.05, (0.0, 0.0)), SQUARE, 0.0, profile)[..., 0] == 0
    assert [tuple(cell) for cell in np.argwhere(post & (patch[..., 0] != 0))] == [(63 + 10, 64)]
    columns = np.flatnonzero(inside.any(axis=0))
    assert (columns[-1] - columns[0] + 1) * 0.05 == pytest.approx(4.0, abs=0.15)


def test_images_and_floor_plans_share_their_head(encoder: UnifiedEncoder, tmp_path: Path) -> None:
    state = tiny_state()
    state["encoder2D_mlp_head.4.bias"] = state["encoder2D_mlp_head.4.bias"] + 1.0
    changed = open_tiny(save_tiny(tmp_path / "changed.safetensors", state))
    for call in ("images", "plan"):
        vectors = [
            (e.encode_images(pictures()) if call == "images" else e.encode_floor_plan(room_plan(), SQUARE)).vector
            for e in (encoder, changed)
        ]
        assert not np.allclose(vectors[0], vectors[1])
    assert np.array_equal(encoder.encode_text("a").vector, changed.encode_text("a").vector)


def test_statements_are_one_text_and_codes_have_no_tokens(encoder: UnifiedEncoder) -> None:
    apart, joined = encoder.encode_text(["A desk. ", " ", "A red chair."]), encoder.encode_text("A desk. A red chair.")
    assert np.array_equal(apart.vector, joined.vector)
    assert encoder.interaction is None and apart.tokens.shape == (0,) and apart.tokens.dtype == np.int8
    for silent in ([], [" ", ""], [3], None):
        with pytest.raises(EncoderError, match="text: must say something"):
            encoder.encode_text(silent)  # type: ignore[arg-type]


def test_reference_names_shapes_and_sizes() -> None:
    head = {name: tuple(t.shape) for name, t in ProjectionHead(768, 768, 768).state_dict().items()}
    assert head == {"0.weight": (384, 768), "0.bias": (384,), "2.weight": (384,), "2.bias": (384,),
                    "4.weight": (768, 384), "4.bias": (768,)}  # fmt: skip
    frame = {name: tuple(t.shape) for name, t in FrameNetwork(3072, 1536, 1536).state_dict().items()}
    assert frame == {"mlp_layers.0.weight": (1536, 3072), "mlp_layers.0.bias": (1536,),
                     "mlp_layers.3.weight": (1536, 1536), "mlp_layers.3.bias": (1536,)}  # fmt: skip
    resnet = SparseResNet(REFERENCE_3D)
    state = {name: tuple(t.shape) for name, t in resnet.state_dict().items()}
    assert sum(p.numel() for p in resnet.parameters()) == 70_554_816  # "70.55 M"
    assert state["conv1.kernel"] == (125, 3, 64)
    assert state["layer3.5.conv2.kernel"] == (27, 256, 256)
    assert [state[f"layer{i}.0.downsample.0.kernel"][0] for i in (1, 2, 3, 4)] == [1, 1, 1, 1]
    assert state["layer2.0.downsample.1.bn.running_mean"] == (128,)
    assert state["conv5.kernel"] == (27, 512, 512)
    assert {name.split(".")[0] for name in state} == {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "conv5",
                                                      "bn5"}  # fmt: skip
    small = SparseResNet(SMALL.backbone)
    assert sum(p.numel() for p in small.parameters()) <= 5_000_000


def test_resnet_equals_minkowski_engine() -> None:
    if importlib.util.find_spec("MinkowskiEngine") is None:
        pytest.skip("MinkowskiEngine is not installed: the whole network was NOT compared with it")
    torch.manual_seed(0)
    settings = REFERENCE_3D.with_flat({"channels": "16,16,32,32", "stem_channels": 16, "last_channels": 32})
    ours, theirs = SparseResNet(settings).eval(), SparseResNet(settings, backend("minkowski")).eval()
    theirs.load_state_dict(ours.state_dict())
    cloud = voxelize(room_cloud(20000), None, 0.05, 8.0).coordinates
    both = torch.from_numpy(np.concatenate([np.pad(cloud, ((0, 0), (1, 0))), np.insert(cloud[::2], 0, 1, axis=1)]))
    features = torch.randn(len(both), 3)
    with torch.inference_mode():
        a, b = ours(both, features, 2), theirs(both, features, 2)
    assert torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def test_views_that_do_not_exist_change_nothing() -> None:
    torch.manual_seed(0)
    network = UnifiedNetwork(TINY, SIZES).eval()
    views = torch.randn(1, 3, SIZES.view)
    padded = torch.cat([views, torch.full((1, 2, SIZES.view), 9.0)], dim=1)
    mask = torch.tensor([[True, True, True, False, False]])
    assert torch.allclose(network.images(views, mask[:, :3]), network.images(padded, mask), atol=1e-6)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda e: e.encode_text("  \n"), "text"),
        (lambda e: e.encode_text(""), "text"),
        (lambda e: e.encode_images([]), "no view"),
        (lambda e: e.encode_images(pictures(1)[0]), "single picture"),
        (lambda e: e.encode_images([np.zeros((4, 4), dtype=np.uint8)]), r"images\[0\].*\(4, 4\)"),
        (lambda e: e.encode_images([*pictures(1), np.full((4, 4, 3), np.nan)]), r"images\[1\].*float64"),
        (lambda e: e.encode_images([np.zeros((0, 4, 3), dtype=np.uint8)]), r"images\[0\]"),
        (lambda e: e.encode_point_cloud(np.zeros((0, 3), dtype=np.float32)), "empty"),
        (lambda e: e.encode_point_cloud(np.zeros((5, 2), dtype=np.float32)), r"\(5, 2\)"),
        (lambda e: e.encode_point_cloud(np.full((5, 3), np.nan, dtype=np.float32)), "5 of 5 points are not finite"),
        (lambda e: e.encode_point_cloud(room_cloud(5), np.zeros((4, 3), dtype=np.uint8)), "colors"),
        (lambda e: e.encode_mesh([]), "no mesh"),
        (lambda e: e.encode_mesh([Mesh(CUBE.vertices, np.zeros((0, 3), dtype=np.int32))]), "no triangle"),
        (lambda e: e.encode_mesh([Mesh(CUBE.vertices * 0, CUBE.faces)]), "surface"),
        (lambda e: e.encode_floor_plan(room_plan(), SQUARE[:2]), "polygon"),
        (lambda e: e.encode_floor_plan(room_plan(), SQUARE * np.nan), "polygon"),
        (lambda e: e.encode_floor_plan(room_plan(), SQUARE + 500.0), "nothing drawn"),
    ],
)
def test_refuses_bad_input_by_name(encoder: UnifiedEncoder, call, match: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(EncoderError, match=match):
        call(encoder)


def test_checkpoint_problems_name_the_tensor(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    missing = tiny_state()
    del missing["encoder3D.conv1.kernel"]
    with pytest.raises(EncoderError, match=r"missing tensor encoder3D\.conv1\.kernel"):
        open_tiny(save_tiny(path, missing))
    reshaped = tiny_state()
    reshaped["frame_mlp.mlp_layers.0.weight"] = torch.zeros(2, 2)
    with pytest.raises(EncoderError, match=r"frame_mlp\.mlp_layers\.0\.weight has shape \(2, 2\), expected \(32, 24\)"):
        open_tiny(save_tiny(path, reshaped))
    with pytest.raises(EncoderError, match="unexpected tensor extra"):
        open_tiny(save_tiny(path, {**tiny_state(), "extra": torch.zeros(1)}))
    rotten = tiny_state()
    rotten["encoder2D_mlp_head.4.bias"] = rotten["encoder2D_mlp_head.4.bias"] * np.nan
    with pytest.raises(EncoderError, match=r"encoder2D_mlp_head\.4\.bias is not finite"):
        open_tiny(save_tiny(path, rotten))


def test_checkpoint_files_that_are_none(tmp_path: Path) -> None:
    path = save_tiny(tmp_path / "a.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EncoderError, match="not a readable safetensors"):
        open_tiny(path)
    with pytest.raises(EncoderError, match="no such checkpoint"):
        load_encoder(str(tmp_path / "absent.safetensors"))
    path.write_bytes(whole)
    beside = path.with_suffix(".json")
    description = json.loads(beside.read_text())
    for change, match in [({"schema_version": 99}, "99"), ({"profile": {"voxels": 1}}, "voxels")]:
        beside.write_text(json.dumps({**description, **change}))
        with pytest.raises(EncoderError, match=match):
            open_tiny(path)
    beside.write_text(json.dumps({**description, "fingerprint": "0" * 16}))
    with pytest.raises(EncoderError, match="0000000000000000"):
        open_tiny(path)
    beside.unlink()
    with pytest.raises(EncoderError, match="missing"):
        open_tiny(path)
    with pytest.raises(EncoderError, match="device"):
        pick_device("tpu")


def test_a_directory_means_the_one_checkpoint_in_it(tmp_path: Path) -> None:
    save_tiny(tmp_path / "a.safetensors")
    assert load_checkpoint(str(tmp_path)).path.name == "a.safetensors"
    save_tiny(tmp_path / "b.safetensors")
    with pytest.raises(EncoderError, match=r"a\.safetensors, b\.safetensors"):
        load_checkpoint(str(tmp_path))


def test_fingerprint_follows_weights_settings_and_front_ends() -> None:
    state = tiny_state()
    marks = {fingerprint(TINY, state, PixelFrontEnd(), LetterFrontEnd())}
    changed = dict(state)
    changed["encoder1D_mlp_head.4.bias"] = state["encoder1D_mlp_head.4.bias"] + 1e-6
    marks.add(fingerprint(TINY, changed, PixelFrontEnd(), LetterFrontEnd()))
    marks.add(fingerprint(TINY.with_flat({"cloud_radius_m": 9.0}), state, PixelFrontEnd(), LetterFrontEnd()))
    other = PixelFrontEnd()
    other.weights_sha256 = "other"
    marks.add(fingerprint(TINY, state, other, LetterFrontEnd()))
    assert len(marks) == 4 and all(len(mark) == 16 for mark in marks)
    assert fingerprint(TINY, dict(reversed(state.items())), PixelFrontEnd(), LetterFrontEnd()) in marks


def test_frozen_weights_are_pinned(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"other")
    with pytest.raises(EncoderError, match="pinned"):
        check_file(path, "0" * 64)
    with pytest.raises(EncoderError, match="not installed"):
        check_file(tmp_path / "none.pth", "0" * 64)
    with pytest.raises(EncoderError, match="dinov9"):
        open_front_ends(SMALL.with_flat({"image_front_end": "dinov9"}))


def test_real_front_ends() -> None:
    image, text = open_front_ends(SMALL)
    views = image.views([*pictures(1), np.zeros((1, 1, 3), dtype=np.uint8)])
    assert views.shape == (2, image.view_dim) and bool(torch.isfinite(views).all())
    assert image.plans(pictures(1)).shape == (1, image.plan_dim)
    near, far = (
        text.texts(["a kitchen with an oven", "a cooking area with a stove", "a car park"])[0]
        @ text.texts(["a cooking area with a stove", "a car park"]).T
    )
    assert near > far
    alone = text.texts(["a kitchen with an oven"])
    padded = text.texts(["a kitchen with an oven", "a much longer sentence about a room with very many things in it"])
    assert torch.allclose(alone[0], padded[0], atol=1e-5)


@pytest.mark.skipif(not SHIPPED.exists(), reason="no shipped checkpoint in this tree")
def test_the_shipped_encoder_loads_and_runs() -> None:
    encoder = load_encoder(device="cpu")
    assert encoder.profile.name == "edge" and encoder.embedding_dim <= 256
    assert SHIPPED.stat().st_size <= 40e6
    assert encoder.encode_point_cloud(room_cloud()).vector.shape == (encoder.embedding_dim,)
    description = json.loads(SHIPPED.with_suffix(".json").read_text())
    assert description["fingerprint"] == encoder.fingerprint
    assert {"command", "seed", "rooms", "test", "data"} <= set(description) and description["training"]["log"]
    backbone = encoder._model.network.clouds
    assert sum(p.numel() for p in backbone.parameters()) <= 5e6
