"""What a measurement of latency yields, as JSON and as a table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from crossover_models.stage_clock import STAGES, StageTime

if TYPE_CHECKING:
    from rich.table import Table

QUANTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0}
# Of a robot with two cores: median and 99th percentile of sensor to result (ms), cores, and what ROS may cost.
TARGET_P50_MS, TARGET_P99_MS, TARGET_CORES, TARGET_ROS = 150.0, 400.0, 1.5, 1.15
ROUTES = ("nodes", "core")


@dataclass(frozen=True)
class Pass:
    """One drive through one of the routes.

    Attributes:
        route: "nodes" (over DDS) or "core" (without ROS).
        latencies_ms: from a sensor's stamp until the first answer that has its data, by kind of sensor.
        stages: by name; stages that both nodes have begin with the node's.
        cpu_s, wall_s: of the process under test while data came.
        sent, dropped: messages of each kind, and those that never were in an answer for lack of time.
    """

    route: str
    latencies_ms: Mapping[str, Sequence[float]]
    stages: Mapping[str, StageTime]
    cpu_s: float
    wall_s: float
    sent: Mapping[str, int]
    dropped: Mapping[str, int]

    @property
    def all_ms(self) -> list[float]:
        """Latencies of every kind."""
        return [value for values in self.latencies_ms.values() for value in values]

    @property
    def cores(self) -> float:
        """CPU seconds a second."""
        return self.cpu_s / max(self.wall_s, 1e-9)

    def as_json(self) -> dict[str, Any]:
        """Everything but single latencies."""
        return {
            "route": self.route,
            "sensor_to_result_ms": quantiles(self.all_ms),
            **{f"{kind}_to_result_ms": quantiles(values) for kind, values in self.latencies_ms.items()},
            "answers": len(self.all_ms),
            "stages": {name: asdict(stage) for name, stage in self.stages.items()},
            "cores": self.cores,
            "cpu_s": self.cpu_s,
            "wall_s": self.wall_s,
            "sent": dict(self.sent),
            "dropped": dict(self.dropped),
        }


def quantiles(values: Sequence[float]) -> dict[str, float | None]:
    """p50, p95 and p99; None of nothing."""
    return {name: float(np.percentile(values, q)) if len(values) else None for name, q in QUANTILES.items()}


@dataclass(frozen=True)
class Latency:
    """Passes of both routes, in turn."""

    passes: Sequence[Pass]
    machine: Mapping[str, Any] = field(default_factory=dict)

    def of(self, route: str) -> list[Pass]:
        """Passes of a route."""
        return [one for one in self.passes if one.route == route]

    def typical(self, route: str) -> Pass | None:
        """The pass of a route with the median median, so that its stages and its whole belong together."""
        ranked = sorted((one for one in self.of(route) if one.all_ms), key=lambda one: statistics.median(one.all_ms))
        return ranked[len(ranked) // 2] if ranked else None

    def ratios(self, name: str) -> list[float]:
        """Nodes over core, of each pair of passes, for a quantile's name."""
        pairs = zip(self.of("nodes"), self.of("core"), strict=False)
        return [
            float(np.percentile(a.all_ms, QUANTILES[name]) / np.percentile(b.all_ms, QUANTILES[name]))
            for a, b in pairs
            if a.all_ms and b.all_ms
        ]

    def cpu_ratios(self) -> list[float]:
        """CPU time of nodes over that of the core, of each pair of passes: what DDS, conversion and publishing cost."""
        pairs = zip(self.of("nodes"), self.of("core"), strict=False)
        return [a.cores / b.cores for a, b in pairs if b.cores > 0.0]

    def as_json(self) -> dict[str, Any]:
        """What ``crossover bench latency --json`` writes."""
        nodes, core = self.typical("nodes"), self.typical("core")
        ratios = self.ratios("p50")
        return {
            "benchmark": "latency",
            "simulated": True,
            "machine": dict(self.machine),
            "stages": {} if nodes is None else {name: asdict(stage) for name, stage in nodes.stages.items()},
            "sensor_to_result_ms": quantiles([] if nodes is None else nodes.all_ms),
            "core_sensor_to_result_ms": quantiles([] if core is None else core.all_ms),
            "ros_over_core": statistics.median(ratios) if ratios else None,
            "ros_over_core_of_pairs": ratios,
            "ros_over_core_cpu_of_pairs": self.cpu_ratios(),
            "cores": None if nodes is None else nodes.cores,
            "dropped": {} if nodes is None else dict(nodes.dropped),
            "targets": {
                "p50_ms": TARGET_P50_MS,
                "p99_ms": TARGET_P99_MS,
                "cores": TARGET_CORES,
                "ros_over_core": TARGET_ROS,
                "dropped": 0,
            },
            "gpu": "not measured",
            "passes": [one.as_json() for one in self.passes],
        }


