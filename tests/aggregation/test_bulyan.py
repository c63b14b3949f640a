import pytest
import torch

from raycollab.aggregation import Bulyan, Krum
from raycollab.aggregation.bulyan import _choose, _mean_around_median
from raycollab.errors import ConfigError

from ..contracts.support import ONE_STEP, digits
from .support import delta, merged, randn, updates


def reference(rows, f):
    """The paper's two steps as written, with a loop an update and a sort by distance to the median."""
    left, chosen = list(range(len(rows))), []
    while len(chosen) < len(rows) - 2 * f:
        scores = []
        for i in left:
            distances = sorted(float((rows[i] - rows[j]).double().square().sum()) for j in left if j != i)
            scores.append(sum(distances[: max(1, len(left) - f - 2)]))
        chosen.append(left.pop(scores.index(min(scores))))
    values = rows[chosen]
    middle = values.sort(dim=0).values
    median = (middle[(len(chosen) - 1) // 2] + middle[len(chosen) // 2]) / 2
    nearest = (values - median).abs().argsort(dim=0)[: len(chosen) - 2 * f]
    return values.gather(0, nearest).mean(0)


def test_by_hand():
    """Five of 0 ... 5 and 100 are chosen with f = 1, by the sums over the 4, 3, 2, 1 and 1 nearest of those left.

    2 (1 + 1 + 4 + 4 = 10, as 3 has, but before it), 3 (1 + 4 + 4 = 9), 1 (1 + 9 = 10, as 4), 4 (1, as 5), 0 (25, as 5).
    Of 0 ... 4 the three nearest to the median are 1, 2 and 3.
    """
    rows = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [100.0]])
    assert _choose((rows - rows.T).square(), 1) == [0, 1, 2, 3, 4]
    assert delta(Bulyan(f=1), rows).tolist() == [2.0]


@pytest.mark.parametrize(("count", "f"), [(7, 1), (8, 1), (12, 2), (25, 5), (5, 0)])
def test_agrees_with_the_reference(count, f):
    rows = randn(count, 60, seed=count)
    torch.testing.assert_close(delta(Bulyan(f, chunk_bytes=2**12), rows), reference(rows, f))


@pytest.mark.parametrize(("size", "count"), [(5, 3), (6, 2), (9, 1), (9, 9), (4, 3)])
def test_the_values_nearest_to_the_median(size, count):
    rows = randn(size, 50)
    ordered = rows.sort(dim=0).values
    median = (ordered[(size - 1) // 2] + ordered[size // 2]) / 2
    expected = rows.gather(0, (rows - median).abs().argsort(dim=0)[:count]).mean(0)
    if count == 1 and size % 2:
        assert torch.equal(_mean_around_median(rows.clone(), count), expected)
    torch.testing.assert_close(_mean_around_median(rows.clone(), count), expected)


def test_one_far_element_passes_krum_and_not_bulyan():
    """The attack that Bulyan is for: near the others in norm, but 20 away in one of 10,000 elements."""
    honest = randn(9, 10_000)
    bad = honest.mean(0, keepdim=True).repeat(2, 1)
    bad[:, 0] += 20
    rows = torch.cat([honest, bad])
    assert abs(float(delta(Krum(f=2), rows)[0])) > 10
    assert abs(float(delta(Bulyan(f=2), rows)[0])) < float(honest[:, 0].abs().max())


def test_other_vectors_are_merged_over_the_same_updates():
    rows = torch.cat([randn(8, 5), torch.full((1, 5), 1e6)])
    found, state = merged(Bulyan(f=1), updates(rows, weights=[1.0] * 8 + [1e9], buffers=rows[:, :2] * 3))
    torch.testing.assert_close(found.vectors["buffers"], 3 * found.vectors["delta"][:2])
    assert (found.weight, state) == (7.0, {})


def test_needs_and_laws():
    assert Bulyan(f=5).min_updates == 23
    assert "robustness" in Bulyan(f=1).laws
    assert "robustness" not in Bulyan(f=0).laws


def test_fewer_than_4f_plus_3_updates_are_refused_before_the_run():
    with pytest.raises(ConfigError, match=r"Bulyan\(.*f=1\) needs 7 updates a round; .* of 6 agents brings 6: select"):
        digits(ONE_STEP, Bulyan(f=1), num_agents=6).resolved()
    digits(ONE_STEP, Bulyan(f=1), num_agents=7).resolved()


def test_refuses():
    with pytest.raises(ConfigError, match=r"Bulyan.f=-1: must be a whole number >= 0 of bad updates"):
        Bulyan(f=-1)
    with pytest.raises(ConfigError, match=r"Bulyan.f=1.0: must be a whole number"):
        Bulyan(f=1.0)
    with pytest.raises(ConfigError, match=r"Bulyan.chunk_bytes=0: must be >= 4096"):
        Bulyan(f=1, chunk_bytes=0)
