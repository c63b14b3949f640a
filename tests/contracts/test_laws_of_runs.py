"""Laws of every rule in a run: what must not change a bit, and what must."""

import random
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch

import raycollab as rc
import raycollab.runtime.pool
from raycollab.aggregation import root, total_of
from raycollab.attacks.attack import KINDS
from raycollab.runtime.host import Host
from raycollab.runtime.layout import Layout
from raycollab.runtime.pool import collect
from raycollab.runtime.slices import bring_back, cut_up, each_cut, elsewhere, sum_of_slices
from raycollab.runtime.wire import pack, unpack
from raycollab.tree import map_leaves

from .rows import (
    APART,
    CODECS,
    LEARNERS,
    MODES,
    SELECTIONS,
    TABLES,
    chains,
    exported,
    instances,
    sender,
    settings_of,
    short,
)
from .support import ONE_STEP, Training, digits, train, with_run

CASES = [
    *((sender(ONE_STEP, steps), steps) for steps in chains()),
    *((learner, (rc.Mean(), rc.Momentum(0.9))) for learner in instances(LEARNERS)),
]
SETTINGS = [  # what tests/ray/test_every_rule.py runs in actors
    *({"learners": learner, "chain": chain, **settings_of(learner)} for learner, chain in CASES),
    *({"mode": mode} for mode in instances(MODES)),
    *({"select": select} for select in instances(SELECTIONS)),
    *({"upload": codec, "broadcast": codec} for codec in instances(CODECS)),
    *({"attack": rc.Attack(kind, num_agents=2)} for kind in KINDS),
]
each_case = pytest.mark.parametrize(("learner", "chain"), CASES, ids=short)
ROUNDS = 4


@pytest.mark.parametrize("kind", TABLES, ids=lambda kind: kind.__name__)
def test_every_exported_rule_has_a_row(kind):
    missing = sorted(rule.__name__ for rule in exported(kind) - set(TABLES[kind]) - APART)
    assert not missing, f"add a row for {missing} to tests/contracts/rows.py: the laws run over every exported rule"


@pytest.mark.parametrize("kind", TABLES, ids=lambda kind: kind.__name__)
def test_every_exported_rule_is_run_in_actors_too(kind):
    run = [value for settings in SETTINGS for value in settings.values()]
    steps = {type(step) for value in run for step in (value if isinstance(value, tuple) else (value,))}
    missing = sorted(rule.__name__ for rule in exported(kind) - steps - APART)
    assert not missing, f"add {missing} to SETTINGS"


def tensors_of(value):
    """All tensors of nested dicts, lists and dataclasses."""
    found = []
    map_leaves(lambda leaf: found.append(leaf) if isinstance(leaf, torch.Tensor) else None, value)
    return found


def case(learner, chain, **settings):
    """Five of eight agents in every round or what the rule needs, so that some start from older private states."""
    count = max(5, rc.chain(*chain).aggregator.min_updates)
    run = {"agents_per_round": count, "eval_every": ROUNDS, **settings.pop("run", {})}
    settings = {"rounds": ROUNDS, "run": run, **settings_of(learner), **settings}
    return digits(learner, *chain, **settings)


@pytest.fixture(scope="module")
def undisturbed():
    """A case on one host, never stopped; each case is run once."""
    known = {}

    def of(learner, chain):
        key = repr((learner, chain))
        if key not in known:
            known[key] = train(case(learner, chain))
        return known[key]

    return of


@pytest.fixture(scope="module")
def bits(undisturbed):
    """The bits of a case that was never disturbed."""
    return lambda learner, chain: undisturbed(learner, chain).bits()


@each_case
def test_failures_are_not_the_reason_why_laws_hold(learner, chain, undisturbed):
    """Every agent answers in every round, and the parameters move."""
    done = undisturbed(learner, chain)
    assert not [failure for report in done.reports for failure in report.failures]
    assert not torch.equal(Training(case(learner, chain)).params, done.params)


@each_case
def test_blocks_the_number_of_hosts_changes_nothing(learner, chain, bits):
    assert train(case(learner, chain), num_hosts=8).bits() == bits(learner, chain)


