"""The published model: its names, shapes and sizes, and that masks, geometry and fusion do what the paper says."""

from __future__ import annotations

import numpy as np
import pytest
import reference_manifest
import torch
from torch import nn
from torch.nn import functional

from crossover_models.reference.fusion import SceneFusion
from crossover_models.reference.instance import InstanceBaseline, InstanceCrossOver
from crossover_models.reference.objects import FEATURE_DIMS, ObjectBatch
from crossover_models.reference.scene import SceneCrossOver
from crossover_models.reference.spatial_attention import SpatialSelfAttention, pair_geometry


@pytest.fixture(scope="module")
def scene_model() -> SceneCrossOver:
    torch.manual_seed(0)
    return SceneCrossOver().eval()


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def objects(scenes: int = 2, slots: int = 6, seed: int = 0) -> ObjectBatch:
    g = torch.Generator().manual_seed(seed)
    features = {name: torch.randn(scenes, slots, dim, generator=g) for name, dim in FEATURE_DIMS.items()}
    present = {name: torch.rand(scenes, slots, generator=g) < 0.7 for name in FEATURE_DIMS}
    for mask in present.values():
        mask[:, 0] = True
    where = torch.cat([torch.randn(scenes, slots, 3, generator=g), torch.rand(scenes, slots, 3, generator=g)], dim=-1)
    return ObjectBatch(features, present, {"point": where, "cad": where})


def changed(batch: ObjectBatch, name: str, rows: torch.Tensor) -> ObjectBatch:
    """The batch with other features and places in some slots of one modality."""
    features, places = dict(batch.features), dict(batch.locations)
    features[name] = torch.where(rows[..., None], features[name] + 5.0, features[name])
    if name in places:
        places[name] = torch.where(rows[..., None], places[name] * 30.0 + 7.0, places[name])
    return ObjectBatch(features, batch.present, places)


def test_names_and_shapes_are_those_of_the_official_checkpoints(scene_model: SceneCrossOver) -> None:
    assert shapes(InstanceBaseline()) == reference_manifest.instance_baseline()
    assert shapes(InstanceCrossOver()) == reference_manifest.instance_crossover()
    assert shapes(scene_model) == reference_manifest.scene_crossover()


def test_sizes_are_the_published_ones(scene_model: SceneCrossOver) -> None:
    def millions(module: nn.Module, trainable: bool = False) -> float:
        return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable) / 1e6

    assert millions(InstanceBaseline()) == pytest.approx(2.81, abs=0.005)
    assert millions(InstanceCrossOver()) == pytest.approx(19.62, abs=0.005)
    assert millions(scene_model.encoder3D) == pytest.approx(70.55, abs=0.005)
    assert millions(scene_model, trainable=True) == pytest.approx(80.0, abs=0.05)


def test_absent_objects_change_nobody_else() -> None:
    torch.manual_seed(0)
    model, batch = InstanceCrossOver().eval(), objects()
    with torch.no_grad():
        before = model(batch)
        for name in FEATURE_DIMS:
            absent = ~batch.present[name]
            after = model(changed(batch, name, absent))
            torch.testing.assert_close(after[name], before[name])
            assert not after[name][absent].any()


def test_present_objects_of_points_see_each_other_and_cad_does_not() -> None:
    torch.manual_seed(0)
    model, batch = InstanceCrossOver().eval(), objects()
    first = torch.zeros(2, 6, dtype=torch.bool)
    first[:, 0] = True
    with torch.no_grad():
        before = model(batch)
        for name, sees in (("point", True), ("cad", False)):
            after = model(changed(batch, name, first))[name]
            others = batch.present[name] & ~first
            assert (not torch.allclose(after[others], before[name][others], atol=1e-5)) == sees


