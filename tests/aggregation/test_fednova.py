from dataclasses import dataclass, replace

import pytest
import torch

from raycollab.aggregation import FedNova, Mean, add_up
from raycollab.errors import ConfigError
from raycollab.learners import SGD, Learner, Prox
from raycollab.spec import Coverage, Segments
from raycollab.types import Round, Update

from ..contracts.support import digits, train

ROUND = Round(1, 0, 0, {})


def merged(rule, *updates):
    total = add_up(rule.collect(update, ROUND) for update in updates)
    return rule.update(total, rule.init(torch.zeros(2)), torch.zeros(2), seed=0)[0].vectors["delta"]


def test_by_hand():
    """Steps 1 and 4, weights 1 and 3: directions [2, 0] and [1, 1] average to [1.25, .75]; tau_eff = 1/4 + 3 = 3.25."""
    one = Update("a", 1.0, {"delta": torch.tensor([2.0, 0.0])}, {"effective_steps": 1.0})
    four = Update("b", 3.0, {"delta": torch.tensor([4.0, 4.0])}, {"effective_steps": 4.0})
    torch.testing.assert_close(merged(FedNova(), one, four), torch.tensor([1.25, 0.75]) * 3.25)


def test_equal_steps_are_the_mean():
    updates = [Update(name, 2.0, {"delta": torch.randn(2)}, {"effective_steps": 5.0}) for name in "abc"]
    torch.testing.assert_close(merged(FedNova(), *updates), merged(Mean(), *updates))


def test_an_agent_that_took_no_step_counts_as_one():
    still = Update("a", 1.0, {"delta": torch.zeros(2)}, {"effective_steps": 0.0})
    assert torch.equal(merged(FedNova(), still), torch.zeros(2))


def test_less_than_one_step_is_no_whole_one():
    """Steps .5 and 2.5 of equal weight: directions 4 and 0 average to 2, times 1.5; alone it is the agent's own."""
    half = Update("a", 1.0, {"delta": torch.tensor([2.0, 0.0])}, {"effective_steps": 0.5})
    more = Update("b", 1.0, {"delta": torch.tensor([0.0, 0.0])}, {"effective_steps": 2.5})
    assert merged(FedNova(), half).tolist() == [2.0, 0.0]
    assert merged(FedNova(), half, more).tolist() == [3.0, 0.0]


def test_an_agent_without_steps_is_one_of_a_single_step_in_the_mean_too():
    still = Update("a", 1.0, {"delta": torch.zeros(2)}, {"effective_steps": 0.0})
    three = Update("b", 1.0, {"delta": torch.full((2,), 3.0)}, {"effective_steps": 3.0})
    one = replace(still, scalars={"effective_steps": 1.0})
    assert torch.equal(merged(FedNova(), still, three), merged(FedNova(), one, three))
    assert merged(FedNova(), still, three).tolist() == [1.0, 1.0]  # (0 + 1) / 2 * (1 + 3) / 2


def test_an_element_goes_as_far_as_those_who_hold_it():
    """a holds element 0, b element 1, c both: of a and c the means are 1 and 6 steps, of b and c .75 and 2 steps."""
    a, b = (
        Update(name, 1.0, {"delta": torch.tensor([value])}, {"effective_steps": steps}, coverage=part)
        for name, value, steps, part in (("a", 10.0, 10.0, _holds(0)), ("b", 1.0, 2.0, _holds(1)))
    )
    c = Update("c", 1.0, {"delta": torch.tensor([2.0, 2.0])}, {"effective_steps": 2.0})
    assert merged(FedNova(), a, b).tolist() == [10.0, 1.0]
    assert merged(FedNova(), a, b, c).tolist() == [6.0, 1.5]
    assert merged(FedNova(), b, c, a).tolist() == [6.0, 1.5]


def _holds(element):
    return Coverage(Segments(2, ((element, element + 1),)), Segments.all(0))


def test_a_step_that_shrinks_itself_is_not_halved():
    """Prox of pull lr mu = 1.5: two steps are as much as 1 - .5 of one. Equal agents move as by the mean."""
    learner = Prox(SGD(lr=0.1, steps=2, batch_size=8), mu=15.0)
    nova, mean = (train(digits(learner, rule, rounds=1)).params for rule in (FedNova(), Mean()))
    torch.testing.assert_close(nova, mean, rtol=1e-4, atol=1e-5)


@dataclass(frozen=True)
class Sketch(Learner):
    """Sends a delta and nothing else."""

    def update(self, problem, params, state, round):
        return Update(problem.agent, 1.0, {"delta": torch.ones_like(params)}), state


def test_a_learner_that_counts_no_steps_is_refused_before_the_run():
    with pytest.raises(
        ConfigError, match=r"'agent-0': FedNova needs \['effective_steps'\], which Sketch does not send"
    ):
        digits(Sketch(), FedNova()).resolved()
    assert train(digits(Sketch(), Mean(), rounds=1)).driver.version == 1
