"""The encoder with explicit sets: codes of raw data are those of training, bad input is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoder_fakes import LetterFrontEnd, save_tiny
from planted_building import box, full_building
from scene_features import CATEGORIES
from sets_encoder import MapFrontEnd, random_encoder, random_model

from crossover_models.building import Mesh
from crossover_models.dataset.extract import FeatureSettings, drawn_plan, scene_features
from crossover_models.dataset.features import SceneFeatures, load_features, save_features
from crossover_models.dataset.room_source import Group
from crossover_models.dataset.scene import Scene
from crossover_models.dataset.settings import MakeSettings
from crossover_models.dataset.simulated import group_scenes
from crossover_models.encoders import EncoderError, UnifiedEncoder, load_encoder
from crossover_models.encoders.efficientnet import EfficientNetLite0
from crossover_models.encoders.minilm import MiniLM
from crossover_models.encoders.profile import SMALL
from crossover_models.geometry import se3_from_se2, transform_points_se3
from crossover_models.observation import Code
from crossover_models.sets import batches, inputs
from crossover_models.sets.checkpoint import save_model
from crossover_models.sets.encoder import SetsEncoder, open_sets_encoder
from crossover_models.sets.method import cad_shapes
from crossover_models.sets.recognition import Recognition
from crossover_models.sets.stage import encode
from crossover_models.sets.tokens import unpack

ROOM = MakeSettings(
    rooms=4,
    library="parametric",
    procthor_share=0.0,
    rescans=0.0,
    missing=0.0,
    rooms_per_building=4,
    views=3,
    view_width=64,
    view_height=48,
    drive_frames=0,
    plans=1,
    rgbd_share=1.0,
    point_spacing_m=0.08,
)
SQUARE = np.array([[-0.8, 7.9], [1.2, 7.9], [1.2, 10.0], [-0.8, 10.0]])
PLAN = full_building().levels[0].plan


@pytest.fixture(scope="module")
def encoder() -> SetsEncoder:
    return random_encoder()


def cloud(count: int = 3000) -> np.ndarray:
    rng = np.random.default_rng(3)
    return (rng.uniform(size=(count, 3)) * [4.0, 3.0, 2.5]).astype(np.float32)


def pictures(count: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (20, 30, 3), dtype=np.uint8) for _ in range(count)]


def all_codes(encoder: SetsEncoder) -> list[Code]:
    return [
        encoder.encode_images(pictures()),
        encoder.encode_images([np.zeros((1, 1, 3), dtype=np.uint8)]),
        encoder.encode_point_cloud(cloud()),
        encoder.encode_point_cloud(cloud(), np.full((3000, 3), 200, dtype=np.uint8)),
        encoder.encode_point_cloud(cloud(3)),
        encoder.encode_mesh([box(0, 8), box(1, 9)]),
        encoder.encode_floor_plan(PLAN, SQUARE),
        encoder.encode_text("A red chair. A desk."),
    ]


# -- equality with training ----------------------------------------------------------------------------------------


def features_of(scene: Scene, model: Any) -> SceneFeatures:
    recognition = Recognition(model.recognizer, CATEGORIES)
    return scene_features(scene, FeatureSettings(crops=0), SMALL, EfficientNetLite0(), MiniLM(), recognition)


def raw_codes(encoder: SetsEncoder, scene: Scene) -> dict[str, Code]:
    """Codes of a scene's raw data, as a map or a robot has them."""
    posed = [
        replace(o.cad, vertices=transform_points_se3(o.T_scene_object, o.cad.vertices).astype(np.float32))
        for o in scene.objects
        if o.cad is not None
    ]
    assert scene.cloud is not None and scene.polygon is not None
    return {
        "I": encoder.encode_images([view.image for view in scene.views]),
        "P": encoder.encode_point_cloud(scene.cloud.points, scene.cloud.colors),
        "M": encoder.encode_mesh(posed, [o.T_scene_object for o in scene.objects]),
        "F": encoder.encode_floor_plan(drawn_plan(scene.plans[0]), scene.polygon),
        "R": encoder.encode_text(
            [*scene.description, *(r.utterance for r in scene.referrals[: batches.MOST_REFERRALS])]
        ),
    }


@pytest.fixture(scope="module")
def scene() -> Scene:
    """A simulated room."""
    return next(group_scenes(Group("train", 0, "procedural", 3, 1), ROOM, None))


