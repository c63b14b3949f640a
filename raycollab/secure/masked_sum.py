"""What hosts send where nobody is to see a single update: sums of whole numbers under masks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from raycollab.aggregation import MadeIn, Partial
from raycollab.errors import UpdateError
from raycollab.secure.fixed_point import Form
from raycollab.secure.residues import Residues
from raycollab.spec import BUFFERS, ParamSpec
from raycollab.types import Update


@dataclass
class MaskedSum(Partial):
    """A sum of residues, with or without masks: exact in any order and any grouping.

    Args:
        count: Updates in it.
        parts: Residues by their form; if all is well, of one form.
    """

    count: int = 0
    parts: dict[Form, Residues] = field(default_factory=dict)

    @classmethod
    def of(cls, update: Update) -> Self:
        """Refused: how an update is written is for the rule to say.

        Raises: UpdateError always.
        """
        raise UpdateError(f"agent {update.agent!r}: only SecureSum.collect makes a masked sum")

    def __add__(self, other: Self) -> Self:
        """Both sums, in new memory."""
        total = type(self)()
        total += self
        total += other
        return total

    def __iadd__(self, other: Self) -> Self:
        """Add in place; the memory of self must be its own."""
        for form, residues in other.parts.items():
            if form in self.parts:
                self.parts[form].add(residues)
            else:
                self.parts[form] = residues.own()
        self.count += other.count
        return self

    def check(self, made_in: MadeIn, spec: ParamSpec) -> None:
        """Look at what arrived: whether it can be added to others.

        Raises: UpdateError for sums of another attempt, or that are not what their form says.
        """
        for form, residues in self.parts.items():
            if form.made_in != made_in:
                raise UpdateError(
                    f"a masked sum is stale: it was made in (round, attempt, version) {form.made_in}, and {made_in} "
                    f"was asked for; it is refused"
                )
            told, wanted = dict(form.vectors), {BUFFERS: spec.num_buffers}
            lengths = all(length == wanted.get(name, spec.num_params) for name, length in told.items())
            if not lengths or len(told) < len(form.vectors) or not form.fits(residues):
                raise UpdateError(f"a masked sum is not what it says, residues of {told}; it is refused")

    def whole(self) -> tuple[Form, Residues]:
        """The form and the residues.

        Raises: UpdateError if updates differ in what they hold, so that their masks do not cancel.
        """
        if len(self.parts) == 1:
            return next(iter(self.parts.items()))
        kinds = "; ".join(_described(form) for form in self.parts)
        raise UpdateError(
            f"{self.count} updates of {len(self.parts)} forms cannot be summed under masks: {kinds}. Give all agents "
            f"learners that send the same vectors and scalars"
        )


def _described(form: Form) -> str:
    vectors: Mapping[str, int] = dict(form.vectors)
    return f"round, attempt and version {form.made_in} with {vectors} and {list(form.scalars)}"
