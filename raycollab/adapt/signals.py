"""What is watched of examples: numbers that a model makes of them, or the examples themselves."""

import torch
from torch import Tensor, nn

from raycollab.settings import require
from raycollab.task import Task
from raycollab.tasks.one_net import OneNet
from raycollab.types import Batch

SIGNALS = ("inputs", "features", "predictions", "loss")


def check_signal(setting: str, signal: str) -> None:
    """Raise ConfigError for what nobody can watch."""
    require(signal in SIGNALS, setting, signal, f"must be one of {', '.join(SIGNALS)}")


def observed(signal: str, task: Task, module: nn.Module, batch: Batch) -> Tensor:
    """What is watched of each example, in evaluation mode and without gradients: float [n, f].

    Args:
        signal: "inputs", what the module is called with; "features", what goes into its last layer; "predictions", the
            probabilities of classes; "loss", one number.
        task: Says what that is.
        module: The model.
        batch: The examples.
    Raises: ModelError if the task does not say what that is.
    """
    was_training = module.training
    module.eval()
    with torch.no_grad():
        values = _OF[signal](task, module, batch)
    module.train(was_training)
    return values.float().flatten(1)


def _losses(task: Task, module: nn.Module, batch: Batch) -> Tensor:
    if task.tells_losses and isinstance(task, OneNet):
        return task.losses(task.outputs(module, task.inputs_of(batch)), batch)[:, None]
    count = len(next(iter(batch.values())))
    one_by_one = [{name: column[row : row + 1] for name, column in batch.items()} for row in range(count)]
    return torch.stack([task.loss(module, example) for example in one_by_one])[:, None]


_OF = {
    "inputs": lambda task, module, batch: task.inputs_of(batch),
    "features": lambda task, module, batch: task.features(module, batch),
    "predictions": lambda task, module, batch: task.logits(module, batch).softmax(1),
    "loss": _losses,
}
