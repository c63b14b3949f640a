"""Secure sums in whole runs, in one process: results, dropouts, and what does not go with them."""

from dataclasses import dataclass, replace

import pytest
import torch

import raycollab as rc
from raycollab.errors import ConfigError, QuorumError
from raycollab.keys import new_key
from raycollab.runtime.host import Host

from ..contracts.support import ONE_STEP, Training, digits, train

CHAIN = (rc.ClipNorm(10.0), rc.SecureSum(rc.Mean(), min_agents=4))
STEPS = rc.SGD(lr=0.1, steps=3, batch_size=8)


@dataclass(frozen=True)
class Fails(rc.SGD):
    """SGD that fails in one round."""

    in_round: int = 2

    def update(self, problem, params, state, round):
        if round.index == self.in_round:
            raise RuntimeError("out of memory")
        return super().update(problem, params, state, round)


class Drop:
    """Agents that are gone from a kind of message on, for one attempt: their hosts hear nothing."""

    def __init__(self, monkeypatch, kind, names, times=1):
        answer = Host.answer
        self.left = times

        def changed(host, messages):
            hit = {name for name, message in messages.items() if type(message).__name__ == kind and name in names}
            answers = answer(
                host, {name: message for name, message in messages.items() if name not in hit or not self.left}
            )
            if hit and self.left:
                self.missed = getattr(self, "missed", set()) | hit
                if self.missed == set(names):
                    self.left, self.missed = self.left - 1, set()
            return answers

        monkeypatch.setattr(Host, "answer", changed)


@pytest.mark.parametrize("num_hosts", [1, 2, 4])
def test_the_model_is_that_of_the_mean(num_hosts):
    """To the unit of the fixed point, on any number of hosts with the same bits, though every mask is another."""
    one = train(digits(STEPS, *CHAIN, rounds=3))
    several = train(digits(STEPS, *CHAIN, rounds=3), num_hosts=num_hosts)
    assert one.bits() == several.bits()
    mean = train(digits(STEPS, rc.ClipNorm(10.0), rc.Mean(), rounds=3))
    torch.testing.assert_close(one.params, mean.params, rtol=0, atol=2e-6)
    for secure, plain in zip(one.reports, mean.reports, strict=True):
        weights = torch.tensor([agent.weight for agent in plain.agents])
        losses = torch.tensor([agent.loss for agent in plain.agents])
        assert secure.train_loss == pytest.approx(float((weights * losses).sum() / weights.sum()), rel=1e-4)
        assert all(agent.loss != agent.loss and agent.norm != agent.norm for agent in secure.agents)
        assert secure.bytes_up > plain.bytes_up


@pytest.mark.parametrize("kind", ["Advertise", "Deal", "Deliver"])
def test_a_dropout_before_its_update_is_as_one_that_failed(kind, monkeypatch):
    """The round has the bits of one in which the learner of that agent failed: the ring is of those that were asked."""
    failed = train(digits([STEPS] * 7 + [Fails(lr=0.1, steps=3, batch_size=8)], *CHAIN, rounds=3))
    run = Training(digits(STEPS, *CHAIN, rounds=3)).steps(1)
    Drop(monkeypatch, kind, {"agent-7"})
    run.finish()
    assert torch.equal(run.params, failed.params)
    assert [[failure.agent for failure in report.failures] for report in run.reports] == [[], ["agent-7"], []]


@pytest.mark.parametrize("kind", ["Arrived", "Unmask"])
def test_a_dropout_after_its_update_costs_nothing(kind, monkeypatch):
    whole = train(digits(STEPS, *CHAIN, rounds=2))
    Drop(monkeypatch, kind, {"agent-1", "agent-7"})
    run = train(digits(STEPS, *CHAIN, rounds=2))
    assert torch.equal(run.params, whole.params)
    assert not run.reports[0].failures


def test_a_sum_that_does_not_open_is_asked_for_again(monkeypatch):
    """Too few help in the first attempt; the second has other keys and the same bits."""
    whole = train(digits(STEPS, *CHAIN, rounds=2))
    Drop(monkeypatch, "Arrived", {f"agent-{i}" for i in range(5)})
    run = train(digits(STEPS, *CHAIN, rounds=2))
    assert [report.attempts for report in run.reports] == [2, 1]
    assert {failure.decision for failure in run.reports[0].retried} == {"asked again"}
    assert torch.equal(run.params, whole.params)


