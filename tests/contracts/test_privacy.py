"""Differential privacy in whole runs: what is counted, who stops when, what is refused, and what a restart keeps."""

from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch
import yaml

import raycollab as rc
from raycollab.compatibility import check_noise_shares
from raycollab.conduct import conduct
from raycollab.experiment_file import parse_experiment
from raycollab.privacy import PRV, RDP, PrivacyBudget

from .support import DIGITS, NUM_AGENTS, ONE_STEP, Training, digits

DELTA = 1e-4
ROUND = {"noise": 1.0, "max_grad_norm": 1.0, "lr": 0.1, "steps": 2, "batch_size": 8}


def private(epsilon=float("inf"), **changes):
    return rc.DPSGD(**{**ROUND, **changes}, budget=PrivacyBudget(epsilon, DELTA))


def two(*learners, rounds=6, **settings):
    """Two agents of as many examples."""
    source = rc.data.Digits("train")
    agents = [
        rc.Agent(name, shard, learner, val_fraction=0.0)
        for name, shard, learner in zip("ab", source.split(rc.IID(2)), learners, strict=True)
    ]
    made = digits(rounds=rounds)
    return replace(made, agents=rc.Parties(tuple(agents)), **settings)


def cost(training, rounds):
    return RDP().epsilon(1.0, 8 / training.cards[0].examples, 2 * rounds, DELTA)


def between(rounds):
    """A budget for so many rounds of an agent of `two`, and not for one more."""
    training = Training(two(private(), private()))
    return (cost(training, rounds) + cost(training, rounds + 1)) / 2


