"""What an error of Ray's is taken for; what becomes of actors themselves is in tests/ray."""

import pytest
import ray
from ray.exceptions import ActorUnavailableError, ObjectLostError, ObjectReconstructionFailedError, OwnerDiedError

from raycollab.runtime.ray_hosts import Gone, answer_of
from raycollab.types import Failure


@pytest.mark.parametrize(
    ("error", "gone"),
    [
        pytest.param(ObjectLostError("ab", None, ""), True, id="lost"),
        pytest.param(ObjectReconstructionFailedError("ab"), True, id="lost for good"),
        pytest.param(OwnerDiedError("ab", None, ""), True, id="lost with its owner"),
        pytest.param(ActorUnavailableError("no answer", None), True, id="unavailable"),
        pytest.param(ValueError("of its own"), False, id="an error of its own"),
    ],
)
def test_whose_answer_is_lost_is_taken_to_be_gone(monkeypatch, error, gone):
    """An answer goes with the node that has it, and so does the actor: it is replaced before it is asked again."""

    def get(ref, timeout):
        raise error

    monkeypatch.setattr(ray, "get", get)
    found = answer_of("reference", 1.0)
    assert type(found) is (Gone if gone else Failure)
    assert found.error == type(error).__name__
