"""Late interaction without a network: what is compared of two codes, and how much each part counts.

A map keeps this beside its codes, so that whoever searches it needs neither weights nor torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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
        asked = query if isinstance(query, PreparedQuery) else self.prepared(query)
        pair = self.pairs[query_modality, modality]
        total = np.float32(pair.scale) * (vectors @ asked.vector)
        for start in range(0, len(tokens), _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            logits, colors, layouts = self._unpacked(tokens[rows])
            if len(self.rates):
                total[rows] += np.float32(pair.trust) * (self._ratios(asked.logits, logits) @ self.weights)
            if asked.positions is not None and layouts is not None:
                total[rows] += np.float32(pair.gain) * layout_scores(asked.positions, layouts)
            if asked.colors is not None and colors is not None:
                total[rows] += np.float32(pair.tint) * (colors @ asked.colors)
        return np.asarray(total, dtype=np.float32)

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
    side = layout.shape[1]
    padded = np.pad(layout, ((0, 0), (reach, reach), (reach, reach)))
    moved = [
        np.rot90(padded[:, dy : dy + side, dx : dx + side], turn, axes=(1, 2)).reshape(-1)
        for turn in range(4)
        for dy in range(2 * reach + 1)
        for dx in range(2 * reach + 1)
    ]
    return np.stack(moved)


def layout_scores(positions: Array, gallery: Array) -> Array:
    """Largest correlation (n,) of a layout's positions with other layouts (n, C, S, S)."""
    return np.asarray((gallery.reshape(len(gallery), -1) @ positions.T).max(axis=1), dtype=np.float32)
