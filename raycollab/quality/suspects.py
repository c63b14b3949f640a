"""Which labels of a shard are likely wrong, if its inputs can tell."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.misfit import input_names
from raycollab.quality.confident import NUM_NEIGHBOURS, label_errors, out_of_sample
from raycollab.quality.neighbours import features
from raycollab.task import Task

_LEAST_AGREEMENT = (
    0.6  # "substantial" (Landis and Koch, 1977); below, unlike labels are the rule, and no sign of an error
)


@dataclass(frozen=True)
class Suspects:
    """What was found.

    Args:
        places: Which labels are likely wrong: bool [n].
        agreement: Cohen's kappa between labels and what the neighbours of their examples say: 1 if all are the same, 0
            if no more are than by chance.
        judged: Whether anything can be said: below 0.6 the inputs do not tell labels apart, and none is suspected.
    """

    places: Tensor
    agreement: float
    judged: bool


def find_suspects(columns: Mapping[str, Tensor], task: Task) -> Suspects:
    """Look for labels that examples alike do not share; tasks without classes, and tiny shards, are not judged."""
    label, num_classes = getattr(task, "label", None), getattr(task, "num_classes", None)
    nothing = Suspects(torch.zeros(len(next(iter(columns.values()))), dtype=torch.bool), float("nan"), False)
    if not isinstance(label, str) or not isinstance(num_classes, int) or label not in columns:
        return nothing
    labels = columns[label].cpu().long()
    points = features({name: column.cpu() for name, column in inputs_of(columns, task).items()})
    if labels.ndim != 1 or len(labels) <= NUM_NEIGHBOURS or not points.shape[1]:
        return nothing
    if bool(((labels < 0) | (labels >= num_classes)).any()):
        return nothing
    probabilities = out_of_sample(points, labels, num_classes)
    agreement = _kappa(labels, probabilities.argmax(1), num_classes)
    if not agreement >= _LEAST_AGREEMENT:
        return Suspects(nothing.places, agreement, False)
    return Suspects(label_errors(probabilities, labels), agreement, True)


def _kappa(labels: Tensor, others: Tensor, num_classes: int) -> float:
    """Agreement beyond chance; nan if there is one label only."""
    shares = [each.bincount(minlength=num_classes) / len(labels) for each in (labels, others)]
    chance = float((shares[0] * shares[1]).sum())
    same = float((labels == others).float().mean())
    return (same - chance) / (1 - chance) if chance < 1 else float("nan")


def inputs_of(columns: Mapping[str, Tensor], task: Task) -> dict[str, Tensor]:
    """The columns that the task's model is given: those that it names, or all but its label."""
    names = input_names(task)
    if names and all(name in columns for name in names):
        return {name: columns[name] for name in names}
    return {key: column for key, column in columns.items() if key != getattr(task, "label", None)}
