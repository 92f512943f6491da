"""Metric floor-plan drawings of a room and what lies around it, in the ways that people and robots draw them."""

from crossover_models.dataset.plan_styles.draw import STYLES, PlanStyleError, draw_plans

__all__ = ["STYLES", "PlanStyleError", "draw_plans"]
