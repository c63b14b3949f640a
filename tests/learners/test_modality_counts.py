"""How many examples had each modality, and encoders weighed by that."""

import pytest
import torch

import raycollab as rc
from raycollab.data import Arrays, Shard
from raycollab.errors import ConfigError
from raycollab.params import Exchange, FlatModel
from raycollab.task import Problem

NET = rc.models.Multimodal({"image": rc.models.MLP(4, 3, ()), "sound": rc.models.MLP(2, 3, ())}, rc.fusion.Gated(4), 3)
TASK = rc.tasks.Multimodal(NET, 3)
SGD = rc.SGD(lr=0.1, steps=1, batch_size=64)
COUNTED = rc.ModalityCounts(SGD, ("image", "sound"))


def rows(count, **more):
    generator = torch.Generator().manual_seed(count)
    columns = {
        "image": torch.randn(count, 4, generator=generator),
        "sound": torch.randn(count, 2, generator=generator),
        "label": torch.arange(count) % 3,
    }
    return Arrays({**columns, **more}, f"{count} rows")


def learned(task, source, learner=COUNTED):
    torch.manual_seed(0)
    model = FlatModel(task.model(), Exchange())
    params = model.read()
    problem = Problem("one", task, model, Shard(source.read(), val_fraction=0.0, seed=0), lambda: False)
    return learner.update(problem, params, learner.init(params), rc.Round(1, 0, 0, {"params": params}))[0]


def test_rows_that_have_something_are_counted():
    half = rows(10, has_sound=torch.arange(10) < 4)
    scalars = learned(TASK, half).scalars
    assert (scalars["with[image]"], scalars["with[sound]"]) == (10.0, 4.0)
    plain = learned(TASK, half, SGD)
    assert {name: value for name, value in scalars.items() if not name.startswith("with")} == plain.scalars


def test_a_column_that_is_not_there_counts_nothing():
    alone = Arrays({name: column for name, column in rows(10).read().items() if name != "sound"})
    assert learned(TASK.only("image"), alone).scalars["with[sound]"] == 0.0


def test_what_is_sent_is_said():
    assert set(COUNTED.sends) - set(SGD.sends) == {"with[image]", "with[sound]"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rc.ModalityCounts(TASK, ("image",)), "ModalityCounts.learner=.*: must be a Learner"),
        (lambda: rc.ModalityCounts(SGD, ()), r"ModalityCounts.columns=\(\): must name columns"),
        (lambda: rc.Mean("uniform", scalar="x"), "Mean.scalar='x': weighs by itself"),
        (lambda: rc.Mean(by_agent={"a": 1.0}, scalar="x"), "Mean.scalar='x': weighs by itself"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