def test_epsilon_is_in_every_report_and_in_the_tables():
    training = Training(two(private(), ONE_STEP, rounds=2))
    reports = [report for event in conduct(training.driver, 0.0) for report in getattr(event, "agents", ())]
    told = {(row.agent, index // 2 + 1): row for index, row in enumerate(reports) if hasattr(row, "epsilon")}
    assert told["a", 1].epsilon == pytest.approx(cost(training, 1))
    assert told["a", 2].epsilon == pytest.approx(cost(training, 2))
    assert told["b", 2].epsilon != told["b", 2].epsilon  # nan: nobody counts
    table = pq.read_table(f"{training.folder.path}/agents.parquet").to_pylist()
    expected = [cost(training, rounds) for rounds in (1, 2)]
    assert [row["epsilon"] for row in table if row["agent"] == "a"] == pytest.approx(expected)
    assert [row["epsilon"] for row in table if row["agent"] == "b"] == [None, None]


def test_a_party_stops_before_its_budget_is_exceeded_and_the_run_goes_on():
    limit = between(2)
    training = Training(two(private(limit), private(), rounds=4)).finish()
    assert [[row.agent for row in report.agents] for report in training.reports] == [["a", "b"]] * 2 + [["b"]] * 2
    assert [report.agents[0].last for report in training.reports] == [False, True, False, False]
    assert training.reports[1].agents[0].epsilon <= limit
    assert training.driver.roster.spent == {"a": 2}
    assert not any(report.failures for report in training.reports)


def test_the_run_ends_when_nobody_has_any_left():
    training = Training(two(private(between(2)), private(between(2)), rounds=6)).finish()
    assert len(training.reports) == 2
    assert training.reports[-1].metrics
    assert training.driver.stop_reason == "privacy budgets are spent: nobody has any left, and a round needs 1"


def test_the_run_ends_when_too_few_have_any_left():
    failure = rc.FailureConfig(min_agents=2)
    training = Training(two(private(between(1)), private(), failure=failure)).finish()
    assert training.driver.stop_reason == "privacy budgets are spent: 1 of 2 agents have any left, and a round needs 2"
    assert len(training.reports) == 1


def test_a_restart_keeps_what_was_spent():
    """Killed after one round: three more bring what four without a pause do, and who was done is still done."""
    experiment = two(private(between(3)), private(), rounds=5)
    whole = Training(experiment).finish()
    begun = Training(experiment).steps(1)
    resumed = Training(experiment, folder=begun.folder).finish()
    assert [r.agents[-1].epsilon for r in resumed.reports] == [r.agents[-1].epsilon for r in whole.reports[1:]]
    assert resumed.driver.roster.spent == whole.driver.roster.spent == {"a": 3}
    again = Training(two(private(between(3)), private(), rounds=6), folder=resumed.folder).finish()
    assert [[row.agent for row in report.agents] for report in again.reports] == [["b"]]


def test_an_ended_run_stays_ended():
    experiment = two(private(between(1)), private(between(1)))
    done = Training(experiment).finish()
    again = Training(experiment, folder=done.folder).finish()
    assert again.reports == []
    assert again.driver.stop_reason == done.driver.stop_reason


@pytest.mark.parametrize(
    ("learner", "words"),
    [
        (private(0.01), r"a: DPSGD.budget=PrivacyBudget\(epsilon=0.01.*one round of 2 steps costs epsilon="),
        (rc.DPSGD(**ROUND, budget=PrivacyBudget(delta=0.1)), r"a: PrivacyBudget.delta=0.1: must be < 1/n"),
        (private(batch_size=10**6), "a: DPSGD.batch_size=1000000: must be <= the agent's"),
        (private(noise_key="/nowhere"), "a: DPSGD.noise_key='/nowhere': cannot be read"),
    ],
)
def test_what_is_refused_before_round_1(learner, words):
    with pytest.raises(rc.DataError, match=words):
        Training(two(learner, ONE_STEP))


def test_batch_norm_is_refused_before_round_1():
    net = rc.models.CNN(10, size=8, channels=(4,), hidden=8, batch_norm=True)
    with pytest.raises(rc.RaycollabError, match=r"BatchNorm2d, which mixes the examples of a batch"):
        Training(two(private(), private(), task=rc.Classification(net, 10, inputs="image")))


# Whole parties, by the driver


def test_the_private_mean_counts_each_round_for_every_party():
    training = Training(digits(ONE_STEP, rc.PrivateMean(noise=2.0, max_norm=0.1), rounds=2)).finish()
    expected = [RDP().epsilon(2.0, 1.0, rounds, 1e-5) for rounds in (1, 2)]
    assert [{row.party_epsilon for row in report.agents} for report in training.reports] == [{e} for e in expected]


def test_a_sample_of_parties_counts_by_its_share_and_at_half_the_noise():
    rule = rc.PrivateMean(noise=2.0, max_norm=0.1)
    run = {"agents_per_round": 2}
    training = Training(digits(ONE_STEP, rule, rounds=2, run=run)).finish()
    share = 2 / NUM_AGENTS
    assert training.reports[1].agents[0].party_epsilon == pytest.approx(RDP().epsilon(1.0, share, 2, 1e-5), rel=1e-6)
    known = Training(digits(ONE_STEP, replace(rule, amplified=False), rounds=2, run=run)).finish()
    assert known.reports[1].agents[0].party_epsilon == pytest.approx(RDP().epsilon(2.0, 1.0, 2, 1e-5))


def test_the_run_ends_before_the_budget_of_the_private_mean_is_exceeded():
    limit = (RDP().epsilon(2.0, 1.0, 2, 1e-5) + RDP().epsilon(2.0, 1.0, 3, 1e-5)) / 2
    rule = rc.PrivateMean(noise=2.0, max_norm=0.1, budget=PrivacyBudget(limit))
    experiment = digits(ONE_STEP, rule, rounds=6)
    training = Training(experiment).finish()
    assert len(training.reports) == 2
    assert training.driver.stop_reason.startswith("another round would exceed PrivateMean.budget=PrivacyBudget(")
    begun = Training(experiment).steps(1)
    assert len(Training(experiment, folder=begun.folder).finish().reports) == 1


@pytest.mark.parametrize(
    ("settings", "rule", "words"),
    [
        ({}, {"budget": PrivacyBudget(0.1)}, r"PrivateMean.budget=PrivacyBudget\(epsilon=0.1.*one round costs"),
        ({}, {"budget": PrivacyBudget(delta=0.2)}, "PrivacyBudget.delta=0.2: must be < 1/n of 8 agents"),
        ({"run": {"agents_per_round": 2}, "select": rc.ByWeight()}, {}, r"experiment.select=.*must be Uniform\(\)"),
        ({"mode": rc.Cyclic()}, {}, r"experiment.mode=.*must be Synchronous\(\) with PrivateMean"),
    ],
)
def test_what_does_not_go_with_the_private_mean(settings, rule, words):
    with pytest.raises(rc.ConfigError, match=words):
        digits(ONE_STEP, rc.PrivateMean(noise=1.0, max_norm=0.1, **rule), **settings).resolved()


def test_vectors_without_noise_are_refused():
    with pytest.raises(rc.ConfigError, match=r"needs the common \['control'\], and PrivateMean merges deltas alone"):
        digits(rc.Scaffold(ONE_STEP), rc.PrivateMean(noise=1.0, max_norm=0.1)).resolved()
    net = rc.models.CNN(10, size=8, channels=(4,), hidden=8, batch_norm=True)
    task = rc.Classification(net, 10, inputs="image")
    with pytest.raises(rc.ModelError, match=r"PrivateMean: .* buffers would travel without noise: set Exchange"):
        Training(digits(ONE_STEP, rc.PrivateMean(noise=1.0, max_norm=0.1), task=task))


# Whole parties, by the parties


def test_shares_of_noise_count_for_each_party_that_takes_part():
    share = rc.NoiseShare(noise=2.0, max_norm=0.1, agents=4)
    failure = rc.FailureConfig(min_agents=4)
    run = {"agents_per_round": 4}
    training = Training(digits(ONE_STEP, share, rc.Mean("uniform"), rounds=3, run=run, failure=failure)).finish()
    times = {}
    for report in training.reports:
        for row in report.agents:
            times[row.agent] = times.get(row.agent, 0) + 1
            assert row.party_epsilon == pytest.approx(RDP().epsilon(2.0, 1.0, times[row.agent], 1e-5))
    assert max(times.values()) > 1


def test_secure_sums_of_shares_are_the_plain_ones():
    """The driver sees only the sum, which has all of the noise, and every party's epsilon all the same.

    After one round: parameters that differ in their last bits get other noise in the next.
    """
    share = rc.NoiseShare(noise=2.0, max_norm=0.1, agents=3)
    failure = rc.FailureConfig(min_agents=3)
    plain = Training(digits(ONE_STEP, share, rc.Mean("uniform"), rounds=1, failure=failure)).finish()
    secure = Training(digits(ONE_STEP, share, rc.SecureSum(rc.Mean("uniform"), bits=64), rounds=1)).finish()
    torch.testing.assert_close(plain.params, secure.params, rtol=0, atol=1e-5)
    told = [[row.party_epsilon for row in training.reports[0].agents] for training in (plain, secure)]
    assert told[0] == told[1] == [RDP().epsilon(2.0, 1.0, 1, 1e-5)] * NUM_AGENTS


def test_a_party_stops_before_its_shares_exceed_its_budget():
    limit = (RDP().epsilon(2.0, 1.0, 2, 1e-5) + RDP().epsilon(2.0, 1.0, 3, 1e-5)) / 2
    share = rc.NoiseShare(noise=2.0, max_norm=0.1, agents=1, budget=PrivacyBudget(limit))
    training = Training(digits(ONE_STEP, share, rc.Mean("uniform"), rounds=6)).finish()
    assert len(training.reports) == 2
    assert "privacy budgets are spent: nobody has any left" in training.driver.stop_reason


def test_what_does_not_go_with_shares_of_noise():
    share = rc.NoiseShare(noise=1.0, max_norm=0.1, agents=2)
    with pytest.raises(rc.ConfigError, match=r"NoiseShare counts on every update to weigh the same, and Mean"):
        rc.chain(share, rc.Mean())
    with pytest.raises(rc.ConfigError, match=r"is what agents do together: it belongs on the left of the aggregator"):
        rc.chain(rc.Mean("uniform"), share)
    with pytest.raises(rc.ConfigError, match=r"NoiseShare.agents=2: must be <= FailureConfig.min_agents=1"):
        digits(ONE_STEP, share, rc.Mean("uniform")).resolved()
    with pytest.raises(rc.ConfigError, match=r"sends .'control'. beside its delta, without NoiseShare's noise"):
        check_noise_shares(rc.chain(share, rc.Mean("uniform")), {name: rc.Scaffold(ONE_STEP) for name in "ab"}, 2)


def test_files_name_it_all():
    """Written as YAML and read again, an experiment is the same."""
    source, test = rc.data.Digits("train"), rc.data.Digits("test")
    learner = rc.DPSGD(**ROUND, budget=PrivacyBudget(2.0, DELTA), accountant=PRV(0.1), noise_key="north.key")
    shares = rc.NoiseShare(noise=1.0, max_norm=0.1, agents=2, budget=PrivacyBudget(8.0))
    split = rc.Split(source, rc.IID(4), (learner,))
    for chain in ((shares, rc.Mean("uniform")), (rc.PrivateAdaptiveMean(noise=1.0, accountant=PRV()),)):
        made = rc.Experiment(DIGITS, split, chain, test)
        read = parse_experiment(yaml.safe_dump(made.to_plain()), "here")
        assert read.agents == made.agents
        assert read.chain == made.chain


def test_what_stays_open_is_said():
    """Noise from the seed, and exact scores on validation rows."""
    warnings = digits(private(), rc.PrivateMean(noise=1.0, max_norm=0.1)).warnings()
    assert len(warnings) == 2
    assert warnings[0].startswith("noise comes from the run's seed, and whoever knows that can take it off: set noise")
    assert "chain (PrivateMean)" in digits(ONE_STEP, rc.PrivateMean(noise=1.0, max_norm=0.1)).warnings()[0]
    assert "scores on validation rows are exact, and outside epsilon" in warnings[1]
    assert two(private(noise_key="north.key"), ONE_STEP).warnings() == []
