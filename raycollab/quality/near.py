"""Rows that are all but another one."""

from collections.abc import Mapping

import torch
from torch import Tensor

from raycollab.quality.neighbours import NAMES, NUMBERS, TEXT, features, kind_of, nearest
from raycollab.quality.texts import alike

_NEAR = 0.05  # of the distance between two rows at random: how far apart the numbers of near duplicates may be
_SAME = 0.9  # of the columns of names
_CANDIDATES = 5


def near_duplicates(columns: Mapping[str, Tensor]) -> int:
    """How many rows have an earlier one, among the five that are most alike, that is near in all that they hold.

    Numbers: within 0.05 of the distance of two rows at random. Names: nine tenths of the columns have the same. Texts:
    seven tenths of what stands in either stands in both.

    Args:
        columns: Of rows of which no two are the same.
    """
    points = features(columns) if columns else torch.zeros(0, 0)
    if len(points) < 2 or not points.shape[1]:
        return 0
    places, _ = nearest(points, min(_CANDIDATES, len(points) - 1))
    rows = torch.arange(len(points))[:, None].expand_as(places)
    earlier = places < rows
    ones, others = rows[earlier], places[earlier]  # [p]
    kinds = {name: kind_of(column) for name, column in columns.items()}
    numbers, names, texts = ({n: columns[n] for n in columns if kinds[n] == kind} for kind in (NUMBERS, NAMES, TEXT))
    near = torch.ones(len(ones), dtype=torch.bool)
    if numbers:
        values = features(numbers)
        typical = (2 * values.var(0, correction=0).sum()).sqrt()
        near &= (values[ones] - values[others]).norm(dim=1) <= _NEAR * typical
    if names:
        same = torch.stack([column[ones] == column[others] for column in names.values()])
        near &= same.float().mean(0) >= _SAME
    for tokens in texts.values():
        near &= alike(tokens, ones, others)
    return len(ones[near].unique())
