"""Training: the loss and its masks, learning sanity, exact continuation, caches that refuse what is not theirs."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from encoder_fakes import SIZES, TINY

from crossover_models.encoders.inputs import cloud_voxels
from crossover_models.encoders.network import UnifiedNetwork
from crossover_models.training.batches import ITEMS, embed, training_batch, whole_batch
from crossover_models.training.loss import MAX_SCALE, Temperature, all_pairs_loss, directed_rows, pair_loss
from crossover_models.training.recall import PAIRS, embed_rooms, recall_at, true_ranks
from crossover_models.training.room_sample import CacheError, RoomSample, load_samples, save_samples
from crossover_models.training.trainer import TrainingError, TrainingSettings, learning_rate, train


def make_room(index: int, seed: int = 0, shared: bool = True) -> RoomSample:
    """A room whose modalities are noisy views of one hidden vector, or of unrelated ones."""
    rng = np.random.default_rng([seed, index])
    hidden = rng.normal(size=8)

    def seen(width: int, rows: int, sense: int) -> np.ndarray:
        source = hidden if shared else np.random.default_rng([seed, index, sense]).normal(size=8)
        mix = np.random.default_rng(sense).normal(size=(8, width))
        return (source @ mix + 0.05 * rng.normal(size=(rows, width))).astype(np.float32)

    # A floor of 5 m x 4 m with one wall, and shelves whose heights tell rooms apart.
    heights = 1.25 + 1.2 * np.tanh((hidden if shared else rng.normal(size=8))[:3])
    corners = rng.random((600, 3)) * [5.0, 4.0, 2.5]
    corners[:150, 1] = 0.0
    for k, height in enumerate(heights):
        corners[150 + 150 * k : 300 + 150 * k, 2] = height
    blob = corners[200:400] * 0.5
    return RoomSample(
        f"b/{index}", "office", seen(SIZES.view, 4, 1), seen(SIZES.view, 5, 1), np.ones((4, 3), dtype=np.float32),
        np.ones((5, 3), dtype=np.float32), seen(SIZES.plan, 8, 2), seen(SIZES.text, 3, 3), corners.astype(np.float32),
        corners[100:500].astype(np.float32), blob.astype(np.float32), np.repeat([0, 1], 100).astype(np.int32),
        np.ones(3, dtype=np.float32),
    )  # fmt: skip


def random_units(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def test_loss_equals_a_plain_computation() -> None:
    a, b = random_units(5, 4), random_units(5, 4, seed=1)
    all_there = torch.ones(5, dtype=torch.bool)
    s = 7.0
    expected = 0.0
    for i in range(5):
        for x, y in ((a, b), (b, a)):
            scores = [s * float(x[i] @ y[j]) for j in range(5)]
            expected += -scores[i] + np.log(np.sum(np.exp(scores)))
    assert float(pair_loss(a, b, all_there, all_there, torch.tensor(s))) == pytest.approx(expected / 10)


def test_masked_items_are_neither_rows_nor_negatives() -> None:
    a, b = random_units(6, 4), random_units(6, 4, seed=1)
    has_a = torch.tensor([1, 1, 0, 1, 1, 1], dtype=torch.bool)
    has_b = torch.tensor([1, 1, 1, 1, 0, 1], dtype=torch.bool)
    scale = torch.tensor(5.0, dtype=torch.float64)
    before = pair_loss(a, b, has_a, has_b, scale)
    garbage_a, garbage_b = a.clone(), b.clone()
    garbage_a[2], garbage_b[4] = 99.0, -99.0
    assert torch.equal(before, pair_loss(garbage_a, garbage_b, has_a, has_b, scale))
    rows = directed_rows(garbage_a, garbage_b, has_a, has_b, scale)
    assert rows[2] == 0 and rows[4] == 0
    kept = [0, 1, 3, 5]
    with_extra = directed_rows(a[kept], b[[0, 1, 3, 5]], has_a[kept], has_b[kept], scale)
    assert (rows[kept] > with_extra).all(), "room 2 has b, so it must still be a negative of a's rows"


def test_zeroing_a_modality_changes_no_other_rows_loss() -> None:
    rooms = [make_room(i) for i in range(6)]
    torch.manual_seed(0)
    network = UnifiedNetwork(TINY, SIZES).eval()
    batch = whole_batch(rooms, TINY)
    masks = {item: batch.present[item].clone() for item in ITEMS}
    masks["F"][2] = False
    plans = batch.plans.clone()
    plans[2] = 0.0
    scale = torch.tensor(10.0)
    for other in ("I", "P", "M", "R"):
        a, b = embed(network, batch), embed(network, replace(batch, plans=plans))
        rows_a = directed_rows(a["F"], a[other], masks["F"], masks[other], scale)
        rows_b = directed_rows(b["F"], b[other], masks["F"], masks[other], scale)
        assert torch.allclose(rows_a, rows_b) and rows_a[2] == 0
        back_a = directed_rows(a[other], a["F"], masks[other], masks["F"], scale)
        back_b = directed_rows(b[other], b["F"], masks[other], masks["F"], scale)
        assert torch.allclose(back_a, back_b)


def test_pairs_with_fewer_than_two_rooms_cost_nothing() -> None:
    a, b = random_units(3, 4).requires_grad_(), random_units(3, 4, seed=1)
    none, one = torch.zeros(3, dtype=torch.bool), torch.tensor([True, False, False])
    everyone = torch.ones(3, dtype=torch.bool)
    for mask in (none, one):
        loss = pair_loss(a, b, mask, everyone, torch.tensor(14.0, dtype=torch.float64))
        assert loss == 0
        (gradient,) = torch.autograd.grad(loss, a)
        assert torch.isfinite(gradient).all() and (gradient == 0).all()
    with pytest.raises(ValueError, match="two modalities"):
        all_pairs_loss({"I": a}, {"I": everyone}, torch.tensor(1.0))


def test_temperature_is_learned_and_clamped() -> None:
    temperature = Temperature()
    assert float(temperature().detach()) == pytest.approx(1 / 0.07, rel=1e-4)
    assert temperature.log_scale.requires_grad
    with torch.no_grad():
        temperature.log_scale.fill_(9.0)
    assert float(temperature().detach()) == MAX_SCALE


def test_overfits_eight_rooms() -> None:
    rooms = [make_room(i) for i in range(8)]
    torch.manual_seed(0)
    network, temperature = UnifiedNetwork(TINY, SIZES), Temperature()
    optimizer = torch.optim.AdamW([*network.parameters(), *temperature.parameters()], lr=3e-3)
    batch = whole_batch(rooms, TINY)
    for step in range(60):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1.0 - step / 60)
        loss = all_pairs_loss(embed(network, batch), batch.present, temperature())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    embeddings = embed_rooms(network, TINY, rooms)
    recalls = {f"{a}-{b}": recall_at(true_ranks(embeddings[a], embeddings[b]), 1) for a, b in PAIRS}
    assert min(recalls.values()) == 1.0, recalls
    assert float(loss.detach()) < 0.1


def test_unrelated_pairs_score_chance(tmp_path: Path) -> None:
    rooms = [make_room(i, shared=False) for i in range(32)]
    unseen = [make_room(i, seed=1, shared=False) for i in range(60)]
    settings = TrainingSettings(epochs=8, batch=16, validate_every=4)
    best, _ = train(TINY, SIZES, settings, rooms, unseen, tmp_path / "s.safetensors")
    network = UnifiedNetwork(TINY, SIZES)
    network.load_state_dict(best)
    embeddings = embed_rooms(network, TINY, unseen)
    recall = np.mean([recall_at(true_ranks(embeddings[a], embeddings[b]), 10) for a, b in (("I", "F"), ("I", "R"),
                                                                                          ("F", "R"))])  # fmt: skip
    assert recall == pytest.approx(10 / 60, abs=0.12)


def test_a_killed_run_goes_on_with_the_same_numbers(tmp_path: Path) -> None:
    rooms, unseen = [make_room(i) for i in range(12)], [make_room(i, seed=1) for i in range(6)]
    settings = TrainingSettings(epochs=3, batch=4, validate_every=1, seed=3)
    whole, whole_state = train(TINY, SIZES, settings, rooms, unseen, tmp_path / "whole.safetensors")
    part = tmp_path / "part.safetensors"
    for _ in range(4):
        stopped, state = train(TINY, SIZES, settings, rooms, unseen, part, max_steps=2)
    assert state.step < 9
    finished, state = train(TINY, SIZES, settings, rooms, unseen, part)
    assert state.step == whole_state.step == 9
    untimed = [[{k: v for k, v in e.items() if k != "spent_s"} for e in s.log] for s in (state, whole_state)]
    assert untimed[0] == untimed[1]
    assert all(torch.equal(whole[name], finished[name]) for name in whole)
    assert stopped.keys() == whole.keys()


def test_states_and_caches_of_others_are_refused(tmp_path: Path) -> None:
    rooms = [make_room(i) for i in range(4)]
    settings = TrainingSettings(epochs=1, batch=2)
    file = tmp_path / "s.safetensors"
    train(TINY, SIZES, settings, rooms, rooms, file)
    with pytest.raises(CacheError, match="other settings"):
        train(TINY, SIZES, settings.with_flat({"seed": 9}), rooms, rooms, file)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CacheError, match=r"s\.safetensors"):
        train(TINY, SIZES, settings, rooms, rooms, file)
    cache = tmp_path / "rooms.safetensors"
    save_samples(cache, rooms, "key")
    with pytest.raises(CacheError, match="other settings"):
        load_samples(cache, "other")
    cache.write_bytes(b"rubbish")
    with pytest.raises(CacheError, match=r"rooms\.safetensors"):
        load_samples(cache, "key")


def test_cache_round_trip(tmp_path: Path) -> None:
    rooms = [make_room(i) for i in range(3)]
    save_samples(tmp_path / "r.safetensors", rooms, "key")
    back = load_samples(tmp_path / "r.safetensors", "key")
    assert [r.room_id for r in back] == [r.room_id for r in rooms]
    assert np.array_equal(back[1].survey_points, rooms[1].survey_points)
    assert np.allclose(back[2].survey_views, rooms[2].survey_views, atol=1e-2)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_state(tmp_path: Path) -> None:
    rooms = [make_room(i) for i in range(4)]
    settings = TrainingSettings(epochs=4, batch=4, validate_every=1)
    file = tmp_path / "s.safetensors"
    train(TINY, SIZES, settings, rooms, rooms, file, max_steps=1)
    before = file.read_bytes()
    spoiled = [replace(room, plans=room.plans * np.float32(np.nan)) for room in rooms]
    with pytest.raises(TrainingError, match="loss: nan at step 1"):
        train(TINY, SIZES, settings, spoiled, rooms, file)
    assert file.read_bytes() == before
    with pytest.raises(TrainingError, match="fewer than a batch"):
        train(TINY, SIZES, settings, rooms[:2], rooms, file)


def test_batches_are_a_function_of_the_seed_and_mask_what_is_absent() -> None:
    rooms = [make_room(i) for i in range(6)]
    bare = replace(rooms[0], mesh_points=np.zeros((0, 3), dtype=np.float32), mesh_object=np.zeros(0, dtype=np.int32))
    rooms[0] = bare
    a, b = (training_batch(rooms, TINY, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(a.views["I"][0], b.views["I"][0]) and torch.equal(a.plans, b.plans)
    assert not a.present["M"][0]
    assert all((cloud is not None) == bool(there) for cloud, there in zip(a.clouds["P"], a.present["P"], strict=True))
    whole = whole_batch(rooms, TINY)
    assert all(bool(whole.present[item].all()) for item in ITEMS if item != "M")
    embeddings = embed(UnifiedNetwork(TINY, SIZES).eval(), whole)
    assert (embeddings["M"][0] == 0).all() and set(embeddings) == set(ITEMS)


def test_batched_clouds_embed_as_single_ones() -> None:
    rooms = [make_room(i) for i in range(3)]
    torch.manual_seed(0)
    network = UnifiedNetwork(TINY, SIZES).eval()
    together = embed(network, whole_batch(rooms, TINY))["Pr"]
    for i, room in enumerate(rooms):
        voxels = cloud_voxels(TINY, room.robot_points, None)
        coordinates = torch.from_numpy(np.pad(voxels.coordinates, ((0, 0), (1, 0))))
        alone = network.points(coordinates, torch.from_numpy(voxels.features), 1)
        assert torch.allclose(together[i], alone[0], atol=1e-5)


def test_ranks_count_ties_against_the_query_and_leave_absent_rooms_out() -> None:
    gallery = np.eye(4, dtype=np.float32)
    assert true_ranks(gallery, gallery).tolist() == [0, 0, 0, 0]
    assert true_ranks(np.ones((4, 4), dtype=np.float32), gallery).tolist() == [3, 3, 3, 3]
    absent = gallery.copy()
    absent[1] = np.nan
    assert true_ranks(absent, gallery).tolist() == [0, 0, 0]
    order = np.roll(gallery, 1, axis=0)
    assert recall_at(true_ranks(order, gallery), 1) == 0.0


def test_schedule_rises_and_falls() -> None:
    settings = TrainingSettings(learning_rate=1.0, warmup=0.1)
    rates = [learning_rate(settings, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[9] == 1.0 and rates[-1] < 0.01
    assert all(a <= b for a, b in itertools.pairwise(rates[:10])) and all(
        a >= b for a, b in itertools.pairwise(rates[10:])
    )
