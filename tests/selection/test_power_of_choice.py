from math import nan

import pytest

from raycollab.errors import ConfigError
from raycollab.selection import ByWeight, Candidate, PowerOfChoice

NAMES = "abcdefgh"
CANDIDATES = [Candidate(name, 1 + i, loss=float(i % 5)) for i, name in enumerate(NAMES)]


def select(d, count, candidates=CANDIDATES, round=1, seed=0):
    return PowerOfChoice(d).select(candidates, count, round=round, seed=seed)


def test_all_are_candidates_by_hand():
    """Losses 0 1 2 3 4 0 1 2: with everybody drawn it is greedy; of the two at 2 either may come."""
    assert select(8, 2) == ["d", "e"]
    assert {tuple(select(9, 3, round=round)) for round in range(20)} == {("c", "d", "e"), ("d", "e", "h")}


def test_the_highest_of_those_that_are_drawn():
    for round in range(50):
        drawn = ByWeight().select(CANDIDATES, 4, round=round, seed=0)
        losses = {candidate.name: candidate.loss for candidate in CANDIDATES}
        chosen = select(4, 2, round=round)
        assert set(chosen) <= set(drawn)
        assert chosen == sorted(chosen)
        left = [losses[name] for name in drawn if name not in chosen]
        assert min(losses[name] for name in chosen) >= max(left)


def test_who_has_no_loss_yet_goes_first():
    unknown = [Candidate(c.name, c.examples, nan if c.name in "af" else c.loss) for c in CANDIDATES]
    assert select(8, 2, unknown) == ["a", "f"]
    nobody = [Candidate(name, 1) for name in NAMES]
    assert len({tuple(select(8, 2, nobody, round)) for round in range(30)}) > 10  # equal ones in an order drawn anew


def test_depends_on_round_and_seed_alone():
    rounds = [select(4, 2, round=round) for round in range(9)]
    assert rounds == [select(4, 2, round=round) for round in range(9)]
    assert rounds != [select(4, 2, round=round, seed=1) for round in range(9)]


def test_refuses():
    with pytest.raises(ConfigError, match=r"PowerOfChoice.candidates=0: must be >= 1"):
        PowerOfChoice(0)
    with pytest.raises(
        ConfigError, match=r"PowerOfChoice.candidates=2: a round takes 3 agents; draw at least that many"
    ):
        select(2, 3)
