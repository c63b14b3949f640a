"""An agent's own model, loaded from the run folder, scores what the agent scored."""

import pytest

import raycollab as rc

SGD = rc.SGD(lr=0.2, steps=4, batch_size=8)
TEST = rc.data.Digits("test")
HEAD = rc.Exchange(exclude=("3.*",))
ALL = rc.Exchange()
CASES = [
    (rc.Ditto(SGD), rc.Mean(), ALL),
    (rc.Ditto(SGD), rc.Mean(), HEAD),
    (rc.APFL(SGD, alpha_lr=0.1), rc.Mean(), ALL),
    (rc.PFedMe(SGD, mu=2.0, lr=0.2), rc.Mean(), ALL),
    (rc.FedALA(SGD, head="3.*"), rc.Mean(), ALL),
    (rc.FedRep(SGD), rc.Mean(), HEAD),
    (rc.IFCA(SGD, 2), rc.PerCluster(), ALL),
]


def run(learner, rule, exchange, tmp_path, **settings):
    """Three agents, two of whom take part in a round, that are scored on a test set of their own."""
    shards = rc.data.Digits("train").split(rc.Dirichlet(0.3, num_parts=3))
    agents = [rc.Agent(f"agent-{i}", shard, learner, test=TEST, **settings) for i, shard in enumerate(shards)]
    return rc.fit(
        agents,
        rule,
        task=rc.ImageClassification(rc.models.MLP(64, 10, hidden=(16,)), num_classes=10),
        test=TEST,
        exchange=exchange,
        run=rc.RunConfig(num_rounds=4, dir=str(tmp_path)),
        scaling=rc.ScalingConfig(pool="local"),
    )


@pytest.mark.parametrize(("learner", "rule", "exchange"), CASES, ids=lambda value: type(value).__name__)
def test_scores_what_the_agent_scored(learner, rule, exchange, tmp_path):
    result = run(learner, rule, exchange, tmp_path)
    losses = set()
    for row in result.agents[-3:]:
        scored = row.get("personal_test_loss", row["test_loss"])
        found = rc.load(result.path, agent=row["agent"]).evaluate(TEST).compute()["loss"]
        assert found == pytest.approx(scored, rel=1e-5)
        losses.add(round(found, 6))
    assert len(losses) > 1 or isinstance(learner, rc.IFCA)


def test_with_a_task_of_the_agents_own(tmp_path):
    task = rc.ImageClassification(rc.models.MLP(64, 10, hidden=(16,)), num_classes=10)
    result = run(rc.Ditto(SGD), rc.Mean(), HEAD, tmp_path, task=task)
    row = result.agents[-1]
    found = rc.load(result.path, agent=row["agent"]).evaluate(TEST).compute()["loss"]
    assert found == pytest.approx(row["personal_test_loss"], rel=1e-5)


def test_a_model_that_is_tuned_anew_each_time_is_adapted_instead(tmp_path):
    learner = rc.FineTune(SGD, tune=rc.SGD(lr=0.1, epochs=1))
    result = run(learner, rc.Mean(), ALL, tmp_path)
    assert result.agents[-1]["personal_test_loss"] != result.agents[-1]["test_loss"]
    with pytest.raises(rc.ConfigError, match="agent 'agent-0' has no private part"):
        rc.load(result.path, agent="agent-0")
    rows = rc.data.Digits("train").split(rc.Dirichlet(0.3, num_parts=3))[0]
    before, after = (model.evaluate(rows).compute()["loss"] for model in (result.model(), result.adapt(rows, learner)))
    assert after < before


def test_the_report_has_a_line_on_own_models(tmp_path):
    report = run(rc.Ditto(SGD), rc.Mean(), ALL, tmp_path).report()
    assert "agents' own models' test accuracy" in report