@pytest.mark.parametrize("cached", [False, True], ids=["as extracted", "from the cache"])
def test_codes_of_raw_data_are_those_of_training(
    scene: Scene, cached: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(text_dim=MiniLM.dim)
    features = features_of(scene, model)
    if cached:
        save_features(tmp_path / "scan", features, "key")
        features = load_features(tmp_path / "scan")
    # What poses say: the encoder does not know them.
    monkeypatch.setattr(inputs, "view_geometry", lambda poses: np.zeros(4, dtype=np.float32))
    sources = batches.Sources(model.settings, CATEGORIES, cad_shapes([features], model.shapes))
    with torch.inference_mode():
        expected, present, _ = encode(model.network, [features], sources, None, tuple("IPMFR"))
    assert all(bool(there[0]) for there in present.values())
    encoder = SetsEncoder(model, EfficientNetLite0(), MiniLM())
    assert encoder.interaction is not None
    for item, code in raw_codes(encoder, scene).items():
        want = expected[item]
        known = encoder.interaction
        logits, colors, layouts = unpack(code.tokens[None], len(model.attributes), known.colors, known.layout_shape)
        # The cache keeps halves, points on whole centimetres, CAD points in 127 steps.
        far, less = (0.05, 0.99) if cached else (1e-4, 0.9995)
        np.testing.assert_allclose(code.vector, want.vector[0].numpy(), atol=far, err_msg=item)
        np.testing.assert_allclose(logits[0], want.attributes[0].numpy(), atol=far + 4.6 / 254, err_msg=item)
        assert (layouts is None) == (want.layout is None) == (item in "IR")
        if layouts is not None and want.layout is not None:
            assert float((layouts[0] * want.layout[0].numpy()).sum()) > less, item
        assert (colors is None) == (want.colors is None) == (item not in "IP")
        if colors is not None and want.colors is not None:
            assert float((colors[0] * want.colors[0].numpy()).sum()) > less, item


# -- properties ----------------------------------------------------------------------------------------------------


def test_every_modality_gives_a_code_and_the_same_one_twice(encoder: SetsEncoder) -> None:
    first, second = all_codes(encoder), all_codes(encoder)
    assert encoder.interaction is not None
    for a, b in zip(first, second, strict=True):
        assert a.vector.shape == (encoder.embedding_dim,) and a.vector.dtype == np.float32
        assert np.linalg.norm(a.vector) == pytest.approx(1.0, abs=1e-5)
        assert a.tokens.dtype == np.int8 and len(a.tokens) in encoder.interaction.token_lengths
        assert np.array_equal(a.vector, b.vector) and np.array_equal(a.tokens, b.tokens)
    vectors = np.array([code.vector for code in first])
    assert (vectors @ vectors.T - np.eye(len(first))).max() < 0.99999, "two different inputs gave one vector"


def test_text_is_taken_apart_into_sentences(encoder: SetsEncoder) -> None:
    whole, parts = encoder.encode_text(" A desk.  A red chair! "), encoder.encode_text(["A desk.", "", "A red chair!"])
    joined = encoder.encode_text(["A desk. A red chair!"])
    assert np.array_equal(whole.vector, parts.vector) and not np.allclose(whole.vector, joined.vector)


def test_a_furnished_room_may_lie_and_be_turned_anyhow(encoder: SetsEncoder) -> None:
    meshes = [box(0.0, 0.0), box(2.5, 0.3), box(0.2, 3.0)]
    own = [se3_from_se2([0.25, 0.2, 0.0]), se3_from_se2([2.75, 0.5, 0.0]), se3_from_se2([0.45, 3.2, 0.0])]
    T = se3_from_se2([31.0, -8.0, 0.4])
    moved = [replace(m, vertices=transform_points_se3(T, m.vertices).astype(np.float32)) for m in meshes]
    here = encoder.encode_mesh(meshes, own).vector
    there = encoder.encode_mesh(moved, [T @ pose for pose in own]).vector
    unknown = encoder.encode_mesh(moved).vector
    assert np.allclose(encoder.encode_mesh(meshes).vector, here, atol=1e-5)
    assert float(here @ there) > 0.98 and float(here @ there) > float(here @ unknown)


# -- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda e: e.encode_text("  \n"), "text: must say something"),
        (lambda e: e.encode_text([" ", ""]), "text: must say something"),
        (lambda e: e.encode_text([3]), "text: must say something"),
        (lambda e: e.encode_text(None), "text: must say something"),
        (lambda e: e.encode_images([]), "no view"),
        (lambda e: e.encode_images(pictures(1)[0]), "single picture"),
        (lambda e: e.encode_images([*pictures(1), np.full((4, 4, 3), np.nan)]), r"images\[1\].*float64"),
        (lambda e: e.encode_point_cloud(np.zeros((0, 3), dtype=np.float32)), "empty"),
        (lambda e: e.encode_point_cloud(np.zeros((5, 2), dtype=np.float32)), r"\(5, 2\)"),
        (lambda e: e.encode_point_cloud(np.full((5, 3), np.nan, dtype=np.float32)), "5 of 5 points are not finite"),
        (lambda e: e.encode_point_cloud(cloud(5), np.zeros((4, 3), dtype=np.uint8)), "colors"),
        (lambda e: e.encode_mesh([]), "no mesh"),
        (lambda e: e.encode_mesh([Mesh(box(0, 0).vertices, np.zeros((0, 3), dtype=np.int32))]), "no triangle"),
        (lambda e: e.encode_mesh([Mesh(box(0, 0).vertices * 0, box(0, 0).faces)]), "surface"),
        (lambda e: e.encode_mesh([box(0, 0)], [None, None]), "poses: 2 for 1"),
        (lambda e: e.encode_floor_plan(PLAN, SQUARE[:2]), "polygon"),
        (lambda e: e.encode_floor_plan(PLAN, SQUARE * np.nan), "polygon"),
        (lambda e: e.encode_floor_plan(PLAN, SQUARE + 500.0), "nothing drawn"),
    ],
)
def test_refuses_bad_input_by_name(encoder: SetsEncoder, call: Callable[[SetsEncoder], Code], match: str) -> None:
    with pytest.raises(EncoderError, match=match):
        call(encoder)


