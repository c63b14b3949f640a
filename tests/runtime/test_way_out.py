"""The way out of a device, from a CPU; tests/gpu has that from a GPU."""

import torch

from raycollab.runtime.way_out import WayOut


def test_what_is_on_a_cpu_stays_the_object_that_it_is():
    way, tree = WayOut("cpu"), {"a": [torch.ones(3), 1], "b": (None, "text")}
    begun = way.begin(tree)
    way.arrival()()
    assert begun["a"][0] is tree["a"][0]
    assert begun == tree
