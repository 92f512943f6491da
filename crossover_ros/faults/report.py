"""What became of all faults: a table for people and the figures as plain values."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table
from rich.text import Text

from crossover_ros.faults.case import Verdict
from crossover_ros.faults.fuzz.campaign import Outcome
from crossover_ros.faults.memory import Endurance

# As much of a diagnostic as a table bears; the JSON has all of it.
SHOWN = 110


@dataclass
class Report:
    """Everything that a run of the suite found."""

    long: bool
    seed: int
    verdicts: list[Verdict] = field(default_factory=list)
    fuzzed: list[Outcome] = field(default_factory=list)
    endurance: Endurance | None = None
    node_endurance: dict[str, Endurance] = field(default_factory=dict)
    rss_mb: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def cases(self) -> int:
        """Live faults, and the endurance runs: of the core, and of each node."""
        return len(self.verdicts) + len(self._lasting())

    @property
    def survived(self) -> int:
        """Of those."""
        return sum(v.survived for v in self.verdicts) + sum(e.survived for e in self._lasting())

    def _lasting(self) -> list[Endurance]:
        return [*([self.endurance] if self.endurance is not None else []), *self.node_endurance.values()]

    @property
    def fuzz_inputs(self) -> int:
        """Inputs read by any reader."""
        return sum(outcome.inputs for outcome in self.fuzzed)

    @property
    def crashes(self) -> int:
        """Inputs that were not taken as documented."""
        return sum(len(outcome.crashes) for outcome in self.fuzzed)

    def as_json(self) -> dict[str, Any]:
        """Plain values; times in seconds, memory in MB. Sensors are simulated."""
        out: dict[str, Any] = {
            "cases": self.cases,
            "survived": self.survived,
            "fuzz_inputs": self.fuzz_inputs,
            "crashes": self.crashes,
            "simulated_sensors": True,
            "form": "long" if self.long else "short",
            "seed": self.seed,
            "load_average": os.getloadavg()[0],
            "false_fixes": sum(v.false_fixes for v in self.verdicts),
            "nodes_rss_mb": {name: list(pair) for name, pair in self.rss_mb.items()},
            "faults": [
                {
                    "name": v.name,
                    "group": v.group,
                    "done": v.done,
                    "told": list(v.told),
                    "survived": v.survived,
                    "problems": list(v.problems),
                    "recovered_s": None if v.recovered_s is None else round(v.recovered_s, 2),
                    "false_fixes": v.false_fixes,
                }
                for v in self.verdicts
            ],
            "fuzz": [
                {
                    "target": o.target,
                    "inputs": o.inputs,
                    "wall_s": round(o.wall_s, 1),
                    "crashes": [{"index": c.index, "error": c.error, "repeat": c.repeat} for c in o.crashes],
                }
                for o in self.fuzzed
            ],
        }
        if self.endurance is not None:
            out["endurance"] = _endurance_facts(self.endurance)
        if self.node_endurance:
            out["node_endurance"] = {name: _endurance_facts(e) for name, e in self.node_endurance.items()}
        return out


def _endurance_facts(e: Endurance) -> dict[str, Any]:
    """Plain values; memory in MB, one value a minute of robot time."""
    return {
        "minutes": e.minutes,
        "wall_s": e.wall_s,
        "rss_mb": list(e.rss_mb),
        "growth_mb": round(e.growth_mb, 1),
        "estimates": e.estimates,
        "localized": e.localized,
        "false_fixes": e.false_fixes,
        "survived": e.survived,
        "problem": e.problem,
    }


def faults_table(verdicts: Sequence[Verdict]) -> Table:
    """A row a fault: what was done, what the nodes said, whether they survived, and when they had recovered."""
    table = Table(title="Faults, simulated sensors, real nodes over DDS", row_styles=("", "dim"))
    table.add_column("fault", no_wrap=True)
    table.add_column("what was done", overflow="fold")
    table.add_column("what the node said", overflow="fold", ratio=2)
    table.add_column("survived")
    table.add_column("recovered\n(s)", justify="right")
    for verdict in verdicts:
        said = "\n".join(_short(text) for text in (verdict.problems or verdict.told)) or "-"
        mark = Text("yes", style="green") if verdict.survived else Text("NO", style="bold red")
        after = "-" if verdict.recovered_s is None else f"{verdict.recovered_s:.1f}"
        table.add_row(verdict.name, verdict.done, Text(said), mark, after)
    return table


def fuzz_table(outcomes: Sequence[Outcome]) -> Table:
    """A row a reader."""
    table = Table(title="Mutated inputs")
    table.add_column("reader")
    table.add_column("inputs", justify="right")
    table.add_column("inputs\na second", justify="right")
    table.add_column("crashes", justify="right")
    table.add_column("the most frequent", overflow="fold")
    for outcome in outcomes:
        frequent = outcome.kinds.most_common(1)
        crashes = Text(str(len(outcome.crashes)), style="bold red" if outcome.crashes else "green")
        rate = outcome.inputs / outcome.wall_s if outcome.wall_s else 0.0
        table.add_row(
            outcome.target,
            f"{outcome.inputs:,}",
            f"{rate:,.0f}",
            crashes,
            Text(f"{frequent[0][1]} x {frequent[0][0]}" if frequent else "-"),
        )
    return table


def endurance_line(endurance: Endurance, through: str = "the core") -> str:
    """One sentence."""
    if endurance.problem:
        return f"accelerated replay through {through}: {endurance.problem}"
    memory = f"{endurance.rss_mb[0]:.0f} MB after a minute, {endurance.rss_mb[-1]:.0f} MB at the end"
    flat = "flat" if endurance.survived else "NOT flat, or not localized"
    return (
        f"accelerated replay of {endurance.minutes:g} min through {through} in {endurance.wall_s:.0f} s: {memory}, "
        f"{endurance.growth_mb:+.1f} MB after the warm-up ({flat}); {endurance.localized} of {endurance.estimates} "
        f"estimates localized, {endurance.false_fixes} false"
    )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "\u2026"
