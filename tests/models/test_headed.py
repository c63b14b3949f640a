"""Trunk and head: their names, and parties with heads of their own on one trunk."""

import pytest
import torch

import raycollab as rc
from raycollab.data import Arrays
from raycollab.errors import ConfigError, ModelError
from raycollab.models import MLP, Headed
from raycollab.runtime.session import build_model

TRUNK = rc.Exchange(include=("trunk.*",))


def task(num_classes):
    return rc.Classification(Headed(MLP(3, 4, ()), MLP(4, num_classes, ())), num_classes)


def rows(num_classes):
    features = torch.randn(24, 3, generator=torch.Generator().manual_seed(num_classes))
    return Arrays({"features": features, "label": torch.arange(24) % num_classes})


def test_the_trunk_begins_the_same_under_any_head():
    one, other = (build_model(task(count), TRUNK, 0) for count in (2, 5))
    assert [entry.name for entry in one.spec.params] == ["trunk.1.weight", "trunk.1.bias"]
    assert torch.equal(one.read(), other.read())
    assert one.private_params == ("head.1.weight", "head.1.bias")


def test_parties_with_other_labels_learn_on_one_trunk(tmp_path):
    parties = [rc.Agent(f"of-{n}", rows(n), rc.SGD(), task=task(n)) for n in (2, 5)]
    run = rc.RunConfig(dir=str(tmp_path), num_rounds=2)
    local = rc.ScalingConfig(pool="local")
    result = rc.fit(parties, rc.Mean(), test=rows(2), task=task(2), exchange=TRUNK, run=run, scaling=local)
    assert [row["failure"] for row in result.agents if row.get("failure")] == []
    assert result.model(agent="of-2").module.head[1].weight.shape == (2, 4)


def test_a_pattern_that_matches_nothing_is_refused():
    with pytest.raises(ModelError, match=r"pattern 'body\.\*' matches no trainable parameter"):
        build_model(task(2), rc.Exchange(include=("body.*",)), 0)


def test_what_is_no_recipe_is_refused():
    with pytest.raises(ConfigError, match=r"Headed\.head=3: must be a recipe such as"):
        Headed(MLP(3, 4), 3)
