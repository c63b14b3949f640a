"""Updates by hand, and what a rule makes of them."""

import torch

from raycollab.aggregation import add_up
from raycollab.types import Round, Update

ROUND = Round(1, 0, 0, {})


def updates(rows, *, weights=None, **others):
    """One update a row [k, d]; `others` are further vectors by name, a row each."""
    rows = torch.as_tensor(rows)
    return [
        Update(
            f"agent-{i}",
            1.0 if weights is None else weights[i],
            {"delta": row.clone(), **{name: torch.as_tensor(held)[i].clone() for name, held in others.items()}},
        )
        for i, row in enumerate(rows)
    ]


def merged(rule, some, *, state=None, seed=0):
    """The aggregate of updates, and the next state."""
    params = torch.zeros(some[0].vectors["delta"].shape)
    total = add_up(rule.collect(update, ROUND) for update in some)
    return rule.update(total, rule.init(params) if state is None else state, params, seed=seed)


def delta(rule, rows, **settings):
    """The merged delta of rows."""
    return merged(rule, updates(rows, **settings))[0].vectors["delta"]


def randn(*shape, seed=0):
    """Normal numbers of a seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
