import time

from raycollab.interruption import Interruption


def test_nobody_asked():
    interruption = Interruption()
    assert not interruption.asked
    assert not interruption.overdue()


def test_the_shortest_grace_counts():
    interruption = Interruption()
    interruption.ask(60.0)
    assert interruption.asked
    assert not interruption.overdue()
    interruption.ask(0.0)
    interruption.ask(60.0)
    time.sleep(0.001)
    assert interruption.overdue()
