"""What tasks have in common that predict tokens: one cross-entropy a token, and what follows from it."""

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional

from raycollab.data.token_rows import UNLABELLED
from raycollab.errors import ModelError
from raycollab.metrics import Average, Perplexity, Statistics
from raycollab.models.base import Model
from raycollab.spec import ParamSpec
from raycollab.task import Fingerprint, Task
from raycollab.types import Batch


class TokenPrediction(Task):
    """Cross-entropy of each token that is to be predicted; perplexity and accuracy."""

    net: Model
    metrics: ClassVar[tuple[str, ...]] = ("loss", "perplexity", "accuracy")

    @abstractmethod
    def predicted(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits [b, t, c], and what is right [b, t]: -100 where nothing is to be predicted."""

    @property
    @abstractmethod
    def loss_name(self) -> str:
        """What parties approve as the loss."""

    def model(self) -> nn.Module:
        """Build the model."""
        return self.net.build()

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy of a token []."""
        logits, targets = self.predicted(model, batch)
        return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())

    def statistics(self, model: nn.Module, batch: Batch) -> Statistics:
        """Sums over the predicted tokens."""
        logits, targets = self.predicted(model, batch)
        total = functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="sum").item()
        num_tokens = int((targets != UNLABELLED).sum())
        return Statistics.of(self.parts(total, int((logits.argmax(2) == targets).sum()), num_tokens))

    def parts(self, total: float, right: int, num_tokens: int) -> dict[str, Any]:
        """Statistics of so many tokens: the sum of their losses, and how many of them are likeliest."""
        return {
            "loss": Average("loss", total, num_tokens),
            "perplexity": Perplexity(total, num_tokens),
            "accuracy": Average("accuracy", right, num_tokens),
        }

    def fingerprint(self, spec: ParamSpec) -> Fingerprint:
        """Loss, metrics and exchanged names."""
        return Fingerprint(self.loss_name, self.metrics, tuple((entry.name, entry.shape) for entry in spec.params))


def check_logits(logits: Tensor, targets: Tensor, width: int | None, setting: str) -> None:
    """Raise ModelError unless there are logits for each target, and as many as a setting says or more."""
    wide = logits.shape[-1] if width is None else width
    if logits.ndim != 3 or logits.shape[:2] != targets.shape or logits.shape[2] < wide:
        raise ModelError(
            f"the model's output has shape {list(logits.shape)}; {setting} needs "
            f"[{', '.join(map(str, targets.shape))}, {wide}] or wider"
        )
