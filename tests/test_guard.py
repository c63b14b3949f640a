"""Who is harmed by the common model, and what is done about it."""

import pytest

import raycollab as rc
from raycollab.config import RunConfig
from raycollab.errors import ConfigError
from raycollab.guard import Guard

from .contracts.support import ONE_STEP, digits, train

STOP, REWEIGH = RunConfig(max_harm=0.1), RunConfig(max_harm=0.1, on_harm="reweigh")


def seen(run, *accuracies, primary=("accuracy", True)):
    guard, notes = Guard(run, primary), []
    for accuracy in accuracies:
        notes = guard.observe({"a": {primary[0]: accuracy}, "b": {primary[0]: 0.5}, "c": {}})
    return guard, notes


def test_who_falls_below_its_best_by_more_than_is_allowed_is_harmed():
    guard, notes = seen(STOP, 0.5, 0.9, 0.79)
    assert guard.reason() == "harm to a (accuracy worse by 0.11)"
    assert notes == ["harmed: a (accuracy worse by 0.11), more than max_harm=0.1 below their best; the run ends"]
    assert seen(STOP, 0.9, 0.81)[0].reason() == ""
    assert seen(STOP, 0.9, 0.7, 0.85)[0].reason() == ""  # it has recovered
    assert seen(STOP, 0.9, float("nan"))[0].reason() == ""


def test_of_a_loss_lower_is_better():
    assert seen(STOP, 0.9, 0.3, primary=("loss", False))[0].reason() == ""
    assert seen(STOP, 0.3, 0.9, primary=("loss", False))[0].reason() == "harm to a (loss worse by 0.6)"


def test_a_harmed_agent_weighs_ever_more_until_it_has_recovered():
    factors = [seen(REWEIGH, *([0.9] + [0.5] * count))[0].factor("a") for count in range(7)]
    assert factors == [1, 2, 4, 8, 16, 16, 16]
    back = [seen(REWEIGH, *([0.9, 0.5, 0.5] + [0.9] * count))[0].factor("a") for count in range(4)]
    assert back == [4, 2, 1, 1]
    assert seen(REWEIGH, 0.9, 0.5)[0].reason() == ""
    assert seen(STOP, 0.9, 0.5)[0].factor("a") == 1


def test_nobody_is_looked_at_unless_asked():
    assert seen(RunConfig(), 0.9, 0.1)[0].reason() == ""


def test_it_remembers_across_a_restart():
    guard, _ = seen(REWEIGH, 0.9, 0.5)
    other = Guard(REWEIGH, ("accuracy", True))
    other.load_state_dict(guard.state_dict())
    other.observe({"a": {"accuracy": 0.5}})
    assert other.factor("a") == 4


def test_a_run_ends_where_it_harms_an_agent():
    """With steps that are far too long, some agent soon falls below its best."""
    settings = {"num_agents": 4, "rounds": 30, "run": {"max_harm": 0.0}}
    run = train(digits(rc.SGD(lr=0.8, steps=3, batch_size=4), **settings))
    assert run.driver.stop_reason.startswith("harm to agent-")
    assert run.driver.version < 30
    assert any(note.startswith("harmed: ") for note in run.reports[-1].notes)


def test_a_run_reweighs_an_agent():
    settings = {"num_agents": 4, "rounds": 8}
    run = train(digits(rc.SGD(lr=0.8, steps=3, batch_size=4), run={"max_harm": 0.0, "on_harm": "reweigh"}, **settings))
    plain = train(digits(rc.SGD(lr=0.8, steps=3, batch_size=4), **settings))
    ratios = [
        row.weight / other.weight
        for report, before in zip(run.reports, plain.reports, strict=True)
        for row, other in zip(report.agents, before.agents, strict=True)
    ]
    assert max(ratios) >= 2
    assert set(ratios) <= {1, 2, 4, 8, 16}


def test_settings_that_are_refused():
    with pytest.raises(ConfigError, match=r"RunConfig.max_harm=-1: must be >= 0"):
        RunConfig(max_harm=-1)
    with pytest.raises(ConfigError, match=r"RunConfig.on_harm='warn': must be one of"):
        RunConfig(on_harm="warn")
    with pytest.raises(ConfigError, match=r"on_harm='reweigh': Median\(.*does not go by the weights"):
        digits(ONE_STEP, rc.Median(), run={"max_harm": 0.1, "on_harm": "reweigh"}).resolved()
