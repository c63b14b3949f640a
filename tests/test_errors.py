import inspect
import pickle
import re

import pytest

from raycollab import errors

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("kind", CLASSES)
def test_survives_pickling(kind):
    again = pickle.loads(pickle.dumps(kind("agent 'a': 3 of 8")))
    assert type(again) is kind
    assert str(again) == "agent 'a': 3 of 8"


def test_the_tree_names_every_class_and_nothing_else():
    named = set(re.findall(r"^[ |]+(?:[|`]-- )?([A-Z]\w+)", errors.__doc__, re.MULTILINE))
    assert named == {kind.__name__ for kind in CLASSES}


@pytest.mark.parametrize("kind", CLASSES)
def test_one_base(kind):
    assert issubclass(kind, errors.RaycollabError)
    assert issubclass(kind, ValueError) == (kind is errors.ConfigError)
