"""Laws of single rules: which a rule declares it holds, and those it does not are shown to fail."""

import pickle
from dataclasses import FrozenInstanceError, fields, replace

import pytest
import torch

import raycollab as rc
from raycollab.aggregation import add_up
from raycollab.aggregation.partial import NamedSums
from raycollab.runtime.wire import pack, unpack
from raycollab.spec import Entry, ParamSpec
from raycollab.tree import map_leaves, seal, unseal
from raycollab.types import AgentReport
from raycollab.validation import weighed

from .rows import AGGREGATORS, LEARNERS, TRANSFORMS, instances, settings_of, short
from .support import Training, digits

D = 50
ROUND = rc.Round(
    1, 0, 0, {"params": torch.zeros(D)}, {"participation": 1.0}, agents=tuple(f"agent-{i}" for i in range(9))
)
ENTRIES = (Entry("1.weight", (4, 5), "float32", 0), Entry("3.weight", (D - 20,), "float32", 20))
BOUND = [rule.bind(ParamSpec(ENTRIES, ())) for rule in instances(AGGREGATORS)]
each_aggregator = pytest.mark.parametrize("rule", BOUND, ids=short)
each_transform = pytest.mark.parametrize("rule", instances(TRANSFORMS), ids=short)
each_learner = pytest.mark.parametrize("rule", instances(LEARNERS), ids=short)
each_rule = pytest.mark.parametrize(
    "rule", [*instances(AGGREGATORS), *instances(TRANSFORMS), *instances(LEARNERS)], ids=short
)


def updates(count=9, *, same=False):
    """Updates with weights 1, 2, 3, ... and what rules need beside the delta."""
    generator = torch.Generator().manual_seed(0)
    deltas, fishers = torch.randn(count, D, generator=generator), torch.rand(count, D, generator=generator)
    rows = [0 if same else i for i in range(count)]
    scalars = {"effective_steps": 2.0, "start_loss": 2.0, "alpha": 0.5, "counted": 3.0, "cluster": 0.0}
    return [
        rc.Update(f"agent-{i}", float(i + 1), {"delta": deltas[row].clone(), "fisher": fishers[row].clone()}, scalars)
        for i, row in enumerate(rows)
    ]


def partials(rule, some):
    told = {**ROUND.scalars, **rule.tells(rule.init(torch.zeros(D)))}
    return [rule.collect(update, replace(ROUND, scalars=told)) for update in some]


def merged(rule, some):
    """What a rule makes of updates, [d]."""
    params = torch.zeros(D)
    update, _ = rule.update(add_up(partials(rule, some)), rule.init(params), params, seed=0)
    return update.vectors["delta"]


@each_aggregator
def test_laws_are_known(rule):
    assert rule.laws <= {"weights", "failure", "identity", "robustness"}


@each_aggregator
def test_weights(rule):
    """Agents that send the same, wherever they stand, are one of them with their weight; or it is not declared."""
    first, *others = updates()
    first = replace(first, agent="agent-1")  # of weight 1 also where weights are given by name
    named = getattr(rule, "by_agent", None)  # there nobody else has weight

    def as_heavy(copies):
        more = [first if named else replace(first, agent=f"copy-{i}") for i in range(copies - 1)]
        several = merged(rule, [first, *others, *more])
        heavier = merged(rule, [replace(first, weight=copies * first.weight), *others])
        return torch.allclose(several, heavier, rtol=1e-5, atol=1e-6)

    assert (as_heavy(2) and as_heavy(5)) == ("weights" in rule.laws)


@pytest.mark.parametrize(
    "rule", [rule for rule in BOUND if rule.weighs and issubclass(rule.partial, NamedSums)], ids=short
)
def test_agents_report_the_weights_that_are_summed(rule):
    """Whatever they ask for: what stands in agents.parquet has the proportions of what the rule divides by."""
    params, given = torch.zeros(D), partials(rule, updates())
    aggregate, _ = rule.update(add_up(given), rule.init(params), params, seed=0)
    asked = [AgentReport(update.agent, weight=rule.weighed(update).weight) for update in updates()]
    reported = torch.tensor([row.weight for row in weighed(asked, aggregate)])
    summed = torch.tensor([float(partial.weight) for partial in given])
    torch.testing.assert_close(reported / reported.sum(), summed / summed.sum())


@each_aggregator
def test_identity(rule):
    """Equal updates aggregate to themselves, whatever they weigh."""
    some = updates(same=True)
    holds = torch.allclose(merged(rule, some), some[0].vectors["delta"], rtol=1e-5, atol=1e-6)
    assert holds == ("identity" in rule.laws)


