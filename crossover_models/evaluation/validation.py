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
# Cases with other furniture than the map's, as much as a robot meets, and a plan that errs.
CASES_DRIVEN = ("nominal", "moved-furniture", "defective-plan")
# Buildings of look-alikes, for what the belief says of poses; retrieval has no right answer there.
TWINS = (f"twins:{FIRST_SEED + 4}", f"twins:{FIRST_SEED + 5}")


def plan_twins(runs: int, seed: int = 0) -> tuple[PlannedRun, ...]:
    """``runs`` drives through each building of look-alikes, none if 0."""
    specs = [BuildingSpec(*text.split(":", 1)) for text in TWINS]
    return tuple(
        _planned(spec, "twins", f"t{number}", k, seed) for number, spec in enumerate(specs, 1) for k in range(runs)
    )


def plan_validation(runs: int, seed: int = 0, buildings: int = len(BUILDINGS)) -> tuple[PlannedRun, ...]:
    """``runs`` drives through each of the first ``buildings`` buildings, building by building.

    Raises:
        ValueError: less than one run, or a number of buildings that there are not.
    """
    if not 1 <= buildings <= len(BUILDINGS):
        raise ValueError(f"--buildings: must be 1 to {len(BUILDINGS)}, got {buildings}")
    if runs < 1:
        raise ValueError(f"--runs: must be at least 1, got {runs}")
    specs = [BuildingSpec(*text.split(":", 1)) for text in BUILDINGS[:buildings]]
    return tuple(
        _planned(spec, CASES_DRIVEN[k % len(CASES_DRIVEN)], f"v{number}", k, seed)
        for number, spec in enumerate(specs, start=1)
        for k in range(runs)
    )


def _planned(spec: BuildingSpec, case_name: str, prefix: str, k: int, seed: int) -> PlannedRun:
    case = CASES[case_name]
    run_seed = int(digest([str(spec), "validation", k, seed])[:8], 16)
    settings = {**case.run, "duration_s": DURATION_S, "seed": run_seed}
    return PlannedRun(f"{prefix}-{case.name}-{k + 1}", spec, case, settings, seed)


class ValidationRecorder(Recorder):
    """Makes maps and bags of buildings whose furniture is of the validation split (look-alikes: of the test one)."""

    def building(self, spec: BuildingSpec) -> Building:
        """The true building, before anybody surveyed it."""
        from crossover_models.simulation.procedural import generate_building

        if spec.twins:
            return super().building(spec)
        if self._building is None or self._building[0] != spec:
            self._status(f"{spec}: building")
            seed, levels, rooms = spec.numbers
            made = generate_building(seed, split="val", levels=levels, rooms_per_level=rooms)
            self._building = (spec, made)
        return self._building[1]
