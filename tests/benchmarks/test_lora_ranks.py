"""What the padded mean is, beside which adapters of three ranks are merged."""

import torch

from benchmarks.papers import lora_ranks
from raycollab.spec import Entry, ParamSpec
from raycollab.types import Round, Update


def test_padded_counts_what_an_agent_does_not_hold_as_zero():
    """Parameters 1, 2, 3 and 4; one of two agents holds the first two, and both move what they hold by 1."""
    whole = ParamSpec((Entry("a", (4,), "float32", 0),), (), slices=True)
    part = whole.coverage(ParamSpec((Entry("a", (2,), "float32", 0),), ()))
    params = torch.tensor([1.0, 2.0, 3.0, 4.0])
    rule = lora_ranks.Padded()
    small = Update("small", 1.0, {"delta": torch.ones(2)}, coverage=part)
    large = Update("large", 1.0, {"delta": torch.ones(4)})
    partials = [rule.collect(each, Round(1, 0, 0, {"params": params})) for each in (small, large)]
    found, _ = rule.update(partials[0] + partials[1], {}, params, seed=0)
    assert (params + found.vectors["delta"]).tolist() == [2.0, 3.0, 2.0, 2.5]
