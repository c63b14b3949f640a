import pytest
import torch

from raycollab.aggregation import FedAsync, add_up
from raycollab.errors import ConfigError, UpdateError
from raycollab.spec import Coverage, Segments
from raycollab.types import Round, Update

NEWEST = torch.tensor([10.0, 20.0])


def merged(rule, *pairs):
    """What is added to NEWEST, of updates each with the parameters of the version that it began with."""
    parts = [rule.collect(update, Round(5, 0, 0, {"params": torch.tensor(base)})) for base, update in pairs]
    return rule.update(add_up(parts), rule.init(NEWEST), NEWEST, seed=0)[0].vectors


def of(discount, *values, **vectors):
    return Update("a", 7.0, {"delta": torch.tensor(values), **vectors}, discount=discount)


def test_by_hand():
    """It began at [4, 4], ended at [5, 2]; a = 0.6 * 0.5: 0.7 * [10, 20] + 0.3 * [5, 2] = [8.5, 14.6]."""
    found = merged(FedAsync(0.6), ([4.0, 4.0], of(0.5, 1.0, -2.0)))["delta"]
    torch.testing.assert_close(NEWEST + found, torch.tensor([8.5, 14.6]))


def test_a_fresh_update_moves_by_its_share():
    """w_i - w is the delta if nothing happened since; with a mixing of 1 the result is the agent's own."""
    base = NEWEST.tolist()
    assert merged(FedAsync(0.5), (base, of(1.0, 1.0, -2.0)))["delta"].tolist() == [0.5, -1.0]
    assert merged(FedAsync(1.0), (base, of(1.0, 1.0, -2.0)))["delta"].tolist() == [1.0, -2.0]


def test_several_are_mixed_as_the_mean_of_their_results():
    """w + a_1 (w_1 - w) = [8.5, 14.6] as above, w + a_2 (w_2 - w) = [10, 20] + 0.6 * [2, 0] = [11.2, 20]."""
    found = merged(FedAsync(0.6), ([4.0, 4.0], of(0.5, 1.0, -2.0)), ([10.0, 20.0], of(1.0, 2.0, 0.0)))["delta"]
    torch.testing.assert_close(NEWEST + found, torch.tensor([(8.5 + 11.2) / 2, (14.6 + 20) / 2]))


def test_buffers_move_by_as_much_and_other_vectors_in_full():
    stale = of(0.5, 1.0, 1.0, buffers=torch.tensor([8.0]), control=torch.tensor([1.0, 2.0]))
    found = merged(FedAsync(0.5), ([0.0, 0.0], stale))
    assert (found["buffers"].tolist(), found["control"].tolist()) == ([2.0], [1.0, 2.0])


def test_refuses_a_part_of_the_model():
    half = Coverage(Segments(2, ((1, 2),)), Segments.all(0))
    part = Update("b", 1.0, {"delta": torch.tensor([6.0])}, coverage=half)
    with pytest.raises(UpdateError, match="agent 'b' exchanges only a part of the model; FedAsync mixes whole vectors"):
        merged(FedAsync(), ([0.0, 0.0], part))


@pytest.mark.parametrize("mixing", [0.0, -0.1, 1.5, float("nan")])
def test_refuses(mixing):
    with pytest.raises(ConfigError, match=rf"FedAsync.mixing={mixing}: must be in \(0, 1\]"):
        FedAsync(mixing)