@each_case
def test_blocks_the_order_of_running_and_of_arrival_changes_nothing(learner, chain, bits, monkeypatch):
    """On two hosts."""
    shuffled = random.Random(0).sample
    blocks_of = Layout.blocks_of

    def run_shuffled(self, assignments):
        blocks = blocks_of(self, assignments)
        return shuffled(blocks, len(blocks))

    monkeypatch.setattr(Layout, "blocks_of", run_shuffled)
    monkeypatch.setattr(
        raycollab.runtime.pool, "collect", lambda results, *a, **b: collect(shuffled(results, len(results)), *a, **b)
    )
    assert train(case(learner, chain), num_hosts=2).bits() == bits(learner, chain)


def in_slices(learner, chain):
    return rc.chain(*chain).aggregator.sums and (len(chain) == 1 or learner.sends)


def sliced(cuts, results, blocks, **sizes):
    """`collect` as it is where slices are summed apart: what each host sent is cut in three, and put together again.

    How many vectors were long enough for that is added to `cuts`: in some rounds an agent has nothing to send.
    """
    present, nodes, shares = sorted(block.index for block in blocks), [], []
    for number, result in enumerate(results):
        sent, parts = cut_up(pack(list(result.nodes)), 3)
        each_cut(sent, lambda cut, number=number: setattr(cut, "share", number))
        nodes += unpack(list(sent))
        shares.append(parts)
    total = total_of(nodes, present)
    held = elsewhere(total)
    cuts.append(len(held))
    sums = [[sum_of_slices(terms, [parts[place] for parts in shares]) for terms in held.values()] for place in range(3)]
    bring_back(total, held, sums)
    whole = [replace(result, nodes=() if at else (root(total, present),)) for at, result in enumerate(results)]
    return collect(whole, blocks, **sizes)


@pytest.mark.parametrize(("learner", "chain"), [each for each in CASES if in_slices(*each)], ids=short)
def test_sums_of_slices_change_nothing(learner, chain, bits, monkeypatch):
    """On three hosts: every rule that ScalingConfig.slices is for, and every learner that sends more than a delta."""
    cuts = []
    monkeypatch.setattr(raycollab.runtime.pool, "collect", partial(sliced, cuts))
    assert train(case(learner, chain), num_hosts=3).bits() == bits(learner, chain)
    assert any(cuts)


@each_case
def test_seed(learner, chain, bits):
    assert train(case(learner, chain)).bits() == bits(learner, chain)
    assert train(with_run(case(learner, chain), seed=1)).bits() != bits(learner, chain)


@each_case
def test_restart(learner, chain, bits):
    """Killed on four hosts after round 3, when the newest checkpoint is of round 2; the rest runs on one host."""
    experiment = case(learner, chain, checkpoint=rc.CheckpointConfig(every=2))
    killed = Training(experiment, num_hosts=4).steps(3)
    resumed = Training(experiment, folder=killed.folder)
    assert resumed.driver.version == 2
    resumed.finish()
    assert resumed.bits() == bits(learner, chain)
    assert [row["round"] for row in resumed.folder.rows()] == [1, 2, 3, 4]
    assert not any(row["fresh"] for rows in resumed.folder.rows() for row in rows["agent_rows"])


@each_case
def test_redoing_a_half_done_round_changes_nothing(learner, chain, bits):
    """Some agents had run round 3 already when it was started again: they go back to the state before it."""
    training = Training(case(learner, chain)).steps(2)
    driver = training.driver
    collecting, roster = driver._collecting, driver.roster
    selected, _ = collecting._selected(roster, 3)
    work, _ = driver.plan.mode.assign(selected, driver._mode_state, version=2, seed=driver.plan.run.seed)
    first, again = (
        tensors_of(collecting._run(driver._draft, attempt, work[:4], roster, None).total) for attempt in (0, 1)
    )
    assert first
    masked = rc.chain(*chain).aggregator.hides_updates  # by other masks each time
    assert all(map(torch.equal, first, again)) != masked
    assert training.finish().bits() == bits(learner, chain)


@dataclass(frozen=True)
class FailsAtFirst(rc.SGD):
    """Fails in the first attempt at round 2, after it has learned."""

    def update(self, problem, params, state, round):
        done = super().update(problem, params, state, round)
        if round.index == 2 and round.attempt == 0:
            raise RuntimeError("out of memory")
        return done


