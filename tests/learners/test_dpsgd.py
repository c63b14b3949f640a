"""DP-SGD: its steps by hand, its noise, what it counts, what it refuses and what it does not send."""

import math
from dataclasses import replace

import pytest
import torch

import raycollab as rc
from raycollab.learners.per_example import PerExample
from raycollab.privacy import RDP, Noise, PrivacyBudget
from raycollab.types import Round

SETTINGS = {"noise": 1.0, "max_grad_norm": 0.5, "lr": 0.1, "batch_size": 5, "budget": PrivacyBudget(delta=1e-3)}
LEARNER = rc.DPSGD(steps=2, **SETTINGS)


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "noise.key"
    path.write_bytes(bytes(range(40)))
    path.chmod(0o600)
    return str(path)


def learned(bench, learner=LEARNER, round=None):
    return learner.update(bench.problem, bench.params, learner.init(bench.params), round or bench.round)


def recomputed(bench, learner, key):
    """The delta of an ordinary loop with the noise of a key: what somebody who knows all can work out."""
    model, noise, params = bench.model, Noise(key), bench.params.clone()
    columns, size, deviation = bench.shard.columns("train"), 20, learner.noise * learner.max_grad_norm
    for step in range(learner.steps):
        address = (7, 1, "a", step)
        model.load(params)
        rows = noise.sample(size, learner.batch_size / size, "sample", repr(deviation), *address, params)
        total = torch.zeros_like(params)
        for row in rows.tolist():
            bench.problem.backward({name: column[row : row + 1] for name, column in columns.items()})
            grad = torch.cat(model.grads)
            total += grad * min(1.0, learner.max_grad_norm / float(grad.norm()))
        model.zero_grad()
        PerExample(bench.problem, learner.max_grad_norm, vectorised=True).add(
            {name: column.index_select(0, rows) for name, column in columns.items()}
        )
        torch.testing.assert_close(torch.cat(model.grads), total, rtol=1e-4, atol=1e-6)
        drawn = noise.normal(len(params), deviation, "noise", 0, *address, params, model.grads[0])
        noisy = model.grads[0].double().add(drawn) / learner.batch_size
        params = params.add(noisy.float(), alpha=-learner.lr)  # to the bit: the next noise depends on it
    return params - bench.params


def test_steps_by_hand(bench):
    """Poisson samples, clipped sums, noise of noise * max_grad_norm, and batch_size as divisor, whoever was sampled."""
    update, _ = learned(bench)
    torch.testing.assert_close(update.vectors["delta"], recomputed(bench, LEARNER, b""), rtol=1e-4, atol=1e-5)


def test_who_knows_the_seed_can_take_the_noise_off_but_not_without_the_key(bench, key):
    """The attack that a key is for: without one it works, with one it does not."""
    open_noise, _ = learned(bench)
    secret, _ = learned(bench, replace(LEARNER, noise_key=key))
    attack = recomputed(bench, LEARNER, b"")
    assert torch.allclose(open_noise.vectors["delta"], attack, atol=1e-5)
    assert not torch.allclose(secret.vectors["delta"], attack, atol=1e-3)
    again, _ = learned(bench, replace(LEARNER, noise_key=key))
    assert torch.equal(secret.vectors["delta"], again.vectors["delta"])  # redone: the same bits, nothing new is told


def test_other_data_or_parameters_get_other_noise(bench, key):
    """With the same noise twice, a difference of two answers would have none."""
    learner = rc.DPSGD(steps=1, noise_key=key, **{**SETTINGS, "noise": 50.0})
    first, _ = learned(bench, learner)
    other = bench.shard.columns("train")
    other["image"].mul_(1.5)
    second, _ = learned(bench, learner)
    bench.params.mul_(1.001)
    third, _ = learned(bench, learner, replace(bench.round, vectors={"params": bench.params}))
    deltas = torch.stack([each.vectors["delta"] for each in (first, second, third)])
    norms = deltas.norm(dim=1)
    for one, two in ((0, 1), (0, 2), (1, 2)):
        assert (deltas[one] - deltas[two]).norm() > 0.5 * norms[one]


def test_more_noise_is_other_noise(bench, key):
    """The same noise in two sizes would tell, by two answers, what it was added to."""
    learner = rc.DPSGD(steps=1, noise_key=key, **{**SETTINGS, "noise": 50.0, "batch_size": 20})
    less = learned(bench, learner)[0].vectors["delta"]
    more = learned(bench, replace(learner, noise=100.0))[0].vectors["delta"]
    assert abs(torch.corrcoef(torch.stack([less, more]))[0, 1]) < 4 / math.sqrt(len(less))


def test_the_noise_has_its_size(bench):
    """50 times the clipping norm drowns the gradients: a step has noise * C * lr / batch_size in an element."""
    learner = rc.DPSGD(steps=1, **{**SETTINGS, "noise": 50.0})
    delta = learned(bench, learner)[0].vectors["delta"]
    std = 50.0 * 0.5 * 0.1 / 5
    assert float(delta.std()) == pytest.approx(std, rel=4 / math.sqrt(2 * len(delta)))


