import pytest
import torch

from raycollab.aggregation import Median, TrimmedMean
from raycollab.errors import ConfigError

from ..contracts.support import ONE_STEP, digits
from .support import delta, merged, randn, updates


@pytest.mark.parametrize(
    ("trim", "expected"),
    [
        (0.0, [22.0, 4.0]),
        (0.19, [22.0, 4.0]),  # int(0.19 * 5) = 0
        (0.2, [10 / 3, 10 / 3]),  # without 1 and 99: (2 + 3 + 5) / 3; without 0 and 10: (1 + 4 + 5) / 3
        (0.4, [3.0, 4.0]),  # one value is left, the median
    ],
)
def test_by_hand(trim, expected):
    rows = [[1.0, 10.0], [2.0, 0.0], [3.0, 1.0], [5.0, 4.0], [99.0, 5.0]]
    torch.testing.assert_close(delta(TrimmedMean(trim), rows), torch.tensor(expected))


@pytest.mark.parametrize("count", [4, 10, 25])
@pytest.mark.parametrize("trim", [0.0, 0.1, 0.3, 0.49])
def test_agrees_with_sorting(count, trim):
    rows, dropped = randn(count, 300), int(trim * count)
    expected = rows.sort(dim=0).values[dropped : count - dropped].mean(0)
    torch.testing.assert_close(delta(TrimmedMean(trim, chunk_bytes=2**12), rows), expected)


def test_a_product_that_rounds_down_drops_as_many_as_it_says():
    """0.29 * 100 is 28.999999999999996: of 29 large and 71 small values the small ones are left."""
    rows = torch.cat([torch.ones(71, 1), torch.full((29, 1), 1e9)])
    assert delta(TrimmedMean(0.29), rows).tolist() == [1.0]


def test_bad_ones_up_to_the_trim_stay_outside_and_one_more_does_not():
    rows = torch.cat([randn(8, 20), torch.full((2, 20), 1e30)])
    assert float(delta(TrimmedMean(0.2), rows).abs().max()) < 3
    assert float(delta(TrimmedMean(0.1), rows).abs().max()) > 1e28


def test_weights_are_ignored_and_all_vectors_merged():
    rows = randn(5, 4)
    claimed, _ = merged(TrimmedMean(0.2), updates(rows, weights=[1.0, 2.0, 3.0, 4.0, 1e9], buffers=rows * 2))
    torch.testing.assert_close(claimed.vectors["delta"], delta(TrimmedMean(0.2), rows))
    torch.testing.assert_close(claimed.vectors["buffers"], 2 * claimed.vectors["delta"])
    assert claimed.weight == 5.0


def test_nearly_half_is_the_median():
    rows = randn(9, 30)
    assert torch.equal(delta(TrimmedMean(0.49), rows), delta(Median(), rows))


@pytest.mark.parametrize("trim", [0.5, 0.7, -0.1, float("nan")])
def test_refuses(trim):
    with pytest.raises(ConfigError, match=rf"TrimmedMean.trim={trim}: must be in \[0, 0.5\); 0 is the plain mean"):
        TrimmedMean(trim)
    with pytest.raises(ConfigError, match=r"TrimmedMean.chunk_bytes=1: must be >= 4096 bytes"):
        TrimmedMean(0.1, chunk_bytes=1)


@pytest.mark.parametrize(
    ("trim", "needed"), [(0.0, 1), (0.1, 10), (0.2, 5), (0.25, 4), (1 / 3, 3), (0.3, 4), (0.49, 3)]
)
def test_needs_so_many_that_one_is_dropped(trim, needed):
    """With one fewer it is the plain mean, which a single bad update moves anywhere."""
    rule = TrimmedMean(trim)
    assert rule.min_updates == needed
    bad = torch.cat([torch.ones(needed - 1, 1), torch.full((1, 1), 1e6)])
    if trim:
        assert delta(rule, bad).tolist() == [1.0]
        assert float(delta(rule, bad[1:])) > 1e5


def test_fewer_are_refused_before_the_run():
    with pytest.raises(ConfigError, match=r"TrimmedMean\(.*trim=0.2\) needs 5 updates a round; .* brings 4"):
        digits(ONE_STEP, TrimmedMean(0.2), num_agents=4).resolved()


def test_laws_follow_the_trim():
    assert "robustness" in TrimmedMean(0.1).laws
    assert "robustness" not in TrimmedMean(0.0).laws
