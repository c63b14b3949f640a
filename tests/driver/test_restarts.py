"""What is durable, and how a run goes on from it."""

import pytest
import torch

from raycollab.aggregation import Mean
from raycollab.checkpoint import RunFolder
from raycollab.config import CheckpointConfig, RunConfig
from raycollab.driver import Driver
from raycollab.errors import RunFolderError
from raycollab.learners import SGD
from raycollab.models import MLP
from raycollab.params import Exchange
from raycollab.spec import PARAMS
from raycollab.tasks import Classification
from raycollab.transforms import Momentum

from .support import Scripted, experiment, local, scored, scripted


@pytest.mark.parametrize(("every", "keep", "kept"), [(1, 2, [2, 3]), (2, 2, [2, 3]), (9, 1, [3])])
def test_checkpoints_when_due_and_at_the_end(tmp_path, every, keep, kept):
    driver = scripted(tmp_path, Scripted(), checkpoint=CheckpointConfig(every=every, keep=keep))
    list(driver.rounds())
    assert driver.folder.storage.list_dirs("checkpoints") == [f"{index:06d}" for index in kept]


RESUMED = {
    "plain": {},
    "sampled": {"run": RunConfig(num_rounds=4, agents_per_round=2, seed=3)},
    "stateful": {
        "learners": (SGD(momentum=0.9, keep_momentum=True), SGD(), SGD(momentum=0.5, keep_momentum=True)),
        "rule": (Mean(), Momentum(0.9)),
        "exchange": Exchange(include=("1.weight",)),
    },
}


@pytest.mark.parametrize("settings", RESUMED.values(), ids=RESUMED)
@pytest.mark.parametrize("killed_after", [1, 2, 3])
def test_a_killed_run_goes_on_as_if_it_had_never_stopped(tmp_path, settings, killed_after):
    made = experiment(**{"run": RunConfig(num_rounds=4), **settings})
    whole = local(tmp_path / "whole", made)
    whole.start()
    list(whole.rounds())
    first = local(tmp_path / "killed", made)
    first.start()
    for _ in range(killed_after):
        first.step()
    second = local(tmp_path / "killed", made)
    second.start()
    assert second.version == killed_after
    reports = list(second.rounds())
    assert not any(agent.fresh for report in reports for agent in report.agents)
    for name, vector in whole.vectors.items():
        assert torch.equal(second.vectors[name], vector)
    assert second.statistics == whole.statistics

    def decided(driver):
        hidden = ("seconds", "agent_rows")
        return [{name: value for name, value in row.items() if name not in hidden} for row in driver.folder.rows()]

    assert decided(second) == decided(whole)


def test_rounds_after_the_last_durable_state_are_run_again(tmp_path):
    made = experiment(run=RunConfig(num_rounds=4), checkpoint=CheckpointConfig(every=2))
    first = local(tmp_path / "run", made)
    first.start()
    for _ in range(3):
        first.step()
    second = local(tmp_path / "run", made)
    second.start()
    assert second.version == 2
    assert [row["round"] for row in second.folder.rows()] == [1, 2]
    second.step()
    assert torch.equal(second.vectors[PARAMS], first.vectors[PARAMS])


def test_an_ended_run_stays_ended_and_keeps_its_metrics(tmp_path):
    made = experiment()
    first = local(tmp_path / "run", made)
    first.start()
    list(first.rounds())
    second = local(tmp_path / "run", made)
    second.start()
    assert second.stop_reason == "num_rounds=3"
    assert list(second.rounds()) == []
    assert second.statistics == first.statistics


@pytest.mark.parametrize(
    ("before", "after", "more", "reason"),
    [
        ({"num_rounds": 2}, {"num_rounds": 4}, 2, "num_rounds=4"),
        ({"num_rounds": 4}, {"num_rounds": 2}, 0, "num_rounds=2"),
        ({"target": "accuracy >= 0.7"}, {"target": "accuracy >= 0.9"}, 2, "target accuracy >= 0.9"),
        ({"target": "accuracy >= 0.7"}, {}, 7, "num_rounds=9"),
        ({"target": "accuracy >= 0.7"}, {"target": "accuracy >= 0.6"}, 0, "target accuracy >= 0.6"),
        ({"patience": 1}, {"patience": 2}, 2, "target accuracy >= 0.9"),
    ],
)
def test_what_ends_a_run_may_change_when_it_goes_on(tmp_path, before, after, more, reason):
    """Accuracies 0.5, 0.7, then 0.8, 0.9 and 0.9; with patience it is 0.7 first."""
    scores = (0.7, 0.5, 0.8, 0.9) if "patience" in before else (0.5, 0.7, 0.8, 0.9)
    after = {"target": "accuracy >= 0.9", **after} if "patience" in before else after

    task = scored(*scores)

    def driver(settings):
        made = experiment(task=task, run=RunConfig(**{"num_rounds": 9, **settings}))
        path = tmp_path / "run"
        folder = RunFolder.open(str(path)) if path.exists() else RunFolder.create(str(tmp_path), "run")
        folder.write_text("experiment.yaml", "")
        made = Driver(made.plan(), Scripted(), folder)
        made.start()
        return made

    first = driver(before)
    list(first.rounds())
    second = driver(after)
    assert len(list(second.rounds())) == more
    assert second.stop_reason == reason


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    first = local(tmp_path / "run", experiment())
    first.start()
    first.step()
    other = local(tmp_path / "run", experiment(task=Classification(MLP(3, 2, (5,)), 2)))
    with pytest.raises(
        RunFolderError, match="the checkpoint is of a model with other parameters; resume with the experi"
    ):
        other.start()
