"""Rules by group of parameters in whole runs: agents with one modality or both."""

from dataclasses import replace

import pytest
import torch

import raycollab as rc

from .support import ONE_STEP, Training, digits, train
from .test_parts_of_a_model import Only, moved, parties

NAMES = ("a", "b", "a", "b", "ab", "a")


def test_a_rule_over_whole_vectors_merges_each_encoder_of_those_who_have_it():
    """Alone, the median refuses agents with parts. By hand from each agent trained alone: one step from one start."""
    rules = {"enc_a.*": rc.Median(), "enc_b.*": rc.Median(), "*": rc.Mean("uniform")}
    together = Training(replace(parties(NAMES), chain=(rc.PerGroup(rules),)))
    start = together.params
    together.finish()
    alone = [
        train(parties(NAMES, run={"agents_per_round": 1}, select=Only((f"agent-{i}",)))) for i in range(len(NAMES))
    ]
    for prefix, merge in (("enc_a", _median), ("enc_b", _median), ("head", lambda rows: rows.mean(0))):
        holders = [done for done, held in zip(alone, NAMES, strict=True) if prefix[-1] in held or prefix == "head"]
        rows = torch.stack([moved(done, start, prefix) for done in holders])
        torch.testing.assert_close(moved(together, start, prefix), merge(rows), rtol=1e-4, atol=1e-6)
    assert torch.equal(moved(together, start, "enc_c"), torch.zeros(32 * 6 + 6))


def _median(rows):
    ordered = rows.sort(0).values
    return (ordered[(len(rows) - 1) // 2] + ordered[len(rows) // 2]) / 2


def test_a_parameter_without_a_rule_is_named_before_the_run_starts():
    with pytest.raises(rc.ModelError, match=r"no pattern of '1\.\*' matches '3\.weight'"):
        Training(digits(ONE_STEP, rc.PerGroup({"1.*": rc.Mean()})))
