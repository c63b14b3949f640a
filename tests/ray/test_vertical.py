"""Parties of a vertical run in actors of their own: the same bits as in one process, and no wait without an end."""

import os
import time
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

import raycollab as rc
from raycollab.errors import DataError, QuorumError, UpdateError
from raycollab.models import Model

from ..vertical.support import WIDTHS, fit, parties, weights

pytestmark = pytest.mark.ray
RAY = rc.ScalingConfig(cpus_per_host=0.0)


@dataclass(frozen=True)
class Moody(Model):
    """A linear net that misbehaves once it has seen so many training batches, unless a file is there by then.

    Its mood: "die" ends the process, "hang" sleeps.
    """

    mood: str
    after: int
    mark: str = ""

    def build(self):
        return _Moody(self)


class _Moody(nn.Module):
    def __init__(self, settings):
        super().__init__()
        self.settings, self.seen = settings, 0
        self.linear = nn.Linear(3, 4)

    def forward(self, rows):
        if self.training:
            self.seen += 1
            if self.seen > self.settings.after and not os.path.exists(self.settings.mark):
                if self.settings.mood == "die":
                    os._exit(1)
                time.sleep(60)
        return self.linear(rows)


def test_the_same_bits_as_in_one_process(ray_cluster, tmp_path):
    members = parties(tmp_path, dropout=0.5)
    here, there = fit(tmp_path, members, name="here"), fit(tmp_path, members, name="there", scaling=RAY)
    assert here.metrics == there.metrics
    assert [row["train_loss"] for row in here.history] == [row["train_loss"] for row in there.history]
    one, other = weights(here), weights(there)
    assert set(one) == set(other)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_two_parties(ray_cluster, tmp_path):
    """A single one that sends: Ray hands over one gradient, not a list of them."""
    members = parties(tmp_path)[1:]
    assert fit(tmp_path, members, name="a", scaling=RAY).metrics == fit(tmp_path, members, name="b").metrics


def test_a_party_that_dies_ends_the_run_and_a_resume_changes_no_bit(ray_cluster, tmp_path):
    """It dies in round 3 of 5 batches each; then, with the mark set, the run goes on to the end."""
    mark = tmp_path / "mark"
    members = parties(tmp_path, north={"net": Moody("die", 12, str(mark))})
    with pytest.raises(QuorumError, match="party 'north' died, and a vertical run needs every party") as caught:
        fit(tmp_path, members, num_rounds=4, name="cut", scaling=RAY)
    assert "continue with rc.vertical.fit(..., resume=" in caught.value.__notes__[0]
    mark.touch()
    resumed = fit(tmp_path, members, num_rounds=4, name="cut", scaling=RAY, resume=str(tmp_path / "cut"))
    whole = fit(tmp_path, members, num_rounds=4, name="whole")
    assert resumed.metrics == whole.metrics
    assert [row["round"] for row in resumed.history] == [1, 2, 3, 4]


def test_a_party_that_hangs_is_named_in_time(ray_cluster, tmp_path):
    members = parties(tmp_path, north={"net": Moody("hang", 2)})
    start = time.monotonic()
    with pytest.raises(QuorumError, match="party 'north' did not answer within round_timeout_s=3 s"):
        fit(tmp_path, members, scaling=RAY, failure=rc.FailureConfig(round_timeout_s=3.0))
    assert time.monotonic() - start < 45


def test_what_a_party_refuses_is_its_own_error(ray_cluster, tmp_path):
    members = parties(tmp_path)
    members[0] = replace(members[0], inputs="income")
    with pytest.raises(DataError, match=r"party 'north': .*: the task needs column 'income'"):
        fit(tmp_path, members, scaling=RAY)
    assert set(WIDTHS) == {party.name for party in members}


def test_what_goes_wrong_in_training_comes_as_it_was_raised(ray_cluster, tmp_path):
    """By way of others that waited for it, in steps that were asked for ahead."""
    wild = parties(tmp_path, north={"optimizer": "SGD", "args": {"lr": 1e20}})
    with pytest.raises(UpdateError, match=r"party '\w+': what party 'north' sent holds NaN or infinity"):
        fit(tmp_path, wild, scaling=RAY)