def test_below_min_agents_no_round_is_made(monkeypatch):
    """Five of eight are gone each time: of three updates no sum is opened, and the run ends by name."""
    Drop(monkeypatch, "Deal", {f"agent-{i}" for i in range(5)}, times=9)
    with pytest.raises(
        QuorumError, match=r"round 1: 0 of 8 agents answered in the last of 3 attempts, SecureSum needs 4"
    ):
        train(digits(STEPS, *CHAIN, rounds=1))


def test_failures_leave_too_few():
    learners = [STEPS] * 3 + [Fails(lr=0.1, steps=3, in_round=1)] * 5
    with pytest.raises(QuorumError, match=r"3 of 8 agents answered .*SecureSum needs 4"):
        train(digits(learners, *CHAIN, rounds=1))


def test_what_was_cut_is_a_note_of_the_round():
    run = train(digits(STEPS, rc.SecureSum(rc.Mean(), clip=1e-3), rounds=1))
    (note,) = run.reports[0].notes
    assert note.startswith("secure sum: ")
    assert note.endswith("elements of all updates together were above clip=0.001, and cut to it")


def test_a_norm_above_the_limit_is_refused_in_the_agent():
    """The driver cannot look any more; whom it hits is a dropout."""
    experiment = digits([STEPS] * 7 + [rc.SGD(lr=1e3, steps=3)], rc.SecureSum(rc.Mean()), rounds=1)
    run = train(replace(experiment, failure=rc.FailureConfig(max_norm=10.0)))
    (failure,) = run.reports[0].failures
    assert (failure.agent, failure.error) == ("agent-7", "UpdateError")
    assert "FailureConfig.max_norm=10" in failure.message


def test_weights_above_the_limit_are_named():
    with pytest.raises(QuorumError, match=r"has weight .* secure sum takes 0 to 200: set SecureSum\.max_weight"):
        train(digits(STEPS, rc.SecureSum(rc.Mean(), max_weight=200.0), rounds=1))


def test_nothing_of_the_run_seed_is_secret(monkeypatch):
    """Two runs of one seed send other residues, and come to the same bits."""
    sent = []
    run = Host.run
    monkeypatch.setattr(Host, "run", lambda *arguments: sent.append(run(*arguments)) or sent[-1])
    one, other = (train(digits(STEPS, *CHAIN, rounds=1)) for _ in range(2))
    assert torch.equal(one.params, other.params)
    first, second = (result.nodes[0].partial.whole()[1] for result in sent)
    assert float((first.body == second.body).float().mean()) < 0.01


def test_parties_sign_their_keys(tmp_path):
    """Agents with keys: the same bits as without; and one of another key is a dropout that is named."""
    keys = {f"agent-{i}": new_key(f"agent-{i}", str(tmp_path)) for i in range(8)}
    plain = digits(STEPS, *CHAIN, rounds=1)
    agents = tuple(replace(agent, key=keys[agent.name]) for agent in plain.agents.agents())
    signed = replace(plain, agents=rc.Parties(agents))
    assert torch.equal(train(signed).params, train(plain).params)


def test_simulated_agents_stay_where_they_are():
    """An agent that could be run anywhere has its secrets nowhere else: its home is one host."""
    population = rc.Split(rc.data.Digits("train"), rc.IID(num_parts=8), (ONE_STEP,))
    experiment = replace(digits(ONE_STEP, *CHAIN, rounds=2), agents=population)
    assert not experiment.session().simulated
    assert replace(experiment, chain=(rc.Mean(),)).session().simulated
    one, four = (train(experiment, num_hosts=count) for count in (1, 4))
    assert torch.equal(one.params, four.params)


def test_local_attacks_run_and_masks_do_not_help_against_them():
    """Secure sums hide a bad update as well as a good one; clipping is done by the agent, honest or not."""
    attacked = train(digits(STEPS, *CHAIN, rounds=2, attack=rc.Attack("sign_flip", 1, strength=4.0)))
    honest = train(digits(STEPS, *CHAIN, rounds=2))
    assert not torch.allclose(attacked.params, honest.params, atol=1e-4)


