"""What retrieval's scores are worth, in nats, for each pair of modalities: fitted on validation buildings, shipped.

The scores of late interaction order places; how far they may be believed differs from pair to pair, because a robot's
clouds are partial, its frames show a corner, and a plan knows nothing of furniture. A look of the robot has the
log-likelihood ``sum_m w[q, m] (s_m(place) - mean over places of s_m)`` up to a constant: a conditional logit model
(McFadden 1974) whose weights :mod:`crossover_models.likelihood_fit` fits. Looks at one place are not independent:
their mean counts, shrunk towards nothing by :data:`SHRINKAGE` imagined looks that tell nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover_models.observation import Modality

# Looks without information that every place is thought to have had already.
SHRINKAGE = 1.0
SUFFIX = ".likelihood.json"
SHIPPED = Path(__file__).with_name("weights")
_SCHEMA = 1


class LikelihoodError(ValueError):
    """A file of weights that cannot be used; the message names the file and the field."""


@dataclass(frozen=True)
class RetrievalLikelihood:
    """Weights of scores, for one encoder.

    Attributes:
        fingerprint: of the encoder whose scores they are for.
        weights: (modality of the query, modality of the map) -> nats a unit of score; 0 for pairs never seen.
        none: modality of the query -> log-likelihood, in nats against the average place, of a robot that is at no
            place of the map.
        facts: what they were fitted on, for people.
    """

    fingerprint: str
    weights: Mapping[tuple[Modality, Modality], float]
    none: Mapping[Modality, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def covers(self, query: Modality, held: Collection[Modality]) -> bool:
        """Whether something was fitted for a query against what a map holds."""
        return any((query, modality) in self.weights for modality in held)

    def nats(self, query: Modality, centered: Mapping[Modality, float]) -> float:
        """Log-likelihood of one look at a place, against the average place.

        Args:
            query: what the look was made of.
            centered: modality of the map -> the place's score less its mean over all places; only those it has.
        """
        return sum(self.weights.get((query, modality), 0.0) * score for modality, score in centered.items())

    def to_json(self) -> str:
        """As :meth:`from_json` reads it."""
        values = {
            "schema_version": _SCHEMA,
            "fingerprint": self.fingerprint,
            "weights": {f"{q.value} {m.value}": round(w, 5) for (q, m), w in sorted(self.weights.items())},
            "none": {q.value: round(v, 5) for q, v in sorted(self.none.items())},
            "facts": dict(self.facts),
        }
        return json.dumps(values, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, name: str) -> RetrievalLikelihood:
        """Read what :meth:`to_json` wrote; ``name`` is the file's, for messages.

        Raises:
            LikelihoodError: not such a text, another schema, or a weight that is negative or no number.
        """
        try:
            read = json.loads(text)
            if read["schema_version"] != _SCHEMA:
                raise LikelihoodError(f"{name}: schema_version: {read['schema_version']!r}, expected {_SCHEMA}")
            weights = {}
            for pair, value in read["weights"].items():
                query, modality = (Modality(word) for word in pair.split(" "))
                weights[query, modality] = _number(value, f"{name}: weights: {pair}", least=0.0)
            none = {Modality(query): _number(value, f"{name}: none: {query}") for query, value in read["none"].items()}
            return cls(str(read["fingerprint"]), weights, none, dict(read["facts"]))
        except LikelihoodError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise LikelihoodError(f"{name}: not weights of retrieval: {error!r}") from None


def _number(value: object, what: str, least: float = -math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < least:
        raise LikelihoodError(
            f"{what}: expected a number{'' if least < 0 else f' of at least {least:g}'}, got {value!r}"
        )
    return float(value)


def log_mean_exp(logs: NDArray[np.float64]) -> float:
    """Logarithm of the mean of what (n,) logarithms stand for; n > 0."""
    top = float(logs.max())
    return top + float(np.log(np.exp(logs - top).mean()))


@lru_cache(maxsize=8)
def shipped_likelihood(fingerprint: str, folder: Path = SHIPPED) -> RetrievalLikelihood | None:
    """The shipped weights for an encoder; None where none were fitted for it.

    Raises:
        LikelihoodError: a file of the package is damaged.
    """
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        found = RetrievalLikelihood.from_json(path.read_text(encoding="utf-8"), path.name)
        if found.fingerprint == fingerprint:
            return found
    return None
