"""Late interaction without a network: what is compared of two codes, and how much each part counts.

A map keeps this beside its codes, so that whoever searches it needs neither weights nor torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crossover_models.observation import Code, Modality
from crossover_models.sets.tokens import token_lengths, unpack

if TYPE_CHECKING:
    from crossover_models.sets.scores import ScoreNetwork

_AT_ONCE = 256
_KINDS = {
    Modality.IMAGE: "I",
    Modality.POINT_CLOUD: "P",
    Modality.MESH: "M",
    Modality.FLOOR_PLAN: "F",
    Modality.TEXT: "R",
}
PAIRS = tuple(combinations_with_replacement(Modality, 2))
Array = NDArray[np.float32]


class InteractionError(ValueError):
    """A description or codes that do not fit; the message names the field and its value."""


@dataclass(frozen=True)
class PairWeights:
    """How much counts between two modalities.

    ``scale`` <v, w>, ``trust`` of attributes, ``gain`` of layouts, ``tint`` of colors.
    """

    scale: float
    trust: float
    gain: float
    tint: float


@dataclass(frozen=True)
class PreparedQuery:
    """A query as it meets many places.

    Attributes:
        vector: (D,).
        logits: (A,).
        colors: (K,) or None.
        positions: (positions, C S S) of its layout, or None.
    """

    vector: Array
    logits: Array
    colors: Array | None
    positions: Array | None


@dataclass(frozen=True)
class Interaction:
    """The scores of :class:`crossover_models.sets.scores.ScoreNetwork`, in numpy.

    Attributes:
        rates: (A,) shares of rooms that have each attribute; none where attributes are not compared.
        weights: (A,) of the attributes' log-likelihood ratios.
        pairs: both orders of two modalities -> weights.
        least_probability: posteriors nearer to no or yes count as this near.
        layout_shape: (C, H, W).
        reach: cells that layouts may be shifted.
        colors: K; 0 where colors are not compared.
    """

    rates: Array
    weights: Array
    pairs: Mapping[tuple[Modality, Modality], PairWeights]
    least_probability: float
    layout_shape: tuple[int, int, int]
    reach: int
    colors: int

    @classmethod
    def of(cls, network: ScoreNetwork) -> Interaction:
        """What a trained network scores with."""
        from crossover_models.sets.palette import COLORS
        from crossover_models.sets.raster import CELLS
        from crossover_models.sets.scores import pair_index
        from crossover_models.sets.scoring import LEAST_PROBABILITY, REACH

        pairs = {}
        for a, b in PAIRS:
            kinds = _KINDS[a], _KINDS[b]
            row = pair_index(*kinds)
            rest = (part[row].exp() for part in (network.log_trust, network.log_layout, network.log_colors))
            weights = network.scale(*kinds), *rest
            pairs[a, b] = pairs[b, a] = PairWeights(*(float(w.detach()) for w in weights))
        settings = network.settings
        compared = len(network.rates) if settings.objects else 0
        return cls(
            network.rates.detach().cpu().numpy()[:compared].astype(np.float32),
            network.log_weight.detach().exp().cpu().numpy()[:compared].astype(np.float32),
            pairs,
            LEAST_PROBABILITY,
            (settings.layout_channels, CELLS // 2, CELLS // 2),
            REACH,
            COLORS if settings.appearance else 0,
        )

    @property
    def token_lengths(self) -> tuple[int, ...]:
        """Every T that a code may have."""
        return token_lengths(len(self.rates), self.colors, self.layout_shape)

    def prepared(self, query: Code) -> PreparedQuery:
        """What is the same for all places that a query is compared with; worth keeping for several :meth:`scores`.

        Raises:
            InteractionError: tokens of another length than this interaction's.
        """
        logits, colors, layouts = self._unpacked(query.tokens[None])
        positions = None if layouts is None else layout_positions(layouts[0], self.reach)
        return PreparedQuery(query.vector, logits[0], None if colors is None else colors[0], positions)

    def scores(
        self,
        query: Code | PreparedQuery,
        query_modality: Modality,
        vectors: Array,
        tokens: NDArray[np.int8],
        modality: Modality,
    ) -> Array:
        """Scores (n,) of a query and n codes of one modality, in nats up to a constant.

        Args:
            query: of one place.
            query_modality: what it was made of.
            vectors: (n, D) unit norm.
            tokens: (n, T).
            modality: what those were made of.

        Raises:
            InteractionError: tokens of another length than this interaction's.
        """
        return self.scores_each(query, query_modality, [(vectors, tokens, modality)])[0]

    def scores_each(
        self,
        query: Code | PreparedQuery,
        query_modality: Modality,
        groups: Sequence[tuple[Array, NDArray[np.int8], Modality]],
    ) -> list[Array]:
        """:meth:`scores` of several groups (vectors, tokens, modality), whose layouts are compared all at once.

        Raises:
            InteractionError: tokens of another length than this interaction's.
        """
        asked = query if isinstance(query, PreparedQuery) else self.prepared(query)
        totals, layouts, rows_of = [], [], []
        for number, (vectors, tokens, modality) in enumerate(groups):
            pair = self.pairs[query_modality, modality]
            total = np.float32(pair.scale) * (vectors @ asked.vector)
            totals.append(total)
            for start in range(0, len(tokens), _AT_ONCE):
                rows = slice(start, start + _AT_ONCE)
                logits, colors, laid = self._unpacked(tokens[rows])
                if len(self.rates):
                    total[rows] += np.float32(pair.trust) * (self._ratios(asked.logits, logits) @ self.weights)
                if asked.colors is not None and colors is not None:
                    total[rows] += np.float32(pair.tint) * (colors @ asked.colors)
                if asked.positions is None or laid is None:
                    continue
                layouts.append(laid)
                rows_of.append((number, rows, np.float32(pair.gain)))
                if sum(map(len, layouts)) >= _AT_ONCE:
                    _add_layouts(totals, asked.positions, layouts, rows_of)
        if asked.positions is not None and layouts:
            _add_layouts(totals, asked.positions, layouts, rows_of)
        return [np.asarray(total, dtype=np.float32) for total in totals]

    def _unpacked(self, tokens: NDArray[np.int8]) -> tuple[Array, Array | None, Array | None]:
        try:
            return unpack(tokens, len(self.rates), self.colors, self.layout_shape)
        except ValueError as error:
            raise InteractionError(str(error)) from None

    def _ratios(self, query: Array, gallery: Array) -> Array:
        """Logits (A,) and (n, A) -> log-likelihood ratios (n, A), see :func:`attribute_scores`."""
        least, one = np.float32(self.least_probability), np.float32(1.0)
        p, q = (np.clip(one / (one + np.exp(-x)), least, one - least) for x in (query, gallery))
        return np.asarray(np.log(p * (q / self.rates) + (one - p) * ((one - q) / (one - self.rates))))

    def to_json(self) -> str:
        """For a map's own description."""
        pairs = {f"{a.value} {b.value}": self.pairs[a, b] for a, b in PAIRS}
        return json.dumps(
            {
                "rates": self.rates.tolist(),
                "weights": self.weights.tolist(),
                "pairs": {name: [w.scale, w.trust, w.gain, w.tint] for name, w in pairs.items()},
                "least_probability": self.least_probability,
                "layout_shape": list(self.layout_shape),
                "reach": self.reach,
                "colors": self.colors,
            },
            sort_keys=True,
        )

    @classmethod
    def from_json(cls, text: str) -> Interaction:
        """What :meth:`to_json` gave, number for number.

        Raises:
            InteractionError: no such text.
        """
        try:
            read: Any = json.loads(text)
            pairs = {}
            for a, b in PAIRS:
                weights = PairWeights(*(float(v) for v in read["pairs"][f"{a.value} {b.value}"]))
                pairs[a, b] = pairs[b, a] = weights
            rates, weights_of = (np.array(read[name], dtype=np.float32) for name in ("rates", "weights"))
            channels, rows, cols = (int(v) for v in read["layout_shape"])
            least, reach, colors = float(read["least_probability"]), int(read["reach"]), int(read["colors"])
        except (KeyError, TypeError, ValueError) as error:
            raise InteractionError(f"interaction: not a description of one: {error!r}") from None
        if rates.ndim != 1 or rates.shape != weights_of.shape or not ((rates > 0) & (rates < 1)).all():
            raise InteractionError(
                f"interaction: rates {rates.shape} and weights {weights_of.shape} make no attributes"
            )
        if min(channels, rows, cols) < 1 or rows != cols or min(reach, colors) < 0 or not 0.0 < least < 0.5:
            raise InteractionError(
                f"interaction: layout_shape {[channels, rows, cols]}, reach {reach}, colors {colors}, "
                f"least_probability {least}"
            )
        return cls(rates, weights_of, pairs, least, (channels, rows, cols), reach, colors)


