"""Learning of the network with explicit sets: it learns what is there, and nothing where nothing is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scene_features import shuffled, synthetic_features
from sets_features import TINY, sets_rooms, shapes_of, tiny_model, with_sets

from crossover_models.dataset.features import SceneFeatures
from crossover_models.sets import batches
from crossover_models.sets.checkpoint import load_model, save_model
from crossover_models.sets.stage import ITEMS, SetsModule, SetsStage, all_codes, encode, similarities
from crossover_models.training.feature_set import FeatureSet
from crossover_models.training.loop import run_stage
from crossover_models.training.settings import TrainingSettings


def _stage(train: FeatureSet, val: FeatureSet, settings=TINY, **options) -> SetsStage:
    torch.manual_seed(0)
    model, sources = tiny_model(train, settings)
    sources.shapes.update(shapes_of(val))
    module = SetsModule(model.network, model.scores)
    return SetsStage(module, train.scans, val.scans, sources, model.attributes, **options)


def _fast(epochs: int, batch: int) -> TrainingSettings:
    return TrainingSettings(
        epochs=epochs, batch=batch, learning_rate=5e-3, validate_every=epochs, device="cpu", tensorboard=False
    )


def test_it_learns_eight_rooms_by_heart(tmp_path: Path) -> None:
    rooms = sets_rooms(8)
    stage = _stage(rooms, rooms)
    before = stage.validate()["score"]
    run_stage(stage, _fast(60, 8), tmp_path, "key")
    after = stage.validate()
    assert before < 0.6
    assert after["score"] > 0.8
    assert np.mean([after[f"{pair}_r1"] for pair in ("I-P", "I-R", "P-F", "M-R")]) >= 0.6


def test_shuffled_pairs_teach_nothing(tmp_path: Path) -> None:
    train = with_sets(shuffled(synthetic_features(rooms=24)))
    val = with_sets(shuffled(synthetic_features(rooms=24, split="val"), seed=1))
    stage = _stage(train, val)
    run_stage(stage, _fast(10, 12), tmp_path, "key")
    figures = stage.validate()
    # Views, evidence and colors were not shuffled against each other's cloud's contents, texts and plans were.
    assert np.mean([figures[f"{pair}_r1"] for pair in ("I-R", "P-R", "I-F", "R-F", "M-R")]) < 0.2


@pytest.mark.parametrize("item", ["I", "P", "M", "F", "R"])
def test_what_a_room_lacks_changes_no_other_room(item: str) -> None:
    rooms = sets_rooms(4)
    model, sources = tiny_model(rooms)
    module = SetsModule(model.network, model.scores).eval()
    poorer = list(rooms.scans)
    poorer[2] = _without(poorer[2], item)
    other = batches.Sources(TINY, sources.categories, shapes_of(FeatureSet(tuple(poorer), "poorer")))
    with torch.inference_mode():
        all_there, present, _ = encode(module.network, rooms.scans, sources, None)
        one_less, fewer, _ = encode(module.network, poorer, other, None)
    assert present[item].all() and not fewer[item][2] and fewer[item].sum() == 3
    for name in ITEMS:
        kept = [0, 1, 3] if name == item else [0, 1, 2, 3]
        assert torch.allclose(all_there[name].vector[kept], one_less[name].vector[kept], atol=1e-5), name
        assert torch.allclose(all_there[name].attributes[kept], one_less[name].attributes[kept], atol=1e-5), name


def _without(scan: SceneFeatures, item: str) -> SceneFeatures:
    none = {
        "I": ("views", "view_poses", "view_colors", "view_objects"),
        "P": ("points", "colors", "colored", "instance"),
        "F": ("plans", "plan_rasters"),
        "R": ("texts", "referrals", "referral_objects"),
    }
    if item == "M":
        return replace(scan, object_cad=np.full_like(scan.object_cad, -1), cad_points=scan.cad_points[:0])
    return replace(scan, **{name: getattr(scan, name)[:0] for name in none[item]})


def test_absent_items_are_no_negatives() -> None:
    """The loss of the other rooms is the same whatever the absent item's row holds."""
    rooms = sets_rooms(6)
    stage = _stage(rooms, rooms)
    module = stage.module
    with torch.no_grad():
        codes, present, _ = encode(module.network, rooms.scans, stage._sources, None)
        present["R"][3] = False
        index = torch.arange(6)
        before = stage._contrast("I", "R", codes, present, index)
        codes["R"] = replace(codes["R"], vector=codes["R"].vector.clone())
        codes["R"].vector[3] = codes["I"].vector[0]
        assert torch.equal(before, stage._contrast("I", "R", codes, present, index))
        stage._legacy = True
        assert not torch.equal(before, stage._contrast("I", "R", codes, present, index))


