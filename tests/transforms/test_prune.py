"""Pruning: the schedule, what is kept, and that what is pruned stays so."""

import pickle
from itertools import pairwise

import pytest
import torch

import raycollab as rc
from raycollab.errors import ConfigError, ModelError
from raycollab.spec import Entry, ParamSpec
from raycollab.transforms import Prune

ENTRIES = (
    Entry("a.weight", (2, 3), "float32", 0),
    Entry("a.bias", (2,), "float32", 6),
    Entry("b.weight", (4, 1), "float32", 8),
)
SPEC = ParamSpec(ENTRIES, ())


def rounds(rule, params, deltas):
    """The parameters after each of these deltas, and the last state."""
    state, seen = rule.init(params), []
    for delta in deltas:
        change, state = rule.update(delta, state, params, seed=0)
        params = params + change
        seen.append(params)
    return seen, state


def test_the_schedule_by_hand():
    """From round 2 to round 6 down to a fifth: 1 - t is 1, 3/4, 1/2, 1/4, 0, and 0.2 + 0.8 times its cube is kept."""
    rule = Prune(0.2, begin=2, end=6)
    assert [rule.share(n) for n in range(9)] == pytest.approx([1, 1, 1, 0.5375, 0.3, 0.2125, 0.2, 0.2, 0.2])
    assert [Prune(0.2, begin=2, end=6, every=2).share(n) for n in range(7)] == pytest.approx(
        [1, 1, 1, 1, 0.3, 0.3, 0.2]
    )
    assert [Prune(0.2, end=5, every=2).share(n) for n in (4, 5)] == pytest.approx([0.2064, 0.2])


def test_the_largest_of_all_tensors_together_are_kept():
    params = torch.tensor([5.0, -1.0, 3.0, 0.5, -7.0, 2.0, 0.1, 0.1, 4.0, -6.0, 0.2, 1.5])
    seen, state = rounds(Prune(0.5, end=1).bind(SPEC), params, [torch.zeros(12)])
    assert seen[0].tolist() == [5.0, 0, 3.0, 0, -7.0, 0, *params[6:8].tolist(), 4.0, -6.0, 0, 0]
    assert state["kept"].tolist() == [True, False, True, False, True, False, True, True, True, True, False, False]


def test_sizes_are_those_after_the_step():
    seen, _ = rounds(Prune(0.5, end=1), torch.tensor([3.0, 1.0]), [torch.tensor([-2.5, 1.0])])
    assert seen[0].tolist() == [0.0, 2.0]


def test_what_is_pruned_stays_zero_whatever_arrives():
    generator = torch.Generator().manual_seed(0)
    deltas = [10 * torch.randn(12, generator=generator) for _ in range(8)]
    seen, state = rounds(Prune(0.3, end=4).bind(SPEC), torch.randn(12, generator=generator), deltas)
    zeros = [set((params == 0).nonzero().flatten().tolist()) for params in seen]
    assert all(before <= after for before, after in pairwise(zeros))
    assert [10 - len(each) for each in zeros] == [6, 4, 4, 3, 3, 3, 3, 3]  # of ten, rounded up
    assert not zeros[-1] & {6, 7}
    assert set((~state["kept"]).nonzero().flatten().tolist()) == zeros[-1]


def test_what_is_kept_moves_as_it_would():
    """Bit for bit, also where params + delta - params is not delta."""
    delta = torch.tensor([1e-9, 0.1])
    change, _ = Prune(0.5, end=2, begin=1).update(delta, Prune(0.5, end=2).init(delta), torch.ones(2), seed=0)
    assert torch.equal(change, delta)


def test_the_smallest_budget_leaves_one_element_and_1_leaves_all():
    params = torch.tensor([1.0, 3.0, 2.0])
    assert rounds(Prune(1e-6, end=1), params, [torch.zeros(3)])[0][0].tolist() == [0.0, 3.0, 0.0]
    seen, state = rounds(Prune(1.0, end=1), params, [torch.zeros(3)])
    assert seen[0].tolist() == params.tolist()
    assert Prune(1.0, end=1).tells(state) == {}


