"""Progress bars of room generation and training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from crossover_models.encoders.front_ends import ImageFrontEnd, TextFrontEnd
from crossover_models.encoders.profile import EncoderProfile
from crossover_models.training.generate import RoomSource, cached_rooms
from crossover_models.training.room_sample import RoomSample
from crossover_models.training.trainer import Report


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )


def rooms_with_progress(
    sources: Sequence[RoomSource], profile: EncoderProfile, front_ends: tuple[ImageFrontEnd, TextFrontEnd], folder: Path
) -> list[list[RoomSample]]:
    """The rooms of each source (see :func:`cached_rooms`), with a bar for each."""
    out = []
    with _bar() as bar:
        for source in sources:
            task = bar.add_task(f"{source.split} rooms", total=source.rooms, note="")
            rooms = cached_rooms(source, profile, *front_ends, folder, lambda n, t=task: bar.update(t, completed=n))  # type: ignore[misc]
            out.append(rooms)
    return out


@contextmanager
def training_bar() -> Iterator[Report]:
    """A report for :func:`crossover_models.training.trainer.train` that draws steps, loss and the last validation."""
    with _bar() as bar:
        task = bar.add_task("training steps", total=None, note="")
        last = {"mrr": float("nan")}

        def report(step: int, steps: int, loss: float, entry: dict[str, Any] | None) -> None:
            if entry is not None:
                last["mrr"] = entry["mrr"]
            note = f"loss {loss:.2f}, validation mean reciprocal rank {last['mrr']:.3f}"
            bar.update(task, completed=step, total=steps, note=note)

        yield report
