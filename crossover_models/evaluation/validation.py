"""Buildings on which the belief's likelihoods are fitted: like the benchmark's, and none of them."""

from __future__ import annotations

from crossover_models.building import Building
from crossover_models.evaluation.buildings.cases import CASES, BuildingSpec, PlannedRun, digest
from crossover_models.evaluation.buildings.recordings import Recorder

# Seeds from here on, up to the benchmark's first, are for fitting what is not learned by gradient descent.
FIRST_SEED = 600_000_001
BUILDINGS = (
    f"procedural:{FIRST_SEED}:2:6",
    f"procedural:{FIRST_SEED + 1}:3:6",
    f"procedural:{FIRST_SEED + 2}:2:8",
    f"procedural:{FIRST_SEED + 3}:2:7",
)
DURATION_S = 40.0
# Cases with other furniture than the map's, as much as a robot meets.
CASES_DRIVEN = ("nominal", "moved-furniture")


def plan_validation(runs: int, seed: int = 0) -> tuple[PlannedRun, ...]:
    """``runs`` drives through each building, building by building.

    Raises:
        ValueError: less than one run.
    """
    if runs < 1:
        raise ValueError(f"--runs: must be at least 1, got {runs}")
    out = []
    for number, text in enumerate(BUILDINGS, start=1):
        spec = BuildingSpec(*text.split(":", 1))
        for k in range(runs):
            case = CASES[CASES_DRIVEN[k % len(CASES_DRIVEN)]]
            settings = {
                **case.run,
                "duration_s": DURATION_S,
                "seed": int(digest([text, "validation", k, seed])[:8], 16),
            }
            out.append(PlannedRun(f"v{number}-{case.name}-{k + 1}", spec, case, settings, seed))
    return tuple(out)


class ValidationRecorder(Recorder):
    """Makes maps and bags of buildings whose furniture is of the validation split."""

    def building(self, spec: BuildingSpec) -> Building:
        """The true building, before anybody surveyed it."""
        from crossover_models.simulation.procedural import generate_building

        if self._building is None or self._building[0] != spec:
            self._status(f"{spec}: building")
            seed, levels, rooms = spec.numbers
            made = generate_building(seed, split="val", levels=levels, rooms_per_level=rooms)
            self._building = (spec, made)
        return self._building[1]
