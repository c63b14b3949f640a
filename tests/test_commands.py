import pytest

from raycollab.commands import Commands
from raycollab.errors import ClusterError


def test_what_was_asked_is_done_in_order_and_errors_are_the_askers():
    commands, done = Commands(), []
    first = commands.put(lambda driver: done.append(driver))
    wrong = commands.put(lambda driver: 1 // 0)
    last = commands.put(lambda driver: driver + 1)
    assert not first.done()
    commands.carry_out(7)
    assert done == [7]
    assert last.result(0) == 8
    with pytest.raises(ZeroDivisionError):
        wrong.result(0)


def test_after_the_end_nothing_is_waited_for():
    commands = Commands()
    before = commands.put(lambda driver: driver)
    commands.close()
    after = commands.put(lambda driver: driver)
    for future in (before, after):
        with pytest.raises(ClusterError, match="the run has ended before it came to this"):
            future.result(0)
