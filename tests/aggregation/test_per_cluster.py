"""Updates of several models, merged by a rule with a state for each."""

import pytest
import torch

import raycollab as rc
from raycollab.aggregation import CLUSTER, add_up

ROUND = rc.Round(1, 0, 0, {"params": torch.zeros(3)})


def update(index, cluster, value, weight=1.0):
    return rc.Update(
        f"agent-{index}", weight, {"delta": torch.full((3,), value)}, {CLUSTER: float(cluster), "loss": 0.0}
    )


def merged(rule, updates, state=None):
    params = torch.zeros(3)
    state = rule.init(params) if state is None else state
    told = rc.Round(1, 0, 0, {"params": params}, rule.tells(state))
    return rule.update(add_up([rule.collect(each, told) for each in updates]), state, params, seed=0)


def test_each_model_is_the_mean_of_those_that_chose_it():
    some = [update(0, 0, 1.0), update(1, 1, 3.0, weight=3.0), update(2, 1, 7.0), update(3, 0, 5.0)]
    aggregate, _ = merged(rc.PerCluster(), some)
    assert sorted(aggregate.vectors) == ["delta", "params/1"]
    assert aggregate.vectors["delta"].tolist() == [3.0] * 3
    assert aggregate.vectors["params/1"].tolist() == [4.0] * 3


def test_a_rules_state_is_kept_for_each_model():
    """The clip of each model follows its own agents' norms: large ones for the first, small ones for the second."""
    rule, state = rc.PerCluster(rc.AdaptiveClip(initial=1.0)), None
    for _ in range(3):
        some = [update(index, index % 2, 100.0 if index % 2 == 0 else 0.01) for index in range(4)]
        _, state = merged(rule, some, state)
    told = rule.tells(state)
    name = next(name.removeprefix("0: ") for name in told if name.startswith("0: "))
    assert told[f"0: {name}"] > told[f"first: {name}"] > told[f"1: {name}"]


def test_a_model_with_too_few_agents_is_refused():
    rule = rc.PerCluster(rc.Krum(f=1))
    some = [update(index, index == 0, 1.0) for index in range(6)]
    total = add_up([rule.collect(each, ROUND) for each in some])
    with pytest.raises(rc.UpdateError, match="PerCluster: 1 updates are for model 1, and Krum needs"):
        rule.check(total)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (rc.PerGroup({"*": rc.Mean()}), "must be an Aggregator over whole models"),
        (rc.Mean, "must be an Aggregator over whole models"),
        (rc.FedAsync(), "goes by the parameters, and is given those of one model"),
    ],
)
def test_refuses(rule, message):
    with pytest.raises(rc.ConfigError, match=rf"PerCluster\.rule=.*: {message}"):
        rc.PerCluster(rule)


def test_nothing_stands_right_of_it():
    with pytest.raises(rc.ConfigError, match=r"PerCluster merges several models, and Momentum.* right of it would"):
        rc.chain(rc.PerCluster(), rc.Momentum(0.9))
    rc.chain(rc.ClipNorm(1.0), rc.PerCluster())