@each_aggregator
def test_robustness(rule):
    """Two bad agents of nine, with the largest weights, cannot leave the range of the honest ones in any element.

    The honest range lies away from zero, so that making everything small does not pass for robust.
    """
    some = [update.with_vectors(delta=update.vectors["delta"] + 5) for update in updates()]
    for bad, value in ((7, 1e6), (8, -2e6)):
        some[bad] = some[bad].with_vectors(delta=torch.full((D,), value))
    honest = torch.stack([update.vectors["delta"] for update in some[:7]])
    found = merged(rule, some)
    holds = bool(((found >= honest.min(0).values) & (found <= honest.max(0).values)).all())
    assert holds == ("robustness" in rule.laws)


@each_aggregator
def test_failure(rule):
    """Three of nine equal agents fail: the step is as long as ever, or it is not declared, as of a sum."""
    some = updates(same=True)
    holds = torch.allclose(merged(rule, some[:6]), merged(rule, some), rtol=1e-5, atol=1e-6)
    assert holds == ("failure" in rule.laws)


def nearly_silent(rule):
    """The rule with noise too small to be seen: it is other noise for a sum that differs in its last bit."""
    return replace(rule, noise=1e-9) if getattr(rule, "noise", 0.0) else rule


@each_aggregator
def test_partials_add_up_in_any_grouping_and_change_nothing(rule):
    rule = nearly_silent(rule)
    one = merged(rule, updates())
    params = torch.zeros(D)
    given = partials(rule, updates())
    before = [repr(flat(partial)) for partial in given]
    left, middle, right = add_up(given[:2]), add_up(given[2:5]), add_up(given[5:])
    total = left + (middle + right)
    assert total.count == 9
    assert [repr(flat(partial)) for partial in given] == before
    found, _ = rule.update(total, rule.init(params), params, seed=0)
    torch.testing.assert_close(found.vectors["delta"], one, rtol=1e-5, atol=1e-6)


@each_aggregator
def test_partials_cross_the_wire(rule):
    given = partials(rule, updates())
    crossed = [unpack(pack(partial)) for partial in given]
    assert repr(flat(add_up(given))) == repr(flat(add_up(crossed)))


@each_aggregator
def test_the_fewest_updates_aggregate_to_something_of_their_shape(rule):
    """One for most rules; all of the agent that the table of weights by name gives 1."""
    found = merged(rule, [replace(update, agent="agent-1") for update in updates(rule.min_updates)])
    assert found.shape == (D,)
    assert torch.isfinite(found).all()


def flat(tree):
    """A tree with the bytes of tensors."""
    return map_leaves(lambda leaf: leaf.numpy().tobytes() if isinstance(leaf, torch.Tensor) else leaf, tree)


@each_aggregator
def test_aggregators_change_no_argument(rule):
    params = torch.randn(D)
    total, state = add_up(partials(rule, updates())), rule.init(params)
    before = repr(flat([total, state, params]))
    _, after = rule.update(total, state, params, seed=0)
    assert repr(flat([total, state, params])) == before
    assert_keeps(after)


@each_transform
def test_transforms_change_no_argument_and_follow_their_seed(rule):
    params, delta = torch.randn(D), torch.randn(D)
    state = rule.init(params)
    for _ in range(3):
        before = repr(flat([delta, state, params]))
        found, after = rule.update(delta, state, params, seed=0)
        again, _ = rule.update(delta, state, params, seed=0)
        assert repr(flat([delta, state, params])) == before
        assert torch.equal(found, again)
        assert found.shape == delta.shape
        assert_keeps(after)
        state = after


@each_learner
def test_learners_change_no_argument(rule):
    """Of rounds 1 and 2, so that a learner with memory has one to spoil."""
    training = Training(digits(rule, num_agents=1, **settings_of(rule)))
    live = training.pool._hosts[0]._agents["agent-0"]
    problem = rc.Problem("agent-0", live._task, live.model, live._shard, lambda: False)
    vectors = training.driver.vectors
    state = rule.init(vectors["params"])
    for index in (1, 2):
        round = rc.Round(index, 0, index - 1, vectors, {"participation": 1.0})
        before = repr(flat([vectors, state]))
        update, after = rule.update(problem, vectors["params"], state, round)
        assert repr(flat([vectors, state])) == before
        assert set(update.vectors) <= {"delta", "buffers", *rule.sends}
        assert_keeps(after)
        state = after


def assert_keeps(state):
    """A state survives a checkpoint bit for bit."""
    tensors, text = seal(state, "x")
    assert repr(flat(unseal(tensors, text, "x"))) == repr(flat(state))


@each_rule
def test_rules_are_values(rule):
    """Frozen, equal to their copies, printed as what makes them again, and of fields that replace can change."""
    assert pickle.loads(pickle.dumps(rule)) == rule
    assert replace(rule) == rule
    assert repr(rule).startswith(f"{type(rule).__name__}(")
    name = (*(f.name for f in fields(rule)), "anything")[0]
    with pytest.raises(FrozenInstanceError):
        setattr(rule, name, 1)