def test_only_the_legacy_geometry_depends_on_padding() -> None:
    centers = torch.tensor([[[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [90.0, 0.0, 0.0]]])
    mask = torch.tensor([[True, True, False]])
    ours, theirs = pair_geometry(centers, mask), pair_geometry(centers, mask, legacy=True)
    assert float(ours[0, 0, 1, 0]) == pytest.approx(1.0)
    assert float(theirs[0, 0, 1, 0]) == pytest.approx(2.0 / 90.0, rel=1e-5)
    # delta = c_query - c_key: seen from the first object the second lies towards -x of the difference.
    assert ours[0, 0, 1, 1:].tolist() == pytest.approx([0.0, 1.0, 0.0, -1.0], abs=1e-4)


def test_geometry_turns_with_the_scene_only_in_its_planar_direction() -> None:
    g = torch.Generator().manual_seed(3)
    centers = torch.randn(1, 5, 3, generator=g)
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    mask = torch.ones(1, 5, dtype=torch.bool)
    before, after = pair_geometry(centers, mask), pair_geometry(centers @ turn.T, mask)
    torch.testing.assert_close(after[..., :3], before[..., :3])
    torch.testing.assert_close(after[..., 3], before[..., 4])
    torch.testing.assert_close(after[..., 4], -before[..., 3])


def test_attention_equals_the_formula_written_out() -> None:
    torch.manual_seed(1)
    layer = SpatialSelfAttention(24, 4, 0.0).double().eval()
    x, centers = torch.randn(1, 5, 24, dtype=torch.float64), torch.randn(1, 5, 3, dtype=torch.float64)
    mask = torch.tensor([[True, True, True, False, True]])
    geometry = pair_geometry(centers, mask)
    with torch.no_grad():
        got = layer(x, geometry, mask)[0].numpy()
        q, k, v = (f(x)[0].numpy().reshape(5, 4, 6) for f in (layer.w_qs, layer.w_ks, layer.w_vs))
        w = layer.lang_cond_fc(x)[0].numpy().reshape(5, 4, 6)
        mixed = np.zeros((5, 4, 6))
        for i in range(5):
            for h in range(4):
                keys = [j for j in range(5) if mask[0, j]]
                logits = []
                for j in keys:
                    gate = 1.0 / (1.0 + np.exp(-(w[i, h, 1:] @ geometry[0, i, j].numpy() + w[i, h, 0])))
                    logits.append(q[i, h] @ k[j, h] / np.sqrt(6.0) + np.log(max(gate, 1e-6)))
                share = np.exp(logits) / np.exp(logits).sum()
                mixed[i, h] = sum(s * v[j, h] for s, j in zip(share, keys, strict=True))
        plain = torch.from_numpy(mixed.reshape(1, 5, 24))
        want = functional.layer_norm(layer.fc(plain) + x, (24,), layer.layer_norm.weight, layer.layer_norm.bias)
    np.testing.assert_allclose(got, want[0].detach().numpy(), atol=1e-9)


def test_fusion_renormalizes_over_what_a_scene_has() -> None:
    fusion, legacy = SceneFusion(), SceneFusion(legacy=True)
    vectors = functional.normalize(torch.randn(2, 3, 8), dim=-1)
    everyone, nobody = torch.ones(2, 3, dtype=torch.bool), torch.zeros(2, 3, dtype=torch.bool)
    one = fusion({"rgb": vectors}, {"rgb": everyone})
    padded = {"rgb": vectors, "point": torch.zeros_like(vectors), "cad": torch.randn(2, 3, 8)}
    masks = {"rgb": everyone, "point": nobody, "cad": nobody}
    torch.testing.assert_close(one, functional.normalize(vectors.mean(dim=1), dim=-1))
    torch.testing.assert_close(fusion(padded, masks), one)
    torch.testing.assert_close(legacy(padded, masks), one / 4.0)
    assert not fusion({"rgb": vectors}, {"rgb": nobody}).any()


def test_a_scene_without_objects_stays_finite() -> None:
    model = SceneFusion()
    instance = InstanceCrossOver().eval()
    batch = objects()
    for mask in batch.present.values():
        mask[1] = False
    out = instance(batch)
    fused = model(out, batch.present)
    fused.sum().backward()
    assert all(torch.isfinite(v).all() for v in out.values())
    assert torch.isfinite(fused).all() and not fused[1].any()
    assert all(torch.isfinite(p.grad).all() for p in instance.parameters() if p.grad is not None)


def test_every_encoder_gives_unit_vectors(scene_model: SceneCrossOver) -> None:
    rng = np.random.default_rng(0)
    voxels = np.unique(rng.integers(0, 60, (800, 3)), axis=0)
    coordinates = torch.from_numpy(np.pad(voxels, ((0, 0), (1, 0))))
    with torch.no_grad():
        made = {
            "fused": scene_model.fused(objects()),
            "text": scene_model.text(torch.randn(2, 768)),
            "images": scene_model.images(torch.randn(2, 4, 3072), torch.ones(2, 4, dtype=torch.bool)),
            "floor_plan": scene_model.floor_plan(torch.randn(2, 1536)),
            "points": scene_model.points(coordinates, torch.rand(len(voxels), 3), 1),
        }
    for name, vectors in made.items():
        assert vectors.shape[1] == 768, name
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)), msg=name)


def test_objects_without_their_masks_or_places_are_refused() -> None:
    batch = objects()
    with pytest.raises(ValueError, match=r"locations\[point\]: missing"):
        InstanceCrossOver()(ObjectBatch(batch.features, batch.present, {"cad": batch.locations["cad"]}))
    with pytest.raises(ValueError, match=r"present\[rgb\]: expected \(2, 6\) bool"):
        ObjectBatch(batch.features, {**batch.present, "rgb": torch.ones(2, 6)}, batch.locations)
    with pytest.raises(ValueError, match="unknown modality 'smell'"):
        ObjectBatch({"smell": torch.zeros(1, 1, 4)}, {}, {})