def test_what_is_excluded_is_neither_pruned_nor_counted():
    rule = Prune(0.5, end=1, exclude=("a.*",)).bind(SPEC)
    seen, _ = rounds(rule, torch.arange(12.0) + 1, [torch.zeros(12)])
    assert seen[0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 11, 12]


def test_it_tells_of_rounds_that_prune():
    rule, params = Prune(0.5, begin=1, end=2), torch.ones(4)
    state, told = rule.init(params), []
    for _ in range(3):
        _, state = rule.update(torch.zeros(4), state, params, seed=0)
        told.append(dict(rule.tells(state)))
    assert told == [{}, {"kept": 0.5}, {}]


def test_a_bound_rule_is_the_same_value():
    bound = Prune(0.5, end=1, exclude=("a.*",)).bind(SPEC)
    assert bound == Prune(0.5, end=1, exclude=("a.*",))
    assert pickle.loads(pickle.dumps(bound)).prunable == bound.prunable
    assert repr(bound) == "Prune(keep=0.5, end=1, begin=0, exclude=('a.*',), every=1)"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep": 0.0}, r"Prune.keep=0.0: must be in \(0, 1\]: the share that is kept"),
        ({"keep": 1.2}, "Prune.keep=1.2: must be in"),
        ({"begin": -1}, "Prune.begin=-1: must be >= 0"),
        ({"begin": 4}, "Prune.end=4: must be after begin=4"),
        ({"every": 0}, r"Prune.every=0: must be in 1\.\.4, the rounds from begin to end"),
        ({"every": 5}, "Prune.every=5: must be in"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        Prune(**{"keep": 0.5, "end": 4, **settings})


@pytest.mark.parametrize(
    ("exclude", "message"),
    [
        (("c.*",), "Prune.exclude: 'c.\\*' matches no parameter; there are: a.weight, a.bias, b.weight"),
        (("*",), "Prune: no parameter of two dimensions is left to prune"),
    ],
)
def test_refuses_models(exclude, message):
    with pytest.raises(ModelError, match=message):
        Prune(0.5, end=1, exclude=exclude).bind(SPEC)


@pytest.mark.parametrize("steps", [(Prune(0.5, end=1), rc.Mean()), (rc.Mean(), Prune(0.5, end=1), rc.Momentum())])
def test_it_has_the_last_word(steps):
    with pytest.raises(ConfigError, match=r"chain: Prune\(.*\) has the last word on the common model: it belongs at"):
        rc.chain(*steps)


def test_a_run_ends_at_its_budget_and_says_so(tmp_path):
    """Few zeros cross to the agents; the card, result.json and the notes tell what is left."""
    task = rc.ImageClassification(rc.models.MLP(64, 10, (64,)), 10)
    shards = rc.data.Digits("train").split(rc.IID(num_parts=3))
    agents = [rc.Agent(f"agent-{i}", shard, rc.SGD(lr=0.2, epochs=3)) for i, shard in enumerate(shards)]
    settings = {"test": rc.data.Digits("test"), "task": task, "scaling": rc.ScalingConfig(pool="local")}

    def fitted(*steps):
        run = rc.RunConfig(num_rounds=10, dir=str(tmp_path))
        return rc.fit(agents, rc.chain(rc.Mean(), *steps), run=run, broadcast=rc.Sparse(), **settings)

    result, dense = fitted(Prune(0.1, begin=2, end=8)), fitted()
    weights = {name: p for name, p in result.model().module.named_parameters() if p.ndim == 2}
    assert sum(int(p.count_nonzero()) for p in weights.values()) == 474  # a tenth of 4,736, rounded up
    assert result.history[-1]["bytes_down"] < 0.25 * dense.history[-1]["bytes_down"]
    assert result.metrics["accuracy"] > dense.metrics["accuracy"] - 0.05
    left = sum(int(p.count_nonzero()) for p in result.model().module.parameters())
    card = (tmp_path / result.path.rpartition("/")[2] / "model" / "README.md").read_text()
    assert f"4,810 parameters, {left} of them not 0, were exchanged" in card
    assert f'"nonzero": {left}' in (tmp_path / result.path.rpartition("/")[2] / "result.json").read_text()
