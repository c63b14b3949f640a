"""An action that asks for a larger model, until there is one."""

from dataclasses import replace

import raycollab as rc
from raycollab.adapt.action import Scene
from raycollab.types import ASKS

from .conftest import Bench


def test_it_asks_as_long_as_the_form_is_the_one_that_was_not_enough():
    bench, action, learner = Bench(), rc.adapt.Grow(), rc.SGD(lr=0.1, steps=1)
    own = action.begin(Scene(bench.problem, bench.round(), {}))
    assert action.detail(own) == "asks for a larger model than form 0"
    asked = []
    for form in (0, 0, 1):
        round = replace(bench.round(), form=form)
        update, _, own = action.learn(learner, bench.problem, bench.vectors["params"], {}, own, round)
        asked.append(update.scalars.get(ASKS))
    assert asked == [1.0, 1.0, None]
