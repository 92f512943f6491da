"""Progress bars of scans and of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from crossover_models.training.loop import SCORE, StepReport
from crossover_models.training.loop import Report as StageReport


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )


class _Rate(ProgressColumn):
    """Steps a second, once there are two."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.2f} steps/s")


@contextmanager
def stage_bar(name: str) -> Iterator[StageReport]:
    """A report for :func:`crossover_models.training.loop.run_stage`: steps, rate, remaining time, loss and score."""
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(Column(no_wrap=True)),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(TextColumn("{task.description}"), *columns, TextColumn("{task.fields[note]}")) as bar:
        task, begun = bar.add_task(name, total=None, note=""), False
        score = ""

        def report(made: StepReport) -> None:
            nonlocal begun, score
            if not begun:
                # A continued run is as fast as the steps it makes, not as those it made before.
                bar.reset(task, total=made.steps, completed=made.step - 1, note="")
                begun = True
            if made.entry is not None:
                score = f", validation {made.entry[SCORE]:.3f}"
            bar.update(task, completed=made.step, note=f"loss {made.loss:.3f}{score}")

        yield report


@contextmanager
def scans_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A function of scans done and all scans that draws a bar."""
    with _bar() as bar:
        task = bar.add_task(title, total=None, note="scans")

        def tell(done: int, count: int) -> None:
            bar.update(task, completed=done, total=count)

        yield tell
