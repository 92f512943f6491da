"""What is said of a pose that is certain and yet not announced."""

from __future__ import annotations

import numpy as np

from crossover_models.announcement import Announcement
from crossover_models.belief import Belief
from crossover_models.config import BeliefSettings
from crossover_models.estimate import LevelKey, LocalizationState


def test_a_certain_pose_that_waits_for_a_search_of_everything_says_that_it_does() -> None:
    settings = BeliefSettings()
    belief = Belief(settings)
    belief.place(LevelKey("house", "L1"), np.zeros(3), np.eye(3) * 0.01)
    assert belief.weight[0] >= settings.localized_probability
    told = Announcement()
    told.begin()
    told.judge(belief, settings, has_slice=True, unusable="")
    assert told.state == LocalizationState.INITIALIZING
    assert "found among the places retrieved" in told.message and "the whole map is searched next" in told.message
    told.searched_all = True
    told.judge(belief, settings, has_slice=True, unusable="")
    assert told.state == LocalizationState.LOCALIZED