def whole_table(latency: Latency) -> Table:
    """Sensor to result of both routes beside the targets."""
    from rich.table import Table

    table = Table(title="Sensor stamp to result (simulated sensors)", title_justify="left")
    for name, justify in (("figure", "left"), ("nodes", "right"), ("core", "right"), ("target", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    nodes, core = latency.typical("nodes"), latency.typical("core")

    def cell(one: Pass | None, value: str) -> str:
        return value if one is not None and one.all_ms else "-"

    targets = {"p50": f"<= {TARGET_P50_MS:.0f}", "p99": f"<= {TARGET_P99_MS:.0f}"}
    for name, q in QUANTILES.items():
        both = [cell(one, f"{np.percentile(one.all_ms, q):.0f}") if one else "-" for one in (nodes, core)]
        table.add_row(f"{name} (ms)", *both, targets.get(name, ""))
    for kind in dict.fromkeys(kind for one in (nodes, core) if one for kind in one.latencies_ms):
        values = (one.latencies_ms.get(kind, ()) if one else () for one in (nodes, core))
        cells = (f"{np.percentile(v, 50):.0f} / {np.percentile(v, 99):.0f}" if len(v) else "-" for v in values)
        table.add_row(f"{kind}: p50 / p99 (ms)", *cells, "")
    table.add_row("cores", *(f"{one.cores:.2f}" if one else "-" for one in (nodes, core)), f"< {TARGET_CORES}")
    table.add_row("dropped", *(str(sum(one.dropped.values())) if one else "-" for one in (nodes, core)), "0")
    named = (("p50", latency.ratios("p50"), f"<= {TARGET_ROS}"), ("p99", latency.ratios("p99"), ""))
    for name, ratios, target in (*named, ("CPU", latency.cpu_ratios(), "")):
        if ratios:
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            table.add_row(f"nodes over core, {name}", spread, "", target)
    table.add_row("encode, sensor to result on a GPU", "not measured", "", "<= 5, 12 ms")
    return table


def stages_table(latency: Latency) -> Table:
    """Every stage of the typical passes."""
    from rich.table import Table

    nodes, core = latency.typical("nodes"), latency.typical("core")
    table = Table(title="Stages: p50 / p95 / p99 (ms), CPU (s a second)", title_justify="left")
    for name in ("stage", "nodes", "CPU", "core", "CPU"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    known = [name for one in (nodes, core) if one for name in one.stages]
    for name in sorted(dict.fromkeys(known), key=_rank):
        row = [name]
        for one in (nodes, core):
            stage = one.stages.get(name) if one else None
            row.append(f"{stage.p50_ms:.1f} / {stage.p95_ms:.1f} / {stage.p99_ms:.1f}" if stage else "-")
            row.append(f"{stage.cpu_s / max(one.wall_s, 1e-9):.2f}" if one and stage else "-")
        table.add_row(*row)
    return table


def _rank(name: str) -> tuple[int, str]:
    plain = name.rpartition(" ")[2]
    return (STAGES.index(plain) if plain in STAGES else len(STAGES), name)
