"""The classification report: precision, recall, F1 and support of every class, and their averages."""

from collections.abc import Sequence

from raycollab.errors import ConfigError
from raycollab.metrics import ClassScores, Confusion, LabelCounts

_HEADINGS = ("precision", "recall", "f1-score", "support")


def classification_report(
    confusion: Confusion | LabelCounts, class_names: Sequence[str] | None = None, digits: int = 3
) -> str:
    """Plain text in the layout of scikit-learn's classification_report, from merged counts instead of labels.

    Args:
        confusion: The counts, merged over whatever the report is about; of several labels an example has a micro
            average in place of the accuracy.
        class_names: One name per class, in the order of the labels; None numbers them.
        digits: Decimals of the scores.
    Raises: ConfigError if the number of names is not the number of classes, or digits is negative.
    """
    per_class = confusion.per_class()
    names = [str(label) for label in range(len(per_class))] if class_names is None else list(class_names)
    if len(names) != len(per_class):
        raise ConfigError(f"class_names has {len(names)} names: must be {len(per_class)}, one per class")
    if digits < 0:
        raise ConfigError(f"digits={digits}: must be >= 0")
    width = max(len("weighted avg"), digits, *(len(name) for name in names))
    rows = [_row(name, scores, width, digits) for name, scores in zip(names, per_class, strict=True)]
    macro = confusion.macro()
    if isinstance(confusion, Confusion):
        accuracy = f"{confusion.compute()['accuracy']:.{digits}f}"
        whole = _line("accuracy", ("", "", accuracy, str(macro.support)), width)
    else:
        whole = _row("micro avg", confusion.micro(), width, digits)
    return "\n".join(
        [
            _line("", _HEADINGS, width),
            "",
            *rows,
            "",
            whole,
            _row("macro avg", macro, width, digits),
            _row("weighted avg", confusion.weighted(), width, digits),
            "",
        ]
    )


def _row(name: str, scores: ClassScores, width: int, digits: int) -> str:
    *ratios, support = scores
    return _line(name, (*(f"{ratio:.{digits}f}" for ratio in ratios), str(support)), width)


def _line(name: str, cells: Sequence[str], width: int) -> str:
    return f"{name:>{width}} " + "".join(f" {cell:>9}" for cell in cells)