@pytest.mark.parametrize(
    ("chain", "settings", "message"),
    [
        ((rc.SecureSum(rc.Mean(), min_agents=9),), {}, r"needs 9 updates a round; Synchronous.* of 8 agents brings 8"),
        (CHAIN, {"run": {"agents_per_round": 3}}, r"needs 4 updates a round"),
        (CHAIN, {"mode": rc.Cyclic()}, r"needs 4 updates a round; Cyclic\(\) of 8 agents brings 1"),
        (CHAIN, {"mode": rc.Buffered(4)}, r"experiment\.mode=Buffered.*start all agents of a round from one version"),
        (CHAIN, {"select": rc.LossAware()}, r"experiment\.select=LossAware.*goes by losses, which SecureSum keeps"),
        (CHAIN, {"select": rc.PowerOfChoice(8)}, r"experiment\.select=PowerOfChoice"),
        (CHAIN, {"upload": rc.BFloat16()}, r"experiment\.upload=BFloat16\(\): must be null with SecureSum: masked"),
        (CHAIN, {"scaling": rc.ScalingConfig(slices=2)}, r"ScalingConfig\.slices=2: .*SecureSum.* does more than sum"),
        (
            CHAIN,
            {"checkpoint": rc.CheckpointConfig(updates=True)},
            r"CheckpointConfig\.updates=True: must be false with SecureSum: whoever reads the run folder",
        ),
        (CHAIN, {"attack": rc.Attack("ipm", 2)}, r"UnderAttack.*works on what single agents send, which SecureSum"),
        (
            (rc.PerGroup({"*": rc.SecureSum(rc.Mean())}),),
            {},
            r"PerGroup.*works on what single agents send.*give the chain SecureSum itself",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_with_it_is_refused_at_the_start(chain, settings, message):
    with pytest.raises(ConfigError, match=message):
        digits(STEPS, *chain, **settings).resolved()


def test_agents_that_send_different_things_are_refused_at_the_start():
    learners = [STEPS] * 7 + [rc.StartLoss(STEPS)]
    with pytest.raises(ConfigError, match=r"agent 'agent-7' sends .*start_loss.* give all agents learners alike"):
        digits(learners, *CHAIN).resolved()


def test_codecs_of_what_the_driver_sends_and_modes_and_control_variates_go_with_it():
    some = {"mode": rc.Synchronous(over_select=0.4), "run": {"agents_per_round": 5}}
    for settings in ({"broadcast": rc.Quantize(8)}, {"mode": rc.SemiSynchronous(1.0, min_agents=4)}, some):
        assert train(digits(STEPS, *CHAIN, rounds=2, **settings)).driver.version == 2
    scaffold, mean = (
        train(digits(rc.Scaffold(STEPS), rule, rounds=3)) for rule in (rc.SecureSum(rc.Mean()), rc.Mean())
    )
    torch.testing.assert_close(scaffold.params, mean.params, rtol=0, atol=1e-5)


def test_agents_that_learn_at_once_mask_each_their_own():
    settings = {"scaling": rc.ScalingConfig(agents_at_once=4), "run": {"num_blocks": 2}}
    together = train(digits(ONE_STEP, *CHAIN, rounds=2, **settings))
    torch.testing.assert_close(together.params, train(digits(ONE_STEP, *CHAIN, rounds=2)).params, rtol=0, atol=1e-5)


def test_a_killed_run_goes_on_with_the_same_bits():
    experiment = digits(STEPS, *CHAIN, rc.Momentum(0.9), rounds=4)
    first = Training(experiment).steps(2)
    resumed = Training(experiment, folder=first.folder).finish()
    assert torch.equal(resumed.params, train(experiment).params)


def test_who_joins_must_send_what_the_others_send():
    """One with the same learner is summed; with one that sends more, masks do not cancel, and the round says so."""
    late = replace(digits(ONE_STEP).agents.agents()[0], name="late")
    joined = Training(digits(ONE_STEP, *CHAIN, rounds=2, num_agents=5)).steps(1)
    joined.driver.add_agent(late)
    assert len(joined.steps(1).reports[-1].agents) == 6
    other = Training(digits(ONE_STEP, *CHAIN, rounds=2, num_agents=5)).steps(1)
    other.driver.add_agent(replace(late, learner=rc.StartLoss(ONE_STEP)))
    with pytest.raises(QuorumError, match="of 2 forms cannot be summed under masks"):
        other.steps(1)


def test_nobody_joins_parties_that_know_each_other_by_their_keys(tmp_path):
    """The others do not have its key: it is refused, and they go on."""
    keys = [new_key(name, str(tmp_path)) for name in (*(f"agent-{i}" for i in range(5)), "late")]
    made = digits(ONE_STEP, *CHAIN, rounds=2, num_agents=5)
    agents = [replace(agent, key=key) for agent, key in zip(made.agents.agents(), keys, strict=False)]
    training = Training(replace(made, agents=rc.Parties(tuple(agents)))).steps(1)
    with pytest.raises(rc.RaycollabError, match="the experiment lists no key of it"):
        training.driver.add_agent(replace(agents[0], name="late", key=keys[-1]))
    assert len(training.steps(1).reports[-1].agents) == 5
