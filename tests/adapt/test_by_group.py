"""A metric for each group of examples."""

import pickle

import pytest
import torch

import raycollab as rc
from raycollab.adapt import ByGroup
from raycollab.errors import ConfigError
from raycollab.metrics import Statistics
from raycollab.params import Exchange, FlatModel

from .conftest import TASK, rows

GROUPS = {"first": (0,), "others": (1, 2)}
TASKS = ByGroup(TASK, GROUPS)


def module():
    torch.manual_seed(0)
    return TASK.model().eval()


def halves(columns):
    return [{name: column[part] for name, column in columns.items()} for part in (slice(0, 20), slice(20, None))]


def test_each_group_has_the_metric_of_its_own_examples():
    net, columns = module(), rows(60)
    metrics = TASKS.evaluate(net, halves(columns)).compute()
    assert {name for name in metrics if "/" in name} == {"accuracy/first", "accuracy/others"}
    for name, values in GROUPS.items():
        held = torch.isin(columns["label"], torch.tensor(values))
        alone = TASK.evaluate(net, [{key: column[held] for key, column in columns.items()}]).compute()
        assert metrics[f"accuracy/{name}"] == alone["accuracy"]
    assert {k: v for k, v in metrics.items() if "/" not in k} == TASK.evaluate(net, halves(columns)).compute()


def test_statistics_survive_as_plain_data():
    found = TASKS.evaluate(module(), halves(rows(60)))
    assert Statistics.from_plain(found.to_plain()).compute() == found.compute()


def test_a_group_without_examples_is_left_out():
    columns = {name: column[rows(60)["label"] == 0] for name, column in rows(60).items()}
    assert "accuracy/others" not in TASKS.evaluate(module(), [columns]).compute()


def test_it_is_the_task_in_all_else():
    spec = FlatModel(TASK.model(), Exchange()).spec
    assert TASKS.fingerprint(spec).loss == TASK.fingerprint(spec).loss
    assert TASKS.fingerprint(spec).metrics[-2:] == ("accuracy/first", "accuracy/others")
    assert TASKS.tells_losses
    assert TASKS.num_classes == 3
    assert pickle.loads(pickle.dumps(TASKS)) == TASKS
    batch = rows(9)
    assert torch.equal(TASKS.logits(module(), batch), TASK.logits(module(), batch))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ByGroup(TASK, {}), r"ByGroup\.groups=\{\}: must be values by name, one at least"),
        (lambda: ByGroup(TASK, {"a/b": (0,)}), r"ByGroup\.groups=.*without '/' in the names"),
        (lambda: ByGroup("digits", GROUPS), r"ByGroup\.task='digits': must be a Task"),
        (
            lambda: ByGroup(TASK, GROUPS, "hospital").statistics(module(), rows(6)),
            r"ByGroup\.column='hospital': no such column; there are: features, label",
        ),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_forgetting_stands_in_the_report_of_a_run(tmp_path):
    """Two agents see labels 0 to 4, then 5 to 9: what was known of the first is lost, and the report says so."""
    train = rc.data.Digits("train")
    first, second = (rc.data.Only(train, tuple(labels)) for labels in (range(5), range(5, 10)))
    source = rc.data.Changing((first, second), (4,))
    task = ByGroup(
        rc.ImageClassification(rc.models.MLP(64, 10, (32,)), 10), {"0-4": tuple(range(5)), "5-9": tuple(range(5, 10))}
    )
    agents = [
        rc.Agent(f"a{i}", part, rc.SGD(lr=0.2, epochs=2, batch_size=16))
        for i, part in enumerate(source.split(rc.IID(2)))
    ]
    run = rc.RunConfig(num_rounds=6, dir=str(tmp_path))
    result = rc.fit(
        agents, rc.Mean(), test=rc.data.Digits("test"), task=task, run=run, scaling=rc.ScalingConfig(pool="local")
    )
    matrix = rc.adapt.AccuracyMatrix.of(result.history, result.primary)
    ends = matrix.at((3, 6))
    assert ends.values[0][0] > 0.8 > 0.2 > ends.values[1][0]
    assert ends.values[0][1] < 0.2 < 0.8 < ends.values[1][1]
    assert matrix.forgetting["0-4"] > 0.6 > 0.1 > matrix.forgetting["5-9"]
    assert f"{matrix.forgetting['0-4']:.4f} worst (0-4), of 2 groups" in result.report()
