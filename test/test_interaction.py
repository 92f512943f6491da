"""Late interaction in numpy is the network's own; codes survive their bytes; damaged descriptions are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from crossover_models.observation import Code, Modality
from crossover_models.sets.codes import Codes
from crossover_models.sets.interaction import PAIRS, Interaction, InteractionError, layout_positions, layout_scores
from crossover_models.sets.palette import COLORS
from crossover_models.sets.scores import PAIR_INDEX, ScoreNetwork
from crossover_models.sets.scoring import REACH
from crossover_models.sets.scoring import layout_scores as torch_layout_scores
from crossover_models.sets.settings import SetsSettings
from crossover_models.sets.tokens import MOST_LOGIT, pack, unpack

ATTRIBUTES, LAYOUT, DIM = 40, (2, 32, 32), 16
KINDS = {
    Modality.IMAGE: "I",
    Modality.POINT_CLOUD: "P",
    Modality.MESH: "M",
    Modality.FLOOR_PLAN: "F",
    Modality.TEXT: "R",
}
LAID = (Modality.POINT_CLOUD, Modality.MESH, Modality.FLOOR_PLAN)
TINTED = (Modality.IMAGE, Modality.POINT_CLOUD)
Parts = tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]


def score_network(**settings: bool) -> ScoreNetwork:
    """Every pair and attribute counts differently."""
    torch.manual_seed(2)
    network = ScoreNetwork(SetsSettings(layout_channels=2, **settings), torch.rand(ATTRIBUTES) * 0.9 + 0.05)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0.5, 0.7)
    return network.requires_grad_(False)


def random_codes(modality: Modality, count: int, seed: int) -> Parts:
    """Vectors, logits, layouts and colors of places."""
    rng = np.random.default_rng(seed)
    vectors, layouts = rng.normal(size=(count, DIM)), rng.normal(size=(count, *LAYOUT)) ** 3
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    layouts /= np.linalg.norm(layouts.reshape(count, -1), axis=1)[:, None, None, None]
    logits = rng.normal(size=(count, ATTRIBUTES)) * 3
    colors = rng.normal(size=(count, COLORS))
    colors /= np.linalg.norm(colors, axis=1, keepdims=True)
    colors[::7] = 0.0
    laid = layouts.astype(np.float32) if modality in LAID else None
    tinted = colors.astype(np.float32) if modality in TINTED else None
    return vectors.astype(np.float32), logits.astype(np.float32), laid, tinted


def packed(logits: np.ndarray, layouts: np.ndarray | None, colors: np.ndarray | None) -> np.ndarray:
    none = [None] * len(logits)
    rows = zip(logits, none if layouts is None else layouts, none if colors is None else colors, strict=True)
    return np.stack([pack(*row) for row in rows])


def tensors(vectors: np.ndarray, tokens: np.ndarray) -> Codes:
    """What the tokens say, as the network takes it."""
    logits, colors, layouts = unpack(tokens, ATTRIBUTES, COLORS, LAYOUT)
    laid, seen = (None if part is None else torch.from_numpy(part) for part in (layouts, colors))
    return Codes(torch.from_numpy(vectors), torch.from_numpy(logits), laid, seen)


@pytest.mark.parametrize(
    "pair", [(a, b) for a in Modality for b in Modality], ids=lambda p: f"{p[0].value}-{p[1].value}"
)
def test_scores_are_those_of_the_network(pair: tuple[Modality, Modality]) -> None:
    network = score_network()
    interaction = Interaction.from_json(Interaction.of(network).to_json())
    asked, held = random_codes(pair[0], 3, 1), random_codes(pair[1], 300, 2)
    query, gallery = packed(*asked[1:]), packed(*held[1:])
    expected = network(
        tensors(asked[0], query), KINDS[pair[0]], tensors(held[0], gallery), KINDS[pair[1]], REACH
    ).numpy()
    for row, want in enumerate(expected):
        got = interaction.scores(Code(asked[0][row], query[row]), pair[0], held[0], gallery, pair[1])
        assert got.shape == (300,) and got.dtype == np.float32
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-3)


def test_what_the_network_leaves_out_is_left_out() -> None:
    network = score_network(objects=False)
    interaction = Interaction.of(network)
    assert interaction.token_lengths == (0, COLORS, 2048, COLORS + 2048)
    asked, held = (random_codes(Modality.MESH, 5, seed) for seed in (1, 2))
    query, gallery = (packed(logits[:, :0], laid, None) for _, logits, laid, _ in (asked, held))
    layouts = [torch.from_numpy(unpack(tokens, 0, COLORS, LAYOUT)[2]) for tokens in (query, gallery)]
    nothing = torch.zeros(5, ATTRIBUTES)
    codes = [Codes(torch.from_numpy(c[0]), nothing, laid) for c, laid in zip((asked, held), layouts, strict=True)]
    expected = network(codes[0], "M", codes[1], "M", REACH)[0].numpy()
    got = interaction.scores(Code(asked[0][0], query[0]), Modality.MESH, held[0], gallery, Modality.MESH)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("reach", [0, 1, 4])
def test_layouts_are_laid_on_each_other_as_in_training(reach: int) -> None:
    rng = np.random.default_rng(4)
    query, gallery = (rng.normal(size=(n, 2, 8, 8)).astype(np.float32) for n in (1, 20))
    expected = torch_layout_scores(torch.from_numpy(query), torch.from_numpy(gallery), reach)[0].numpy()
    np.testing.assert_allclose(
        layout_scores(layout_positions(query[0], reach), gallery), expected, rtol=1e-5, atol=1e-4
    )


@pytest.mark.parametrize("modality", list(Modality))
def test_bytes_keep_the_ranking(modality: Modality) -> None:
    network = score_network()
    asked, held = random_codes(Modality.POINT_CLOUD, 20, 5), random_codes(modality, 60, 6)
    # The first rooms are there: the same codes, disturbed.
    rng = np.random.default_rng(7)
    for own, other, noise in zip(held, asked, (0.2, 1.0, 0.02, 0.1), strict=True):
        if own is not None and other is not None:
            own[:20] = other + rng.normal(0, noise, other.shape).astype(np.float32)
    if held[2] is not None:
        held[2][:] /= np.linalg.norm(held[2].reshape(60, -1), axis=1)[:, None, None, None]
    if held[3] is not None:
        held[3][:] /= np.maximum(1.0, np.linalg.norm(held[3], axis=1, keepdims=True))
    whole = [
        Codes(torch.from_numpy(v), torch.from_numpy(a), *(None if x is None else torch.from_numpy(x) for x in rest))
        for v, a, *rest in (asked, held)
    ]
    kinds = "P", KINDS[modality]
    before = network(whole[0], kinds[0], whole[1], kinds[1], REACH).numpy()
    interaction = Interaction.of(network)
    query, gallery = packed(*asked[1:]), packed(*held[1:])
    after = np.stack(
        [
            interaction.scores(Code(asked[0][i], query[i]), Modality.POINT_CLOUD, held[0], gallery, modality)
            for i in range(20)
        ]
    )
    assert np.array_equal(before.argmax(axis=1), after.argmax(axis=1))
    assert np.abs(after - before).max() < 0.04 * before.std()


def test_tokens_say_what_they_were_made_of() -> None:
    logits = np.array([-9.0, -MOST_LOGIT, -0.5, 0.0, 0.018, 1.0, 99.0], dtype=np.float32)
    layout = np.random.default_rng(0).normal(size=LAYOUT).astype(np.float32)
    layout /= np.linalg.norm(layout)
    tinted = np.random.default_rng(1).normal(size=COLORS).astype(np.float32)
    tinted /= np.linalg.norm(tinted)
    found, colors, layouts = unpack(pack(logits, layout, tinted)[None], 7, COLORS, LAYOUT)
    assert colors is not None and float((colors[0] * tinted).sum()) > 0.9998
    np.testing.assert_allclose(found[0], np.clip(logits, -MOST_LOGIT, MOST_LOGIT), atol=MOST_LOGIT / 254 + 1e-6)
    assert layouts is not None and float((layouts[0] * layout).sum()) > 0.9999
    assert unpack(pack(logits, None)[None], 7, COLORS, LAYOUT)[1:] == (None, None)
    assert unpack(pack(logits, layout)[None], 7, COLORS, LAYOUT)[1] is None
    nothing = pack(logits, np.zeros(LAYOUT, dtype=np.float32), np.zeros(COLORS, dtype=np.float32))
    for empty in unpack(nothing[None], 7, COLORS, LAYOUT)[1:]:
        assert empty is not None and not empty.any()


def test_a_description_comes_back_number_for_number() -> None:
    interaction = Interaction.of(score_network())
    again = Interaction.from_json(interaction.to_json())
    assert again.to_json() == interaction.to_json()
    assert np.array_equal(again.rates, interaction.rates) and again.pairs == interaction.pairs
    assert len(PAIRS) == len(PAIR_INDEX) and len({again.pairs[pair] for pair in PAIRS}) == len(PAIRS)


@pytest.mark.parametrize(
    "change",
    [
        {"rates": [0.5] * 3},
        {"rates": [1.0] * ATTRIBUTES},
        {"weights": "x"},
        {"pairs": {}},
        {"pairs": None},
        {"layout_shape": [2, 32]},
        {"layout_shape": [2, 32, 16]},
        {"reach": -1},
        {"colors": -1},
        {"least_probability": 0.7},
    ],
    ids=str,
)
def test_descriptions_that_make_no_sense_are_refused(change: dict[str, object]) -> None:
    about = json.loads(Interaction.of(score_network()).to_json())
    with pytest.raises(InteractionError, match="interaction: "):
        Interaction.from_json(json.dumps({**about, **change}))
    with pytest.raises(InteractionError, match="interaction: not a description"):
        Interaction.from_json("{")


def test_tokens_of_another_length_are_refused() -> None:
    interaction = Interaction.of(score_network())
    vectors, logits, layouts, _ = random_codes(Modality.MESH, 4, 0)
    tokens = packed(logits, layouts, None)
    for query, gallery in ((tokens[0, :-1], tokens), (tokens[0], tokens[:, 1:])):
        with pytest.raises(
            InteractionError, match=f"expected 40 or 104 or {40 + 2048} or {104 + 2048} a code, got {40 + 2047}"
        ):
            interaction.scores(Code(vectors[0], query), Modality.MESH, vectors, gallery, Modality.MESH)
