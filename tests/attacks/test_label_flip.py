from dataclasses import replace

import pytest
import torch

import raycollab as rc

from ..contracts.support import DIGITS, TEST, Quadratic, digits, experiment, full_batch, train

LEARNER = rc.SGD(**full_batch(0.1, 1))


def parties(*, wrong):
    """Two agents with digits; the second one's labels are 9 - y from the start if `wrong`."""
    columns = rc.data.Digits("train").read()
    halves = [{name: column[start::2] for name, column in columns.items()} for start in (0, 1)]
    if wrong:
        halves[1]["label"] = 9 - halves[1]["label"]
    return [rc.Agent(f"agent-{i}", rc.data.Arrays(half), LEARNER, val_fraction=0.0) for i, half in enumerate(halves)]


def run(agents, **settings):
    return train(experiment(agents, task=DIGITS, test=TEST, rounds=2, **settings))


def test_it_is_learning_from_the_flipped_labels():
    attacked = run(parties(wrong=False), attack=rc.Attack("label_flip", num_agents=1))
    assert torch.equal(attacked.params, run(parties(wrong=True)).params)
    assert not torch.equal(attacked.params, run(parties(wrong=False)).params)


def test_own_scores_are_on_the_right_labels():
    """The agents score the same model: with one round of no progress, as if there were no attack."""
    still = rc.SGD(lr=1e-12, steps=1)
    scores = [
        train(digits(still, num_agents=2, rounds=1, attack=attack)).reports[0].own_metrics["agent-1"]["loss"]
        for attack in (rc.Attack(), rc.Attack("label_flip", num_agents=1))
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


def test_an_agent_with_a_task_of_its_own():
    """Its own labels are flipped, under the name of its own task."""
    own = [replace(agent, task=DIGITS) for agent in parties(wrong=False)]
    attacked = run(own, attack=rc.Attack("label_flip", num_agents=1))
    assert torch.equal(attacked.params, run(parties(wrong=True)).params)


def test_refuses():
    data = rc.data.Arrays({"x": torch.zeros(2, 4), "a": torch.ones(2, 4)})
    agents = [rc.Agent(name, data, LEARNER) for name in "ab"]
    made = experiment(agents, task=Quadratic(4), test=data, rounds=1, attack=rc.Attack("label_flip", num_agents=1))
    with pytest.raises(rc.ConfigError, match="Quadratic has no labels to flip; it needs a Classification"):
        made.resolved()