def layout_positions(layout: Array, reach: int) -> Array:
    """A layout (C, S, S) in its 4 (2 reach + 1)^2 quarter turns and shifts, a row (C S S,) each.

    The query is moved instead of the gallery: that is done once, and one product compares it with all others.
    """
    side, at = layout.shape[1], (2 * reach + 1) ** 2
    padded = np.pad(layout, ((0, 0), (reach, reach), (reach, reach)))
    out = np.empty((4 * at, layout.size), dtype=layout.dtype)
    for turn in range(4):
        turned = np.ascontiguousarray(np.rot90(padded, turn, axes=(1, 2)))
        windows = np.lib.stride_tricks.sliding_window_view(turned, (side, side), axis=(1, 2))
        out[turn * at : (turn + 1) * at].reshape(2 * reach + 1, 2 * reach + 1, *layout.shape)[:] = np.moveaxis(
            windows, 0, 2
        )
    return out


def layout_scores(positions: Array, gallery: Array) -> Array:
    """Largest correlation (n,) of a layout's positions with other layouts (n, C, S, S)."""
    return np.asarray((positions @ gallery.reshape(len(gallery), -1).T).max(axis=0), dtype=np.float32)


def _add_layouts(
    totals: Sequence[Array], positions: Array, layouts: list[Array], rows_of: list[tuple[int, slice, np.float32]]
) -> None:
    """Add what layouts say to the rows of the groups they are of, and forget them."""
    scores = layout_scores(positions, np.concatenate(layouts))
    start = 0
    for layout, (number, rows, gain) in zip(layouts, rows_of, strict=True):
        totals[number][rows] += gain * scores[start : start + len(layout)]
        start += len(layout)
    layouts.clear()
    rows_of.clear()