def test_a_second_attempt_has_the_bits_of_the_first():
    settings = {"lr": 0.1, "momentum": 0.9, "keep_momentum": True, "steps": 2}
    quorum = rc.FailureConfig(min_agents=5)
    flaky = train(case([FailsAtFirst(**settings), rc.SGD(**settings)], (rc.Mean(),), failure=quorum))
    assert [report.attempts for report in flaky.reports] == [1, 2, 1, 1]
    assert flaky.bits() == train(case(rc.SGD(**settings), (rc.Mean(),))).bits()


@each_case
def test_exchange_what_is_private_never_leaves(learner, chain, monkeypatch):
    """No private tensor's bytes are in anything that crosses to the driver or stands in its checkpoints."""
    if isinstance(learner, rc.FedSGD):
        pytest.skip("it sends a gradient and takes no step, and so refuses private parameters")
    if isinstance(learner, rc.FedBABU):
        pytest.skip("its head stays as all agents have it in the beginning, and is no secret")
    crossed = []
    run = Host.run

    def watched(*arguments):
        result = run(*arguments)
        crossed.extend(tensors_of(result))
        return result

    monkeypatch.setattr(Host, "run", watched)
    done = train(case(learner, chain, exchange=rc.Exchange(exclude=("3.*",)), rounds=2), num_hosts=8)
    crossed += tensors_of(done.driver.state_dict())
    outside = [tensor.numpy().tobytes() for tensor in crossed]
    secrets = [done.remembered(name)["private"] for name in done.driver.roster.memory]
    heads = {head["3.weight"].numpy().tobytes() for head in secrets}
    assert len(heads) == len(secrets) >= 5
    assert not [1 for secret in heads for data in outside if secret in data]


def test_evaluating_changes_nothing():
    """How often the model is scored, on the shared set and by the agents themselves, is only a matter of time."""
    learner, exchange = rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, steps=2), rc.Exchange(exclude=("3.*",))
    often = train(case(learner, (rc.Mean(),), exchange=exchange, run={"eval_every": 1}))
    seldom = train(case(learner, (rc.Mean(),), exchange=exchange, run={"eval_every": 100}))
    assert [bool(report.own_metrics) for report in often.reports] == [True] * 4
    assert [bool(report.own_metrics) for report in seldom.reports] == [False] * 3 + [True]
    assert torch.equal(often.params, seldom.params)
    assert all(
        torch.equal(often.remembered(name)["private"]["3.weight"], seldom.remembered(name)["private"]["3.weight"])
        for name in often.driver.roster.memory
    )


def test_scores_on_own_data_are_those_of_the_private_model():
    """Each agent is scored with its own head: with the common one, the same vectors score differently."""
    exchange = rc.Exchange(exclude=("3.*",))
    done = train(digits(rc.SGD(lr=0.2, epochs=2), exchange=exchange, rounds=3))
    host = done.pool._hosts[0]
    with_own = done.reports[-1].own_metrics["agent-2"]
    without = host.validate(done.driver.vectors, {"agent-2": 0}, 0)["agent-2"].validation.compute()
    assert with_own["loss"] < without["loss"]


@dataclass(frozen=True)
class Centre(rc.Transform):
    """Subtract the mean of all elements: a sum whose last bits depend on the number of threads."""

    def update(self, delta, state, params, *, seed):
        return delta - delta.sum() / delta.numel(), state


@pytest.mark.parametrize("chain", [(rc.Mean(), Centre()), (Centre(), rc.Mean())], ids=["driver", "agent"])
def test_threads_of_the_process_change_nothing(chain):
    """A pool in this process has as many threads as the machine, an actor as many as Ray gives it."""
    task = replace(digits().task, net=rc.models.MLP(64, 10, hidden=(2048,)))
    found = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(train(digits(ONE_STEP, *chain, task=task)).bits())
    torch.set_num_threads(before)
    assert found[0] == found[1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("learner", instances(LEARNERS), ids=short)
def test_restart_on_a_gpu(learner):
    """States are stored on the CPU and go back to where the agent computes, those of transforms on agents too."""
    private = () if isinstance(learner, rc.FedSGD) else ("3.*",)  # it refuses private parameters
    experiment = case(learner, (rc.Momentum(0.5), rc.Mean()), exchange=rc.Exchange(exclude=private))
    never = Training(experiment, device="cuda").finish()
    killed = Training(experiment, device="cuda").steps(2)
    resumed = Training(experiment, device="cuda", folder=killed.folder).finish()
    assert not [failure for report in resumed.reports for failure in report.failures]
    torch.testing.assert_close(resumed.params, never.params, rtol=0, atol=0)
