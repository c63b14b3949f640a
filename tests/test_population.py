import pytest
import torch

from raycollab.agent import Agent
from raycollab.data import IID, Arrays, Blur, Digits, Distorted, Noise, Part
from raycollab.errors import ConfigError
from raycollab.learners import SGD
from raycollab.models import Width
from raycollab.population import Parties, Split

DATA = Digits("train")


def agent(name):
    return Agent(name, DATA, SGD())


def test_parties_are_as_given():
    parties = Parties([agent("b"), agent("a")])
    assert [each.name for each in parties.agents()] == ["b", "a"]
    assert parties == Parties((agent("b"), agent("a")))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b", "a"], "agents: 3 agents, but the name 'a' is used more than once; give each its own"),
        ([], r"agents=\[\]: give at least one agent"),
    ],
)
def test_parties_refuse(names, message):
    with pytest.raises(ConfigError, match=message):
        Parties([agent(name) for name in names])


def test_split_deals_learners_in_turn():
    fast, slow = SGD(lr=1.0), SGD(lr=0.1)
    agents = Split(DATA, IID(3, seed=2), [fast, slow], name="site {}", val_fraction=0.2).agents()
    assert [each.name for each in agents] == ["site 0", "site 1", "site 2"]
    assert [each.learner for each in agents] == [fast, slow, fast]
    assert [each.shard for each in agents] == [Part(DATA, IID(3, seed=2), index) for index in range(3)]
    assert {each.val_fraction for each in agents} == {0.2}


def test_split_of_arrays_gives_each_its_own_rows_every_time():
    data = Arrays({"features": torch.arange(9.0)[:, None], "label": torch.zeros(9, dtype=torch.int64)})
    population = Split(data, IID(3), (SGD(),))
    first, again = (
        [each.shard.read()["features"].flatten().tolist() for each in population.agents()] for _ in range(2)
    )
    assert first == again
    assert sorted(row for part in first for row in part) == list(range(9))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learners": ()}, r"Split.learners=\[\]: give at least one learner"),
        ({"name": "party"}, "Split.name='party': must contain {} once, for the party's number"),
    ],
)
def test_split_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        Split(**{"source": DATA, "partition": IID(2), "learners": (SGD(),), **settings})


def test_feature_skew_by_party():
    """Party i sees its rows through list i modulo their number, with noise of its own."""
    skew = [[], [Blur(1.0), Noise(0.1)]]
    agents = Split(DATA, IID(4), [SGD()], skew=skew, quality="down-weight").agents()
    parts = [Part(DATA, IID(4), index) for index in range(4)]
    assert [each.shard for each in agents] == [
        parts[0],
        Distorted(parts[1], (Blur(1.0), Noise(0.1)), seed=1),
        parts[2],
        Distorted(parts[3], (Blur(1.0), Noise(0.1)), seed=3),
    ]
    assert {each.quality for each in agents} == {"down-weight"}
    assert Split(DATA, IID(4), [SGD()], skew=skew) == Split(DATA, IID(4), (SGD(),), skew=((), tuple(skew[1])))


def test_parts_of_the_net_by_party():
    """Party i holds part i modulo their number."""
    agents = Split(DATA, IID(4), [SGD()], holds=[None, Width(0.5), Width(0.25)]).agents()
    assert [each.holds for each in agents] == [None, Width(0.5), Width(0.25), None]
    assert {each.holds for each in Split(DATA, IID(4), [SGD()]).agents()} == {None}
    with pytest.raises(ConfigError, match=r"Agent\('party-1'\).holds=0.5: must be a part of a net such as"):
        Split(DATA, IID(4), [SGD()], holds=[None, 0.5]).agents()
