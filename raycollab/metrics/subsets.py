"""Names of what is right with some of the modalities alone."""

from collections.abc import Iterable, Iterator
from itertools import combinations

Subset = tuple[str, ...]  # of modalities, sorted
_START, _END = "accuracy[", "]"


def subsets(modalities: Iterable[str]) -> Iterator[Subset]:
    """Every subset but the empty one, small ones first, each sorted."""
    names = sorted(modalities)
    for size in range(1, len(names) + 1):
        yield from combinations(names, size)


def subset_metric(modalities: Iterable[str]) -> str:
    """What the accuracy with these modalities alone is called, such as "accuracy[audio+image]"."""
    return f"{_START}{'+'.join(modalities)}{_END}"


def subset_of(metric: str) -> Subset | None:
    """The modalities that a metric is called by; None if it is another one."""
    if not (metric.startswith(_START) and metric.endswith(_END)):
        return None
    return tuple(metric.removeprefix(_START).removesuffix(_END).split("+"))
