from raycollab.modes import Synchronous
from raycollab.types import Assignment


def test_all_start_from_the_newest_version():
    mode = Synchronous()
    work, state = mode.assign(["a", "b"], mode.init(), version=4, seed=0)
    assert work == [Assignment("a", 4), Assignment("b", 4)]
    assert state == {}
    assert mode.horizon == 1
    assert mode.updates_per_round(7) == 7
