import pytest
import torch

from raycollab.own_model import FOLLOWS, OWN, SHARE, followed, own_model

COMMON = {"body": torch.zeros(2), "head": torch.zeros(2), "steps": torch.tensor(3)}
OF_AGENT = {"body": torch.full((2,), 4.0), "head": torch.full((2,), 8.0), "steps": torch.tensor(7)}


@pytest.mark.parametrize("state", [None, [], {}, {OWN: None}, {"velocity": [torch.zeros(3)]}])
def test_a_learner_without_one_has_none(state):
    assert own_model(state, COMMON) is None


def test_without_shares_all_is_its_own():
    found = own_model({OWN: OF_AGENT}, COMMON)
    assert all(torch.equal(found[name], tensor) for name, tensor in OF_AGENT.items())


def test_shares_are_of_tensors_or_of_elements():
    """A quarter of the way for the body, element by element for the head; the counter has none: it is the common."""
    found = own_model({OWN: OF_AGENT, SHARE: {"body": 0.25, "head": torch.tensor([0.5, 1.0])}}, COMMON)
    assert found["body"].tolist() == [1.0, 1.0]
    assert found["head"].tolist() == [4.0, 8.0]
    assert found["steps"].item() == 3


def test_a_name_that_the_common_model_lacks_is_left_out():
    assert set(own_model({OWN: OF_AGENT}, {"body": COMMON["body"]})) == {"body"}


def test_a_model_may_be_one_of_the_drivers_vectors():
    assert followed({FOLLOWS: "params/1"}) == "params/1"
    assert followed({}) is followed(None) is None
