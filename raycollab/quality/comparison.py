"""Parties whose values differ from those of the others: another unit, another scale, a sensor that is off."""

import math
import statistics
from collections.abc import Sequence

from raycollab.quality.examination import Examination

_FACTOR = 4.0  # of the deviations
_DEVIATIONS = 3.0  # between the means


def differences(found: Sequence[Examination]) -> dict[str, list[str]]:
    """What differs, in words, by agent.

    An agent's column is named if its standard deviation is over 4 times, or under a quarter of, the median of the
    others', or if its mean is more than 3 of the others' median deviations away from their median mean. Of two agents,
    both are named. Different labels alone rarely differ that much.
    """
    told: dict[str, list[str]] = {}
    for own in found:
        others = [each for each in found if each.agent != own.agent and not each.error]
        lines = [line for column in own.moments if (line := _difference(own, others, column))]
        if lines:
            told[own.agent] = lines
    return told


def _difference(own: Examination, others: Sequence[Examination], column: str) -> str:
    mine = own.moments[column]
    theirs = [each.moments[column] for each in others if len(each.moments.get(column, mine).mean) == len(mine.mean)
              and column in each.moments]  # fmt: skip
    if not theirs:
        return ""
    worst, text = 0.0, ""
    for entry, (mean, std) in enumerate(zip(mine.mean, mine.std, strict=True)):
        mean_there = statistics.median(each.mean[entry] for each in theirs)
        std_there = statistics.median(each.std[entry] for each in theirs)
        if any(math.isnan(value) for value in (mean, std, mean_there, std_there)) or not (std or std_there):
            continue
        ratio = max(std, std_there) / max(min(std, std_there), 1e-12) / _FACTOR
        apart = abs(mean - mean_there) / max(std_there, 1e-12) / _DEVIATIONS
        if max(ratio, apart) > max(1.0, worst):
            worst = max(ratio, apart)
            which = f"{column}[{entry}]" if len(mine.mean) > 1 else column
            text = f"{which} is {mean:.3g} ± {std:.3g}, elsewhere {mean_there:.3g} ± {std_there:.3g}"
    return text
