"""What tasks have in common that give one net one tensor of each batch."""

from torch import Tensor, nn

from raycollab.models.base import Model
from raycollab.task import Task
from raycollab.tasks.features import head_inputs
from raycollab.tasks.inputs import names_of, taken
from raycollab.types import Batch


class OneNet(Task):
    """A task with a net and the columns that it is given.

    Attributes:
        net: Makes the module.
        inputs: Column that it is given, or several, which it is given beside each other as floats [b, k].
    """

    net: Model
    inputs: str | tuple[str, ...]

    def model(self) -> nn.Module:
        """Build the model."""
        return self.net.build()

    def outputs(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """What the model makes of inputs [b, ...]."""
        return model(inputs)  # type: ignore[no-any-return]

    def inputs_of(self, batch: Batch) -> Tensor:
        """What the module is given: one column as it is, or several beside each other."""
        return taken(batch, self.inputs)

    def features(self, model: nn.Module, batch: Batch) -> Tensor:
        """What goes into the last nn.Linear of the model [b, f]."""
        with head_inputs(model) as seen:
            self.outputs(model, self.inputs_of(batch))
        return seen()

    def loss_and_features(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Both, of one forward pass."""
        with head_inputs(model) as seen:
            loss = self.loss(model, batch)
        return loss, seen()

    def count(self, batch: Batch) -> int:
        """Number of examples."""
        return len(batch[names_of(self.inputs)[0]])
