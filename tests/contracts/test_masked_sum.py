"""Toy: secure aggregation by pairwise masks. Hosts send integers that look random; their sum is exact.

Source: Bonawitz et al., CCS 2017, without the recovery of agents that drop out, which such a round refuses.
"""

from dataclasses import dataclass

import pytest
import torch

import raycollab as rc
from raycollab.aggregation import Partial
from raycollab.rng import derive_seed
from raycollab.runtime.host import Host

from .support import ONE_STEP, Training, digits

SCALE = 2**16
MODULUS = 2**32


def fixed_point(vector, weight):
    """Whole units of 2^-16, of weight times vector."""
    return (vector.double() * weight * SCALE).round().to(torch.int64)


@dataclass
class MaskedSum(Partial):
    """A sum of whole numbers modulo 2^32, one more than the weight's sum in its last element."""

    count: int
    total: torch.Tensor  # int64 [d + 1], in 0 .. 2^32 - 1
    agents: tuple[str, ...] = ()

    @classmethod
    def of(cls, update):
        whole = torch.cat([fixed_point(update.vectors["delta"], update.weight), torch.tensor([int(update.weight)])])
        return cls(1, whole % MODULUS)

    def __add__(self, other):
        return MaskedSum(self.count + other.count, (self.total + other.total) % MODULUS, self.agents or other.agents)


@dataclass(frozen=True)
class SecureMean(rc.Aggregator):
    """Mean of which the driver sees only the total. `key` stands for what pairs of agents agree on."""

    key: int = 0
    masked: bool = True
    partial = MaskedSum
    laws = frozenset({"weights", "identity"})

    def collect(self, update, round):
        partial = MaskedSum.of(update)
        for other in round.agents if self.masked else ():
            if other != update.agent:
                pair = sorted((update.agent, other))
                seed = derive_seed(self.key, round.index, *pair)
                mask = torch.randint(MODULUS, partial.total.shape, generator=torch.Generator().manual_seed(seed))
                partial.total = (partial.total + (mask if update.agent == pair[0] else -mask)) % MODULUS
        partial.agents = round.agents
        return partial

    def update(self, total, state, params, *, seed):
        if total.count != len(total.agents):
            raise rc.UpdateError(f"{total.count} of {len(total.agents)} agents answered: the masks do not cancel")
        signed = torch.where(total.total >= MODULUS // 2, total.total - MODULUS, total.total)
        return rc.Update("", float(signed[-1]), {"delta": (signed[:-1].double() / SCALE / signed[-1]).float()}), state


@pytest.mark.parametrize("num_hosts", [1, 4])
def test_masks_cancel_to_the_bit(num_hosts):
    """Equal to the plain sum of whole numbers, and the mean to the precision of 2^-16 per agent."""
    plain = Training(digits(ONE_STEP, SecureMean(masked=False), rounds=2)).finish()
    masked = Training(digits(ONE_STEP, SecureMean(), rounds=2), num_hosts=num_hosts).finish()
    assert torch.equal(plain.params, masked.params)
    mean = Training(digits(ONE_STEP, rounds=2)).finish()
    torch.testing.assert_close(masked.params, mean.params, rtol=0, atol=1e-5)


def small_share(rule, monkeypatch):
    """Share of what leaves eight hosts of an agent each that is a small number, by its four highest bits."""
    sent = []
    run = Host.run
    monkeypatch.setattr(Host, "run", lambda *arguments: sent.append(run(*arguments)) or sent[-1])
    Training(digits(ONE_STEP, rule, rounds=1), num_hosts=8).finish()
    monkeypatch.undo()
    top = torch.stack([node.partial.total for result in sent for node in result.nodes]) // 2**28
    return float(((top == 0) | (top == 15)).float().mean())


def test_what_leaves_an_agent_looks_random(monkeypatch):
    """The known-bad input is the sum without masks, in which small numbers show; of random ones two in 16 are small."""
    assert small_share(SecureMean(masked=False), monkeypatch) > 0.99
    assert abs(small_share(SecureMean(), monkeypatch) - 2 / 16) < 0.02


def test_a_round_with_a_dropout_is_refused_not_wrong():
    @dataclass(frozen=True)
    class Broken(rc.SGD):
        def update(self, problem, params, state, round):
            raise RuntimeError("broken")

    experiment = digits([ONE_STEP] * 7 + [Broken()], SecureMean(), rounds=1)
    with pytest.raises(rc.UpdateError, match="7 of 8 agents"):
        Training(experiment).finish()