def test_little_noise_and_no_clipping_is_sgd(bench):
    """All examples in each step: the mean gradient of full batches."""
    learner = rc.DPSGD(steps=3, noise=1e-7, max_grad_norm=1e3, lr=0.1, momentum=0.9, batch_size=20,
                       budget=PrivacyBudget(delta=1e-3))  # fmt: skip
    plain = bench.reference(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), batch_size=20, epochs=3)
    torch.testing.assert_close(learned(bench, learner)[0].vectors["delta"], plain, rtol=1e-3, atol=1e-4)


def test_it_counts_its_steps(bench):
    update, state = learned(bench)
    expected = RDP().epsilon(1.0, 5 / 20, 2, 1e-3)
    assert update.scalars["epsilon"] == pytest.approx(expected)
    assert state["history"] == [[1.0, 0.25, 2]]
    update, state = LEARNER.update(bench.problem, bench.params, state, replace(bench.round, index=2))
    assert state["history"] == [[1.0, 0.25, 4]]
    assert update.scalars["epsilon"] == pytest.approx(RDP().epsilon(1.0, 5 / 20, 4, 1e-3))
    assert update.scalars["last"] == 0.0


def test_epochs_are_counted_in_steps_of_the_expected_size(bench):
    update, state = learned(bench, rc.DPSGD(epochs=2, **{**SETTINGS, "batch_size": 8}))
    assert update.scalars["steps"] == math.ceil(2 * 20 / 8) == state["history"][0][2]


def test_it_stops_before_the_budget_is_exceeded(bench):
    """Budget for three rounds, not for four: the third says that it was the last, a fourth is refused."""
    three, four = (RDP().epsilon(1.0, 5 / 20, 2 * rounds, 1e-3) for rounds in (3, 4))
    learner = replace(LEARNER, budget=PrivacyBudget((three + four) / 2, 1e-3))
    state, last = learner.init(bench.params), []
    for index in (1, 2, 3):
        update, state = learner.update(bench.problem, bench.params, state, replace(bench.round, index=index))
        last.append(update.scalars["last"])
    assert last == [0.0, 0.0, 1.0]
    with pytest.raises(rc.BudgetError, match=r"agent 'a': round 4 would spend epsilon=.*takes no part any more"):
        learner.update(bench.problem, bench.params, state, replace(bench.round, index=4))


def test_it_sends_nothing_else_of_the_data(bench):
    """No loss, and a count that the sample does not change."""
    update, _ = learned(bench)
    assert set(update.vectors) == {"delta"}
    assert set(update.scalars) == set(LEARNER.sends)
    assert update.scalars["counted"] == 2 * 5
    assert update.weight == 20


def test_nan_among_the_data_is_not_told(bench):
    poisoned = bench.poison()
    update, _ = LEARNER.update(poisoned, bench.params, LEARNER.init(bench.params), bench.round)
    assert update.vectors["delta"].isfinite().all()


def test_a_private_part_learns_too(private_head):
    before = {name: each.clone() for name, each in private_head.model.private().items()}
    learned(private_head)
    after = private_head.model.private()
    assert all(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 61}, "DPSGD.batch_size=61: must be <= the agent's 60 training examples"),
        ({"budget": PrivacyBudget(delta=1 / 60)}, r"PrivacyBudget.delta=0.01666.*: must be < 1/n of 60 training"),
        ({"budget": PrivacyBudget(0.1, 1e-3)}, r"DPSGD.budget=PrivacyBudget\(epsilon=0.1, .*one round of 2 steps"),
        ({"noise_key": "/nowhere/key"}, r"DPSGD.noise_key='/nowhere/key': cannot be read"),
    ],
)
def test_what_is_refused_before_the_first_round(change, words):
    with pytest.raises(rc.ConfigError, match=words):
        replace(LEARNER, **change).check(60)
    LEARNER.check(60)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"noise": 0.0}, "DPSGD.noise=0.0: must be > 0"),
        ({"max_grad_norm": math.inf}, "DPSGD.max_grad_norm=inf: must be > 0 and finite"),
        ({"lr": -1.0}, "DPSGD.lr=-1.0: must be > 0"),
        ({"momentum": 1.0}, r"DPSGD.momentum=1.0: must be in \[0, 1\)"),
        ({"steps": 0}, "DPSGD.steps=0: must be >= 1, or null"),
        ({"budget": 2.0}, "DPSGD.budget=2.0: must be a PrivacyBudget"),
        ({"accountant": "rdp"}, "DPSGD.accountant='rdp': must be a Accountant"),
    ],
)
def test_settings_that_are_refused(change, words):
    with pytest.raises(rc.ConfigError, match=words):
        replace(LEARNER, **change)


@pytest.mark.parametrize("wrap", [rc.StartLoss, rc.Fisher])
def test_nothing_may_look_at_the_data_beside_it(wrap):
    with pytest.raises(rc.ConfigError, match=f"{wrap.__name__}.learner=.*DPSGD counts all that is told of the data"):
        wrap(LEARNER).check(60)


def test_it_can_be_stopped(bench):
    problem = replace(bench.problem, stop=lambda: True)
    with pytest.raises(rc.errors.RoundStopped, match=r"agent 'a': told to stop in round 1 after 0 steps"):
        LEARNER.update(problem, bench.params, LEARNER.init(bench.params), Round(1, 7, 0, {"params": bench.params}))
