import torch

from raycollab.aggregation import FedNova, Mean, add_up
from raycollab.types import Round, Update

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
