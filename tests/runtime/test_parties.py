import pytest

from raycollab.config import ScalingConfig
from raycollab.errors import ConfigError, ResourceError
from raycollab.runtime import placement
from raycollab.runtime.parties import PARTY, check_names, held_twice, homes, missing
from raycollab.runtime.placement import Placement, place, wait_for_resources


def node(address, party=None, cpus=4.0, gpus=0.0):
    labels = {"ray.io/node-id": address} | ({} if party is None else {PARTY: party})
    resources = {"CPU": cpus, "GPU": gpus}
    return {"Alive": True, "NodeManagerAddress": address, "Labels": labels, "Resources": resources}


NODES = [node("10.0.0.1"), node("10.0.0.2", "north"), node("10.0.0.3", "south")]


def test_where_each_party_is():
    assert homes(NODES) == {"north": ["10.0.0.2"], "south": ["10.0.0.3"]}
    assert held_twice(["north", "south"], NODES) == missing(["north", "south"], NODES) == ""


def test_a_party_without_a_node_is_named_with_the_labels_that_exist():
    said = missing(["north", "west", "east"], NODES)
    assert said.startswith("no node carries the label raycollab.io/party of west, east; labels that exist: ")
    assert "north on 10.0.0.2, south on 10.0.0.3." in said
    assert "`ray start --address=HEAD:6379 --labels=raycollab.io/party=west`" in said
    assert "labels that exist: none." in missing(["west"], NODES[:1])


def test_a_label_that_two_nodes_hold_is_refused_for_those_who_need_it():
    nodes = [*NODES, node("10.0.0.4", "north")]
    assert "by more than one node: north on 10.0.0.2, 10.0.0.4. The agent runs" in held_twice(["north"], nodes)
    assert held_twice(["south"], nodes) == ""


@pytest.mark.parametrize("name", ["north", "N-1_x.y", "a" * 63])
def test_names_that_can_stand_in_a_label(name):
    check_names([name])


@pytest.mark.parametrize("name", ["", "-north", "north.", "north side", "in(a,b)", "!north", "a" * 64, "x;ls"])
def test_names_that_cannot(name):
    with pytest.raises(ConfigError, match=r"its name is the label raycollab.io/party of its node"):
        check_names(["north", name])


def test_an_actor_asks_for_its_partys_node_and_one_that_joins_for_its_own():
    parties = place(ScalingConfig(on_party_nodes=True, cpus_per_host=1), 2, ["north", "south"])
    assert parties.options(1, "south") == {"num_cpus": 1, "num_gpus": 0, "label_selector": {PARTY: "south"}}
    assert parties.options(None, "late")["label_selector"] == {PARTY: "late"}
    assert place(ScalingConfig(cpus_per_host=1), 2, ["north", "south"]).options(0, "north").keys() == {
        "num_cpus", "num_gpus",
    }  # fmt: skip


@pytest.fixture
def cluster(monkeypatch):
    """Pretends that the cluster has these nodes."""

    def pretend(*nodes):
        total = {name: sum(each["Resources"][name] for each in nodes) for name in ("CPU", "GPU")}
        monkeypatch.setattr(placement.ray, "nodes", lambda: [*nodes, {"Alive": False}])
        monkeypatch.setattr(placement.ray, "cluster_resources", lambda: total)

    return pretend


PARTIES = Placement(2, 1.0, 0.0, 0.0, ("north", "south"))


def test_parties_that_have_their_nodes(cluster):
    cluster(*NODES)
    wait_for_resources(PARTIES, 0.0)


def test_a_party_is_not_put_on_anothers_node(cluster):
    """There are CPUs enough on the head and in the north, but south's node has none."""
    cluster(node("10.0.0.1", cpus=64.0), node("10.0.0.2", "north"), node("10.0.0.3", "south", cpus=0.0))
    with pytest.raises(ResourceError, match=r"3 node\(s\), and each on its party's node is asked for. Lower"):
        wait_for_resources(PARTIES, 0.0)


def test_what_is_missing_is_said_when_time_is_up_and_a_label_held_twice_at_once(cluster):
    cluster(*NODES[:2])
    with pytest.raises(ResourceError, match=r"of south; labels that exist: north on 10.0.0.2.*start_timeout_s=0.1"):
        wait_for_resources(PARTIES, 0.1)
    cluster(*NODES, node("10.0.0.4", "south"))
    with pytest.raises(ResourceError, match=r"held by more than one node: south on 10.0.0.3, 10.0.0.4"):
        wait_for_resources(PARTIES, 3600.0)


def test_hosts_that_are_spread_share_no_node(cluster):
    cluster(*NODES)
    wait_for_resources(Placement(3, 1.0, 0.0, 0.0, spread=True), 0.0)
    with pytest.raises(ResourceError, match="and no two on one node is asked for"):
        wait_for_resources(Placement(4, 1.0, 0.0, 0.0, spread=True), 0.0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"on_party_nodes": True, "pool": "local"}, "on_party_nodes=True: is for pool='ray'"),
        ({"spread": True, "pool": "local"}, "spread=True: is for pool='ray'"),
        ({"on_party_nodes": True, "agents_per_host": 2}, "agents_per_host=2: must be 1 or null with on_party_nodes"),
        ({"on_party_nodes": True, "agents_at_once": None}, "agents_at_once=None: must be 0 with on_party_nodes"),
    ],
)
def test_settings_that_contradict_each_other(settings, words):
    with pytest.raises(ConfigError) as caught:
        ScalingConfig(**settings)
    assert words in str(caught.value)


def test_simulated_agents_on_party_nodes_never_move(digits):
    """Each has a host of its own, whatever else could read its data; the same without the setting can be anywhere."""
    pinned = digits("scaling.on_party_nodes=true", "scaling.agents_at_once=0")
    assert pinned.num_hosts(num_cpus=2) == len(pinned.members())
    assert not pinned.session().simulated
    assert digits().session().simulated