def test_an_object_without_surface_is_left_out(encoder: SetsEncoder) -> None:
    flat = Mesh(box(0, 0).vertices * 0, box(0, 0).faces)
    assert np.array_equal(encoder.encode_mesh([box(0, 8), flat]).vector, encoder.encode_mesh([box(0, 8)]).vector)


def test_weights_that_overflow_are_no_code() -> None:
    model = random_model()
    model.network.to_attributes.bias[0] = float("nan")
    with pytest.raises(EncoderError, match="not finite"):
        SetsEncoder(model, MapFrontEnd(), LetterFrontEnd()).encode_text("a")


def test_fingerprints_tell_encoders_apart(encoder: SetsEncoder) -> None:
    assert random_encoder().fingerprint == encoder.fingerprint
    prints = {encoder.fingerprint, random_encoder(1).fingerprint}
    model = random_model()
    prints.add(
        SetsEncoder(replace(model, categories=model.categories[::-1]), MapFrontEnd(), LetterFrontEnd()).fingerprint
    )
    model.scores.log_trust[3] = 1.0
    prints.add(SetsEncoder(model, MapFrontEnd(), LetterFrontEnd(), "tiny").fingerprint)
    assert len(prints) == 4


def test_front_ends_of_other_widths_are_refused() -> None:
    with pytest.raises(EncoderError, match="text=384"):
        SetsEncoder(random_model(text_dim=384), MapFrontEnd(), LetterFrontEnd())


def test_either_kind_of_checkpoint_opens_by_its_description(tmp_path: Path) -> None:
    path = tmp_path / "edge.safetensors"
    save_model(path, random_model(text_dim=384), {"name": "edge"})
    opened = load_encoder(str(path), "cpu")
    assert isinstance(opened, SetsEncoder) and opened.profile.name == "edge" and opened.embedding_dim == 16
    beside = path.with_suffix(".json")
    about = json.loads(beside.read_text())
    beside.write_text(json.dumps({**about, "fingerprint": opened.fingerprint}))
    assert open_sets_encoder(path).fingerprint == opened.fingerprint
    beside.write_text(json.dumps({**about, "fingerprint": "0" * 16}))
    with pytest.raises(EncoderError, match=f"{opened.fingerprint} is not the {'0' * 16}"):
        load_encoder(str(path), "cpu")
    beside.write_text(json.dumps({**about, "kind": "recognizer"}))
    with pytest.raises(EncoderError, match="kind 'recognizer'"):
        load_encoder(str(path), "cpu")
    with pytest.raises(EncoderError, match="tensor encoder1D_mlp_head"):
        load_encoder(str(save_tiny(tmp_path / "tiny.safetensors")), "cpu")
    assert isinstance(load_encoder(device="cpu"), UnifiedEncoder | SetsEncoder)
