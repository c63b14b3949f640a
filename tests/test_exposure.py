"""What is said of noise that others can foretell, and of exact scores beside it."""

import raycollab as rc
from raycollab.exposure import exposures

PRIVATE = rc.DPSGD(noise=1.0, max_grad_norm=1.0, lr=0.1)


def test_what_needs_no_word():
    assert exposures(rc.chain(rc.Mean()), {"a": rc.SGD()}, ["a"]) == []
    keyed = rc.DPSGD(noise=1.0, max_grad_norm=1.0, lr=0.1, noise_key="a.key")
    assert exposures(rc.chain(rc.Mean()), {"a": keyed, "b": rc.SGD()}, ["b"]) == []


def test_noise_from_the_seed_is_named_wherever_it_is():
    share = rc.NoiseShare(noise=1.0, max_norm=1.0, agents=2)
    (words,) = exposures(rc.chain(share, rc.Mean("uniform")), {"a": PRIVATE, "b": rc.SGD()}, [])
    assert words.endswith("Agent('a').learner (DPSGD), chain (NoiseShare)")
    (words,) = exposures(rc.chain(rc.PrivateMean(noise=1.0, max_norm=1.0)), {"a": rc.SGD()}, [])
    assert words.endswith("unless this is a simulation: chain (PrivateMean)")


def test_exact_scores_are_named():
    found = exposures(rc.chain(rc.Mean()), {"a": PRIVATE, "b": PRIVATE, "c": rc.SGD()}, ["b", "c"])
    assert found[1] == (
        "scores on validation rows are exact, and outside epsilon: set Agent.val_fraction=0 where those rows are to be "
        "protected, too: b"
    )


def test_what_agents_tell_of_their_labels_is_named_beside_noise():
    growths = [rc.Growth((rc.models.MLP(4, 2),), when) for when in (rc.growth.NewClasses(), rc.growth.AtRounds((3,)))]
    told = [exposures(rc.chain(rc.Mean()), {"a": PRIVATE}, [], growth)[1:] for growth in growths]
    assert told[0] == [
        "with Growth.when=NewClasses agents tell the largest label that they hold, outside epsilon: set "
        "Growth.when=AtRounds(...) where that is to be protected, too"
    ]
    assert told[1] == []
    assert exposures(rc.chain(rc.Mean()), {"a": rc.SGD()}, [], growths[0]) == []
