"""Toys: agents that exchange only a part of a model, or hold only a part of the common one."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

import raycollab as rc
from raycollab.checkpoint import load_state

from .rows import short
from .support import DIGITS, ONE_STEP, TEST, Training, digits, experiment, train

HEAD = rc.Exchange(exclude=("3.*",))  # the last layer of the MLP


def test_private_heads_differ_between_agents_survive_and_never_leave():
    """FedPer: two agents share a host's module, so a leak of one head into the other would show."""
    start = Training(digits(ONE_STEP, exchange=HEAD, rounds=3))
    first = {name: value.clone() for name, value in start.models()[0].private().items()}
    done = start.finish()
    heads = [done.remembered(f"agent-{i}")["private"]["3.weight"] for i in range(8)]
    assert all(not torch.equal(head, first["3.weight"]) for head in heads)
    assert all(not torch.equal(one, other) for i, one in enumerate(heads) for other in heads[:i])
    size = sum(value.numel() for name, value in DIGITS.model().state_dict().items() if not name.startswith("3."))
    assert done.params.numel() == size
    assert not [name for name in done.driver.offer.spec.params if name.name.startswith("3.")]
    torch.testing.assert_close(done.driver.module()[3].weight, first["3.weight"])  # the driver's own never moved


def test_checkpoints_hold_private_parts_only_on_the_agents_side():
    done = train(digits(ONE_STEP, exchange=HEAD))
    _, state = done.folder.latest_checkpoint()
    head = done.remembered("agent-3")["private"]["3.weight"]
    lengths = {vector.numel() for vectors in state["vectors"].values() for vector in vectors.values()}
    assert lengths == {done.params.numel(), 0}
    stored = load_state(done.folder.agents_of(2), "agent-3")
    assert torch.equal(stored["state"]["private"]["3.weight"], head)


def test_an_agent_that_lost_its_head_starts_from_the_first_one_and_says_so():
    done = Training(digits(ONE_STEP, exchange=HEAD, rounds=3)).steps(2)
    host = done.pool._hosts[0]
    host._agents["agent-3"].memory.states.clear()  # its node was lost
    report = done.steps(1).reports[-1]
    assert {row.agent for row in report.agents if row.fresh} == {"agent-3"}


class Modalities(nn.Module):
    """One encoder per modality and one head over whichever is there."""

    def __init__(self, names):
        super().__init__()
        for name in names:
            setattr(self, f"enc_{name}", nn.Linear(32, 6))
        self.head = nn.Linear(6, 10)

    def forward(self, x):
        halves = {"a": x[..., :4], "b": x[..., 4:]}  # the left and the right half of a digit
        parts = [getattr(self, f"enc_{name}")(halves[name].flatten(1)) for name in "ab" if hasattr(self, f"enc_{name}")]
        return self.head(torch.relu(sum(parts)))


def modalities(names):
    return replace(DIGITS, net=rc.models.Module(Modalities, {"names": names}))


def parties(names, learner=ONE_STEP, **settings):
    """One agent for each of these sets of encoders; the driver's model has encoders a, b and c."""
    shards = rc.data.Digits("train").split(rc.Dirichlet(0.5, num_parts=len(names)))
    agents = [rc.Agent(f"agent-{i}", shards[i], learner, modalities(held)) for i, held in enumerate(names)]
    return experiment(agents, task=modalities("abc"), test=TEST, **{"rounds": 1, **settings})


def moved(done, start, prefix):
    places = [e for e in done.driver.offer.spec.params if e.name.startswith(prefix)]
    return torch.cat([(done.params - start)[e.offset : e.stop] for e in places])


