"""What a vertical run ends with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raycollab.vertical.alignment import Aligned
from raycollab.vertical.part import Part, load_part


@dataclass(frozen=True)
class VerticalResult:
    """What a vertical run ended with; the rest is in its folder.

    Args:
        path: The run folder; what each party holds of the model is in `party-NAME/` in it.
        metrics: On the held-out rows, of the last evaluation.
        history: A row per round, as in rounds.parquet.
        aligned: What became of the parties' rows.
        stop_reason: Why it ended.
        seconds: From the start of the run to its end.
        text: The classification report, or the metrics of other tasks.
    """

    path: str
    metrics: Mapping[str, float]
    history: Sequence[Mapping[str, Any]]
    aligned: Aligned
    stop_reason: str
    seconds: float
    text: str

    @property
    def num_rounds(self) -> int:
        """Rounds that were committed."""
        return len(self.history)

    def part(self, party: str, *, trusted: tuple[str, ...] = ()) -> Part:
        """What a party holds of the model: see load_part."""
        return load_part(self.path, party, trusted=trusted)

    def report(self) -> str:
        """What became of the parties' rows, and the report on the held-out ones."""
        return report(self.aligned, self.text)


def report(aligned: Aligned, text: str) -> str:
    """What became of the parties' rows, and a text on the held-out ones."""
    lines = [f"{aligned.num_train:,} common rows to train on, {aligned.num_test:,} held out"]
    for name, card in aligned.cards.items():
        sends = f"; sends {card.activations} numbers a row" if card.activations else "; has the labels and the head"
        lines.append(
            f"  {name}: {card.rows:,} rows, of which {card.dropped:,} are not at all parties; "
            f"{card.rejected:,} rejected{sends}"
        )
    return "\n".join([*lines, "", text])
