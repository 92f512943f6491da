"""``crossover bench retrieval``: how often the right room is found among held-out simulated rooms, for every pair."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossover_models.encoders.network import UnifiedNetwork
    from crossover_models.encoders.profile import EncoderProfile
    from crossover_models.training.room_sample import RoomSample

CUTS = (1, 5, 10)
ITEM_NAMES = {
    "I": "images",
    "P": "point cloud",
    "F": "floor plan",
    "M": "CAD meshes",
    "R": "text",
    "Ir": "robot, 4 frames",
    "Ir1": "robot, 1 frame",
    "Pr": "robot, lidar",
}

Figures = dict[str, dict[str, float]]


def retrieval_figures(network: UnifiedNetwork, profile: EncoderProfile, rooms: Sequence[RoomSample]) -> dict[str, Any]:
    """Recall at 1, 5 and 10 of whole-gallery search among ``rooms``, as ``query-gallery``.

    Returns:
        ``rooms``; ``pairs`` among the map's modalities; ``robot`` for what a short drive sees against the map;
        ``trivial``, color histograms without learning where both sides have colors; ``chance``. Each holds ``r1``,
        ``r5``, ``r10`` and ``n``, the number of queries.
    """
    import numpy as np

    from crossover_models.training.recall import PAIRS, ROBOT_PAIRS, embed_rooms, true_ranks

    embeddings = dict(embed_rooms(network, profile, rooms))
    embeddings["Ir1"] = embed_rooms(network, profile, rooms, robot_frames=1)["Ir"]
    robot_pairs = (*ROBOT_PAIRS, *(("Ir1", item) for item in ("I", "P", "F", "M", "R")))
    colors = {
        "I": np.stack([room.survey_colors.mean(axis=0) for room in rooms]),
        "Ir": np.stack([room.robot_colors[:4].mean(axis=0) for room in rooms]),
        "Ir1": np.stack([room.robot_colors[0] for room in rooms]),
        "M": np.stack([room.mesh_colors for room in rooms]),
    }

    def recalls(ranks: Any) -> dict[str, float]:
        return {**{f"r{k}": round(float((ranks < k).mean()), 4) for k in CUTS}, "n": len(ranks)}

    def table(pairs: Sequence[tuple[str, str]], vectors: dict[str, Any]) -> Figures:
        return {f"{a}-{b}": recalls(true_ranks(vectors[a], vectors[b])) for a, b in pairs}

    number = len(rooms)
    return {
        "rooms": number,
        "pairs": table(PAIRS, embeddings),
        "robot": table(robot_pairs, embeddings),
        "trivial": table((("M", "I"), ("Ir", "I"), ("Ir1", "I"), ("Ir", "M")), colors),
        "chance": {f"r{k}": round(min(1.0, k / number), 4) for k in CUTS},
    }


def print_figures(figures: dict[str, Any]) -> None:
    """One table on the terminal."""
    from rich.console import Console
    from rich.table import Table

    title = f"Room retrieval among {figures['rooms']} held-out simulated rooms"
    table = Table(title=title)
    for name in ("query", "gallery", "R@1 [%]", "R@5 [%]", "R@10 [%]", "color histogram R@1 [%]"):
        table.add_column(name, justify="left" if name in ("query", "gallery") else "right")
    trivial = figures["trivial"]
    for group in ("pairs", "robot"):
        for pair, values in figures[group].items():
            query, gallery = pair.split("-")
            row = [f"{100 * values[f'r{k}']:.1f}" for k in CUTS]
            plain = f"{100 * trivial[pair]['r1']:.1f}" if pair in trivial else ""
            table.add_row(ITEM_NAMES[query], ITEM_NAMES[gallery], *row, plain)
        table.add_section()
    table.add_row("chance", "", *[f"{100 * figures['chance'][f'r{k}']:.1f}" for k in CUTS], "")
    Console().print(table)


def add_command(subparsers: Any) -> None:
    """Add ``bench retrieval``."""
    parser = subparsers.add_parser("retrieval", help="room retrieval between modalities, with chance and a trivial row")
    parser.add_argument("--checkpoint", default="", help="safetensors file or directory; default: the shipped one")
    parser.add_argument("--rooms", type=int, default=100, help="held-out simulated rooms (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the rooms (default: 0)")
    parser.add_argument("--cache", type=Path, default=Path("build/retrieval_rooms"), help="where rooms are kept")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make or read the rooms, embed them, rank them."""
    if arguments.rooms < 10:
        raise ValueError(f"--rooms: need at least 10 for recall at 10, got {arguments.rooms}")
    from crossover_models.encoders import EncoderError, UnifiedEncoder, load_encoder
    from crossover_models.encoders.front_ends import open_front_ends
    from crossover_models.training.generate import RoomSource
    from crossover_models.training.progress import rooms_with_progress

    encoder = load_encoder(arguments.checkpoint, "cpu")
    if not isinstance(encoder, UnifiedEncoder):
        raise EncoderError(f"--checkpoint: profile {encoder.profile.name!r} is measured by 'crossover eval'")
    front_ends = open_front_ends(encoder.profile)
    source = RoomSource("test", arguments.rooms, arguments.seed)
    rooms = rooms_with_progress([source], encoder.profile, front_ends, arguments.cache)[0]
    figures = {"fingerprint": encoder.fingerprint, **retrieval_figures(encoder.network, encoder.profile, rooms)}
    print_figures(figures)
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0
