"""Floor-plan registration: where on which plan a wall slice fits, how well, and where else it would."""

from crossover_models.registration.matcher import PlanMatcher
from crossover_models.registration.returns import InsufficientStructure

__all__ = ["InsufficientStructure", "PlanMatcher"]