def test_rescans_of_a_room_are_no_negatives_of_each_other() -> None:
    rooms = with_sets(synthetic_features(rooms=4, rescans=2))
    stage = _stage(rooms, rooms)
    twins = [i for i, scan in enumerate(rooms) if scan.room_id == rooms.scans[0].room_id]
    assert len(twins) == 2
    with torch.no_grad():
        codes, present, _ = encode(stage.module.network, rooms.scans, stage._sources, None)
        index = torch.arange(len(rooms))
        before = stage._contrast("I", "P", codes, present, index)
        stage._rooms = torch.arange(len(rooms))
        assert stage._contrast("I", "P", codes, present, index) > before


def test_withheld_pairs_are_never_contrasted() -> None:
    rooms = sets_rooms(4)
    stage = _stage(rooms, rooms, withheld=frozenset([frozenset("RF"), frozenset("IP")]))
    kinds = {frozenset((ITEMS[a], ITEMS[b])) for a, b in stage._pairs}
    assert frozenset("RF") not in kinds and frozenset("IP") not in kinds and frozenset("IR") in kinds


def test_the_queue_holds_the_last_vectors_and_never_the_own_room() -> None:
    rooms = sets_rooms(4)
    stage = _stage(rooms, rooms)
    rng = np.random.default_rng(0)
    stage.module.train()
    first = stage.loss([0, 1, 2, 3], rng, torch.Generator())
    assert torch.isfinite(first)
    rows = stage.module.queue_rows
    assert {int(r) for r in rows[0] if r >= 0} <= set(range(4)) and (rows[:, 4:] == -1).all()
    assert stage.module.queue[0, :4].norm(dim=1).gt(0.9).all()


@pytest.mark.parametrize("switch", ["objects", "layout", "tokens", "appearance"])
def test_every_switch_changes_the_scores_and_still_trains(switch: str) -> None:
    rooms = sets_rooms(5)
    settings = replace(TINY, **{switch: False})
    stage = _stage(rooms, rooms, settings)
    loss = stage.loss(range(5), np.random.default_rng(0), torch.Generator())
    torch.autograd.backward(loss)
    assert torch.isfinite(loss)
    full = _stage(rooms, rooms)
    a, b = (similarities(s.module, rooms.scans, s._sources)[0]["P", "F"] for s in (stage, full))
    assert a.shape == b.shape and not np.allclose(a, b)


def test_a_drive_is_seen_frame_by_frame() -> None:
    rooms = sets_rooms(3)
    assert len(batches.drive(rooms.scans[0], None, 1).features) == 1
    assert len(batches.drive(rooms.scans[0], None).features) == len(rooms.scans[0].drive_views)
    draw = batches.Augment(np.random.default_rng(0))
    for _ in range(20):
        rows = draw.contiguous(8)
        assert (np.diff(rows) == 1).all() and 1 <= len(rows) <= 8


def test_a_checkpoint_gives_the_same_codes(tmp_path: Path) -> None:
    rooms = sets_rooms(4)
    model, sources = tiny_model(rooms)
    for tensor in model.state().values():
        if tensor.is_floating_point() and tensor.ndim >= 2:
            tensor.copy_(tensor.half().float())
    path = tmp_path / "edge.safetensors"
    save_model(path, model, {"seed": 5})
    again, about = load_model(path)
    assert about["seed"] == 5 and again.attributes.keys == model.attributes.keys
    first = all_codes(SetsModule(model.network, model.scores), rooms.scans, sources)[0]
    second = all_codes(SetsModule(again.network, again.scores), rooms.scans, sources)[0]
    for item in ITEMS.values():
        assert torch.equal(first[item].vector, second[item].vector), item


def test_what_is_kept_gives_the_codes_of_the_whole_network(tmp_path: Path) -> None:
    """The second phase starts from the same codes, and leaves the frozen networks as they are."""
    from crossover_models.sets.heads import HeadsStage, keep

    rooms = sets_rooms(6)
    first = _stage(rooms, rooms)
    network = first._own.network.eval()
    kept = keep(network, rooms.scans[0], first._sources)
    assert len(kept.clouds[0]) == 2 and len(kept.mesh[0]) == 1 and len(kept.plans[0]) == 2
    whole = all_codes(first._own, rooms.scans, first._sources)[0]
    with torch.inference_mode():
        again = network.points_from(*kept.clouds, kept.palettes)
    for row, item in ((0, "P"), (1, "Pd")):
        assert torch.allclose(again.vector[row], whole[item].vector[0], atol=1e-4), item
        assert torch.allclose(again.layout[row], whole[item].layout[0], atol=1e-4), item
    stage = _stage(rooms, rooms)
    stage = HeadsStage(stage._own, rooms.scans, rooms.scans, stage._sources, tiny_model(rooms)[0].attributes)
    before = {n: t.clone() for n, t in stage._own.network.state_dict().items()}
    score = stage.validate()["score"]
    run_stage(stage, _fast(40, 6), tmp_path, "key")
    after = stage._own.network.state_dict()
    changed = {n.split(".")[0] for n, t in after.items() if not torch.equal(t, before[n])}
    assert not changed & {"clouds", "layouts"} and {"trunks", "sentences", "views", "to_vector"} <= changed
    assert stage.validate()["score"] > score
