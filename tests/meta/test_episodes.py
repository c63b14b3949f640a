import pytest
import torch

from raycollab.data import Shard
from raycollab.errors import ConfigError, DataError
from raycollab.meta import FewShot, FromFunction, PartyTask, Sinusoids, split_classes


def shard(each=6):
    """Classes 10, 20, 30, 40, one row fewer of 40; the column x names the row."""
    labels = torch.tensor([10, 20, 30, 40]).repeat(each)[:-1]
    return Shard({"x": torch.arange(len(labels)), "label": labels}, val_fraction=0.0, seed=0)


def test_few_shot_draws_classes_and_rows():
    """N classes called by their order, K and `queries` rows of each, no row twice."""
    support, query = FewShot(3, 2, 3).draw(shard(), range(50))
    assert support["label"].tolist() == [[0, 0, 1, 1, 2, 2]] * 50
    assert query["label"].tolist() == [[0] * 3 + [1] * 3 + [2] * 3] * 50
    places = torch.cat([support["x"].view(50, 3, 2), query["x"].view(50, 3, 3)], 2)
    assert all(len(rows.unique()) == 15 for rows in places)
    classes = places % 4  # row x is of class x % 4
    assert torch.equal(classes, classes[:, :, :1].expand_as(classes))
    assert all(len(names.unique()) == 3 for names in classes[:, :, 0])
    assert set(places.unique().tolist()) == set(range(23))  # every row comes up


@pytest.mark.parametrize("tasks", [FewShot(2, 1, 1), PartyTask(3, 4)], ids=repr)
def test_a_seed_stands_for_an_episode(tasks):
    """Whatever else is drawn with it."""
    alone, among = tasks.draw(shard(), [5]), tasks.draw(shard(), [1, 5, 2])
    for one, several in zip(alone, among, strict=True):
        assert torch.equal(one["x"][0], several["x"][1])
        assert not torch.equal(several["x"][0], several["x"][1])


def test_classes_that_were_not_named_are_not_drawn():
    """Those that are kept for the test never come up in training."""
    train = FewShot(2, 1, 1, classes=(10, 30))
    rows = torch.cat([part["x"] for part in train.draw(shard(), range(20))])
    assert set((rows % 4).unique().tolist()) == {0, 2}


def test_classes_are_split():
    """Disjoint, complete, of the sizes that were asked for, by a seed."""
    train, val, test = split_classes(10, (0.6, 0.2, 0.2), seed=1)
    assert [len(part) for part in (train, val, test)] == [6, 2, 2]
    assert sorted((*train, *val, *test)) == list(range(10))
    assert split_classes(10, (0.6, 0.2, 0.2), seed=1) == [train, val, test] != split_classes(10, (0.6, 0.2, 0.2))
    with pytest.raises(ConfigError, match=r"split_classes\.shares=\(0\.5, 0\.4\): must be > 0 and add up to 1"):
        split_classes(10, (0.5, 0.4))


def test_a_party_is_a_task():
    support, query = PartyTask(3, 4).draw(shard(), range(9))
    assert (support["x"].shape, query["x"].shape) == ((9, 3), (9, 4))
    assert all(len(rows.unique()) == 7 for rows in torch.cat([support["x"], query["x"]], 1))


def test_sinusoids():
    """Points of one curve an episode: support and query lie on the same a sin(x - b), within the ranges."""
    support, query = Sinusoids(10, 30).draw(shard(), range(200))
    assert (support["features"].shape, query["label"].shape) == ((200, 10, 1), (200, 30))
    x, y = (
        torch.cat([support["features"], query["features"]], 1).double(),
        torch.cat([support["label"], query["label"]], 1),
    )
    basis = torch.cat([x.sin(), x.cos()], 2)  # a sin(x - b) = (a cos b) sin x - (a sin b) cos x
    weights = torch.linalg.lstsq(basis, y.double().unsqueeze(2)).solution
    torch.testing.assert_close((basis @ weights).squeeze(2).float(), y, rtol=1e-3, atol=1e-3)
    heights = weights.squeeze(2).norm(dim=1)
    assert heights.min() >= 0.1
    assert heights.max() <= 5
    assert x.abs().max() <= 5
    assert (weights[:, 1] <= 1e-3).all()  # b in [0, pi]


def line(seed):
    x = torch.full((3, 1), float(seed))
    return {"features": x, "label": x[:, 0]}, {"features": 2 * x, "label": 2 * x[:, 0]}


def ragged(seed):
    return {"x": torch.zeros(seed)}, {"x": torch.zeros(1)}


@pytest.mark.parametrize("function", [line, f"{__name__}:line"], ids=["function", "name"])
def test_a_function_of_your_own(function):
    support, query = FromFunction(function).draw(shard(), [3, 4])
    assert support["label"].tolist() == [[3.0] * 3, [4.0] * 3]
    assert query["features"].shape == (2, 3, 1)


def test_functions_whose_episodes_differ_in_shape():
    with pytest.raises(DataError, match=r"FromFunction: episodes differ in shape, \{'x': \[1\]\} and \{'x': \[2\]\}"):
        FromFunction(ragged).draw(shard(), [1, 2])
    with pytest.raises(ConfigError, match=r"nowhere\.line cannot be imported"):
        FromFunction("nowhere:line").draw(shard(), [1])


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (FewShot(5, 1, 1), r"FewShot\(ways=5\) takes 5 classes and the shard has 4 of them: lower ways"),
        (FewShot(3, 1, 1, classes=(10, 30, 50)), r"takes 3 classes and the shard has 2 of them"),
        (FewShot(2, 3, 3), r"takes 6 examples a class and class 40 has 5 in the shard: lower one of them"),
        (PartyTask(20, 5), r"PartyTask\(support=20, query=5\) takes 25 examples and the shard has 23"),
    ],
)
def test_shards_that_are_too_small(tasks, message):
    with pytest.raises(DataError, match=message):
        tasks.draw(shard(), [1])


def test_bad_settings():
    with pytest.raises(ConfigError, match=r"FewShot\.ways=1: must be >= 2"):
        FewShot(1)
    with pytest.raises(ConfigError, match=r"FewShot\.classes=\(1, 2\): must name at least ways=5 classes"):
        FewShot(5, classes=(1, 2))
    with pytest.raises(ConfigError, match=r"PartyTask\.query=0: must be >= 1"):
        PartyTask(3, 0)
    with pytest.raises(ConfigError, match=r"Sinusoids\.support=0: must be >= 1"):
        Sinusoids(0)
