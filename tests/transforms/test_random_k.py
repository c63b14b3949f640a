import torch

from raycollab.transforms import RandomK


def places(seed):
    delta = torch.ones(1000)
    found, _ = RandomK(0.1).update(delta, {"rest": torch.zeros(1000)}, delta, seed=seed)
    return found


def test_elements_pass_unscaled_and_follow_the_seed():
    assert set(places(0).tolist()) == {0.0, 1.0}
    assert torch.equal(places(0), places(0))
    assert not torch.equal(places(0), places(1))


def test_every_element_is_as_likely():
    """Over 200 seeds an element passes 20 times on average, with a deviation of sqrt(200 * .1 * .9) = 4.2."""
    counts = sum(places(seed) for seed in range(200))
    assert counts.sum() == 200 * 100
    assert counts.std().item() < 5
    assert counts.min() > 20 - 5 * 4.2
    assert counts.max() < 20 + 5 * 4.2
