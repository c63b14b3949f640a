import torch

from raycollab.transforms import TopK


def test_by_hand():
    """One of four passes: first -5; then 3 + 3 of the first element; then 2 + 2 + 2 of the second."""
    rule, params = TopK(0.25), torch.zeros(4)
    state, passed = rule.init(params), []
    for delta in ([3.0, 2.0, -5.0, 1.0], [3.0, 2.0, 0.0, 1.0], [0.0, 2.0, 0.0, 1.0]):
        found, state = rule.update(torch.tensor(delta), state, params, seed=0)
        passed.append(found.tolist())
    assert passed == [[0, 0, -5, 0], [6, 0, 0, 0], [0, 6, 0, 0]]
    assert state["rest"].tolist() == [0, 0, 0, 3]


def test_no_choice_of_as_many_is_closer():
    """What passes is the nearest vector with k elements: the rest is as short as it can be."""
    delta = torch.randn(100, generator=torch.Generator().manual_seed(0))
    _, state = TopK(0.2).update(delta, {"rest": torch.zeros(100)}, delta, seed=0)
    assert torch.equal(state["rest"].abs().sort().values[20:], delta.abs().sort().values[:80])
