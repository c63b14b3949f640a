"""ANIL: inner steps change the head alone."""

from dataclasses import dataclass

from raycollab.meta.maml import MAML
from raycollab.settings import require


@dataclass(frozen=True, kw_only=True)
class ANIL(MAML):
    """MAML whose inner steps leave the body as it is; the outer ones move all of it.

    Args:
        head: Patterns of the parameters that inner steps change, such as ("head.*",).
    Source: Raghu et al., ICLR 2020, arXiv 1909.09157, section 5.
    """

    head: tuple[str, ...]

    formula = "MAML with inner steps over the head alone"

    def __post_init__(self) -> None:
        super().__post_init__()
        patterns = (self.head,) if isinstance(self.head, str) else tuple(self.head)
        object.__setattr__(self, "head", patterns)
        require(bool(patterns), "ANIL.head", patterns, "must be patterns of names, such as ('head.*',)")

    @property
    def inner(self) -> tuple[str, ...]:
        """The head's."""
        return self.head
