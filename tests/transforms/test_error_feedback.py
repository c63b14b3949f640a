"""What TopK and RandomK share: nothing is lost, only late."""

import pytest
import torch

from raycollab.errors import ConfigError
from raycollab.transforms import RandomK, TopK

each_kind = pytest.mark.parametrize("kind", [TopK, RandomK])


def walk(rule, deltas):
    params = torch.zeros_like(deltas[0])
    state, passed = rule.init(params), []
    for index, delta in enumerate(deltas):
        found, state = rule.update(delta, state, params, seed=index)
        passed.append(found)
    return passed, state


@each_kind
@pytest.mark.parametrize(("share", "count"), [(0.1, 10), (0.07, 7), (0.001, 1), (1.0, 100)])
def test_as_many_pass_as_were_asked_for(kind, share, count):
    passed, _ = walk(kind(share), torch.randn(3, 100))
    assert [int((found != 0).sum()) for found in passed] == [count] * 3


@each_kind
def test_what_has_passed_and_what_is_left_over_are_all_deltas(kind):
    """Tolerance: float32 sums of twenty numbers near 1."""
    deltas = torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    passed, state = walk(kind(0.1), deltas)
    torch.testing.assert_close(sum(passed) + state["rest"], deltas.sum(0), rtol=1e-5, atol=1e-5)
    assert state["rest"].norm() > 0


@each_kind
def test_all_of_it_passes_unchanged(kind):
    deltas = torch.randn(3, 50)
    passed, state = walk(kind(1.0), deltas)
    assert torch.equal(torch.stack(passed), deltas)
    assert torch.equal(state["rest"], torch.zeros(50))


@each_kind
@pytest.mark.parametrize("share", [0.0, 1.5, float("nan")])
def test_refuses(kind, share):
    with pytest.raises(ConfigError, match=rf"{kind.__name__}\.share={share}: must be in \(0, 1\]"):
        kind(share)
