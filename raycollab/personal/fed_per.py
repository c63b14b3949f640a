"""FedPer: a common body, and a head of each agent's own."""

from raycollab.params import Exchange


def fed_per(*head: str) -> Exchange:
    """What travels in FedPer: everything but the head, with any learner and rule.

    In a file it is `exchange: {exclude: [head.*]}`.

    Args:
        head: Patterns of the names that stay private, such as "head.*".
    Source: Arivazhagan et al., 2019, arXiv 1912.00818, Algorithms 1 and 2.
    """
    return Exchange(exclude=head)