def test_each_element_is_divided_by_the_weight_that_arrived_for_it():
    """Two agents have encoder a, one has b, nobody has c; all share the head. By hand from each agent trained alone."""
    names = ("a", "b", "a")
    together = Training(parties(names))
    start = together.params
    together.finish()
    weights = torch.tensor([card.examples for card in together.cards], dtype=torch.float32)
    alone = []
    for i in range(3):
        one = parties(names, run={"agents_per_round": 1}, select=Only((f"agent-{i}",)))
        alone.append(train(one))
    pieces = {prefix: [moved(done, start, prefix) for done in alone] for prefix in ("enc_a", "enc_b", "enc_c", "head")}
    a = (weights[0] * pieces["enc_a"][0] + weights[2] * pieces["enc_a"][2]) / (weights[0] + weights[2])
    head = sum(w * piece for w, piece in zip(weights, pieces["head"], strict=True)) / weights.sum()
    close = {"rtol": 1e-4, "atol": 1e-6}
    torch.testing.assert_close(moved(together, start, "enc_a"), a, **close)
    torch.testing.assert_close(moved(together, start, "enc_b"), pieces["enc_b"][1], **close)
    torch.testing.assert_close(moved(together, start, "head"), head, **close)
    assert torch.equal(moved(together, start, "enc_c"), torch.zeros(32 * 6 + 6))
    assert not torch.equal(moved(alone[0], start, "head"), torch.zeros(70))


@dataclass(frozen=True)
class Only(rc.Selection):
    """Always these agents."""

    names: tuple[str, ...]

    def select(self, candidates, count, *, round, seed):
        return list(self.names)


def test_partials_carry_only_what_was_touched():
    done = train(parties(("a", "b"), run={"agents_per_round": 1}, select=Only(("agent-0",))))
    held = 32 * 6 + 6 + 6 * 10 + 10
    assert done.reports[0].bytes_up == 4 * held
    assert done.params.numel() == held + 2 * (32 * 6 + 6)


def test_a_pattern_may_find_nothing_in_an_agents_part_of_the_model():
    """Only the driver's model must have it: agent b has no enc_a that could stay private."""
    done = train(parties(("a", "b"), exchange=rc.Exchange(exclude=("enc_a.bias",)), rounds=2))
    assert [len(report.agents) for report in done.reports] == [2, 2]
    assert set(done.remembered("agent-0")["private"]) == {"enc_a.bias"}
    assert done.remembered("agent-1") is None


@pytest.mark.parametrize(
    "rule", [rc.Median(), rc.FedAsync(), rc.Bucketing(rc.Median()), rc.Dare(0.5, rc.Median())], ids=short
)
def test_a_rule_over_whole_vectors_refuses_parts_before_the_first_round(rule):
    with pytest.raises(rc.DataError, match=r"2 of 3 agents could not start:\n  agent-0: .*exchanges only a part"):
        Training(replace(parties(("a", "abc", "b")), chain=(rule,)))


def test_a_rule_over_whole_vectors_takes_groups_that_are_held_as_a_whole():
    """Each agent has all or nothing of every encoder; a and b together are no such group."""
    groups = {f"enc_{name}.*": rc.Median() for name in "abc"}
    done = train(replace(parties(("a", "abc", "b")), chain=(rc.PerGroup({**groups, "*": rc.Median()}),)))
    assert len(done.reports[0].agents) == 3
    with pytest.raises(
        rc.DataError, match=r"2 of 3 agents could not start:\n  agent-0: .* Median merges whole vectors"
    ):
        Training(replace(parties(("a", "abc", "b")), chain=(rc.PerGroup({"enc_*": rc.Median(), "*": rc.Mean()}),)))


class LowRank(nn.Module):
    """LoRA: a frozen layer plus b a, of rank 2, with b = 0 in the beginning. Hu et al., arXiv 2106.09685."""

    def __init__(self):
        super().__init__()
        self.base = nn.Linear(64, 10).requires_grad_(False)
        self.a = nn.Parameter(torch.randn(2, 64) / 8)
        self.b = nn.Parameter(torch.zeros(10, 2))

    def forward(self, x):
        flat = x.flatten(1)
        return self.base(flat) + flat @ self.a.T @ self.b.T


def test_only_adapters_travel_and_the_base_is_the_same_everywhere():
    task = replace(DIGITS, net=rc.models.Module(LowRank))
    start = Training(digits(rc.SGD(lr=0.1, momentum=0.9, epochs=3), task=task, rounds=6), num_hosts=4)
    assert start.params.numel() == 2 * 64 + 10 * 2
    base = start.driver.module().base.weight.clone()
    done = start.finish()
    assert all(torch.equal(model.module.base.weight, base) for model in done.models())
    assert torch.equal(done.driver.module().base.weight, base)
    assert done.reports[-1].metrics["accuracy"] > done.reports[0].metrics["accuracy"]
    assert done.reports[-1].metrics["accuracy"] > 0.5
