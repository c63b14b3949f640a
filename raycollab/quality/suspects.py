"""Which labels of a shard are likely wrong, if its inputs can tell."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.labels import EXAMPLES, Labels
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
        unjudged: Why nothing can be said, and none is suspected; empty if something can. Below 0.6 the inputs do not
            tell labels apart.
    """

    places: Tensor
    agreement: float = float("nan")
    unjudged: str = ""


def find_suspects(columns: Mapping[str, Tensor], task: Task) -> Suspects:
    """Look for labels that examples alike do not share, where each example has one."""
    nobody = torch.zeros(len(next(iter(columns.values()))), dtype=torch.bool)
    held = task.count_labels(columns)
    if reason := _unfit(held, len(nobody)):
        return Suspects(nobody, unjudged=reason)
    points = features({name: column.cpu() for name, column in inputs_of(columns, task).items()})
    if not points.shape[1]:
        return Suspects(nobody, unjudged="the inputs hold no numbers, names or texts that could be alike")
    labels, num_labels = columns[getattr(task, "label", "")].cpu().long() - held.first, len(held.counts)
    probabilities = out_of_sample(points, labels, num_labels)
    agreement = _kappa(labels, probabilities.argmax(1), num_labels)
    if not agreement >= _LEAST_AGREEMENT:
        only = sum(count > 0 for count in held.counts) == 1
        reason = "all are the same" if only else "examples alike do not share them"
        return Suspects(nobody, agreement, reason)
    return Suspects(label_errors(probabilities, labels), agreement)


def _unfit(held: Labels, num_examples: int) -> str:
    """Why examples of this kind are not compared; empty if they may be."""
    if not held.counts:
        return "the task has none"
    if held.of != EXAMPLES:
        return "only examples with one label each are compared"
    if held.unknown:
        return "some of them are none of the task's"
    if num_examples <= NUM_NEIGHBOURS:
        return f"an example is compared with {NUM_NEIGHBOURS} others, and there are fewer"
    return ""


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
