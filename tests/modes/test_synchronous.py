import pytest

from raycollab.errors import ConfigError
from raycollab.modes import Synchronous
from raycollab.types import Assignment


def test_all_start_from_the_newest_version():
    mode = Synchronous()
    work, state = mode.assign(["a", "b"], mode.init(), version=4, seed=0)
    assert work == [Assignment("a", 4), Assignment("b", 4)]
    assert state == {}
    assert mode.horizon == 1
    assert mode.updates_per_round(7) == 7


def test_over_selection():
    assert Synchronous().over_select == 0.0
    assert Synchronous(over_select=0.3).over_select == 0.3
    with pytest.raises(ConfigError, match=r"Synchronous\.over_select=-0\.1: must be >= 0"):
        Synchronous(over_select=-0.1)
