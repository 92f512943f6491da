"""Which index for how many places; ``crossover bench index`` measures one.

``measured.json`` beside this file holds what it measured, with the command of each row. The limits between kinds are
those that were asked for; by these figures inverted lists would do below a million places too.
Kinds: flat (exact), hnsw (graph over float vectors, Malkov and Yashunin 2018), ivf (inverted lists over 8-bit codes,
Jégou et al. 2011, whose best entries are scored again by the float vectors).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

FLAT_PLACES = 30_000
HNSW_PLACES = 1_000_000
Kind = Literal["flat", "hnsw", "ivf"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class IndexChoice:
    """A kind of index and its parameters; those of another kind are unused.

    Attributes:
        kind: of the index.
        links: of a node of the graph, per direction.
        construction: candidates while the graph is built.
        effort: candidates kept while the graph is searched.
        lists: inverted lists.
        probes: lists searched.
        refined: candidates scored again by the float vectors.
    """

    kind: Kind
    links: int = 16
    construction: int = 40
    effort: int = 64
    lists: int = 1024
    probes: int = 16
    refined: int = 40


def choose(places: int, gpu: bool = False, kind: str = "") -> IndexChoice:
    """The index for so many places; ``kind`` insists on one.

    A graph is not searched on a GPU by FAISS, so a GPU gets inverted lists. Lists number about 4 sqrt(n), which makes
    choosing lists and reading them cost alike: search time then grows as sqrt(n).

    Raises:
        ValueError: a kind that does not exist.
    """
    if kind and kind not in KINDS:
        raise ValueError(f"kind: must be one of {', '.join(KINDS)}, got {kind}")
    chosen = kind or ("flat" if places <= FLAT_PLACES else "ivf" if gpu or places > HNSW_PLACES else "hnsw")
    return IndexChoice(next(k for k in KINDS if k == chosen), lists=1 << _log2_lists(places))


def _log2_lists(places: int) -> int:
    """Exponent of the power of two at or below 4 sqrt(places), at least 1 place a list."""
    return max(0, min((4 * int(places**0.5)).bit_length() - 1, places.bit_length() - 1))
