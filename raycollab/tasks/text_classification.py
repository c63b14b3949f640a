"""Classification of texts."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from raycollab.models.tokens import logits_of, trimmed
from raycollab.settings import require
from raycollab.tasks.classification import Classification
from raycollab.tasks.tokens import check_tokens


@dataclass(frozen=True)
class TextClassification(Classification):
    """Classification of rows of tokens, as sources with `text` read them; what else is said is Classification's.

    A batch is cut to its longest text, and the net is told what is padding.

    Args:
        net: Makes a module: tokens int64 [b, t] and attention_mask=int64 [b, t], 0 at padding -> logits
            [b, num_classes], or what transformers' models return, which holds them as `.logits`.
        inputs: Column of the tokens [n, length]; short texts end in -1.
    """

    inputs: str | tuple[str, ...] = "text"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(isinstance(self.inputs, str), "TextClassification.inputs", self.inputs, "must name one column")
        own = getattr(self.net, "num_labels", None)
        accepted = f"must be the net's num_labels={own}: set both to the number of classes"
        require(own in (None, self.num_classes), "TextClassification.num_classes", self.num_classes, accepted)

    def called(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Give the model the texts, and what of them is padding."""
        return logits_of(model, trimmed(inputs))

    def check(self, columns: Mapping[str, Tensor], where: str) -> Tensor:
        """Which rows can be learned from; bool [n].

        Raises: DataError for a missing column, one that holds no rows of tokens, tokens that the net does not know, and
            what Classification refuses.
        """
        check_tokens(columns, str(self.inputs), where, getattr(self.net, "vocab_size", None))
        return super().check(columns, where)
