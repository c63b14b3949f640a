import pytest

import raycollab

NEED_RAY = ("fit", "run_experiment", "Search", "Sweep", "resume_search", "search")  # tests/ray calls them


@pytest.mark.parametrize("name", [name for name in raycollab.__all__ if name not in NEED_RAY])
def test_every_public_name_is_there(name):
    found = getattr(raycollab, name)
    assert found is getattr(raycollab, name)
    assert getattr(found, "__doc__", "")
    assert name in dir(raycollab)


def test_names_are_unique():
    assert len(set(raycollab.__all__)) == len(raycollab.__all__)


def test_another_name():
    with pytest.raises(AttributeError, match="module 'raycollab' has no attribute 'Meen'"):
        _ = raycollab.Meen
