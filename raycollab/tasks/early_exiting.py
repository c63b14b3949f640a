"""Classification by the first exit that is sure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from raycollab.errors import ConfigError
from raycollab.metrics import Average, Statistics
from raycollab.models import EarlyExits, WithExits, Wrapper
from raycollab.settings import require
from raycollab.spec import ParamSpec
from raycollab.task import Fingerprint
from raycollab.tasks.classification import Classification
from raycollab.tasks.wrapper import TaskWrapper
from raycollab.types import Batch


@dataclass(frozen=True)
class EarlyExiting(TaskWrapper):
    """Another classification, learned at every exit of its net, in which the first exit that is sure enough decides.

    The loss is the sum over exits of weight times the task's. Metrics are those of the decisions, with the accuracy of
    every exit by itself and the mean share of the net's parts that are run, `share_run`.

    Args:
        task: Its net is an EarlyExits.
        threshold: Probability of the likeliest class from which on an exit decides, in (0, 1]; 1 asks the last one.
        weights: Of the exits from the front to the end; empty gives each 1. Agents with fewer exits use the first.
        distil: Weight of the mean divergence of each exit from every other one's probabilities, which stay as they are.
    Source: Teerapittayanon et al., BranchyNet, ICPR 2016, arXiv 1709.01686, section III, with the probability in the
        place of the entropy; distil is DepthFL's, Kim et al., ICLR 2023, equation 2, which has it grow over the rounds.
    """

    task: Classification
    threshold: float = 0.9
    weights: tuple[float, ...] = ()
    distil: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "weights", tuple(self.weights))
        accepted = "must be a Classification such as ImageClassification(EarlyExits(...), 10)"
        require(isinstance(self.task, Classification), "EarlyExiting.task", self.task, accepted)
        net = self._net
        require(0 < self.threshold <= 1, "EarlyExiting.threshold", self.threshold, "must be in (0, 1]")
        require(self.distil >= 0, "EarlyExiting.distil", self.distil, "must be >= 0")
        count = len(net.after) + 1
        fits = not self.weights or (len(self.weights) == count and min(self.weights) >= 0 < self.weights[0])
        accepted = f"must be {count} numbers >= 0, the first > 0: of exits {', '.join(net.after)} and the end"
        require(fits, "EarlyExiting.weights", self.weights, accepted)

    @property
    def _net(self) -> EarlyExits:
        """The recipe that has the exits, perhaps inside of others.

        Raises: ConfigError if there is none.
        """
        net = self.task.net
        while isinstance(net, Wrapper) and not isinstance(net, EarlyExits):
            net = net.net
        if not isinstance(net, EarlyExits):
            accepted = "must be EarlyExits(NET, after=('3',)), which puts the exits in"
            raise ConfigError(f"EarlyExiting.task.net={self.task.net!r}: {accepted}")
        return net

    @property
    def tells_losses(self) -> bool:
        """Not of one tensor of outputs."""
        return False

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The weighted sum of the exits' losses []."""
        made = model(self.task.shown(model, batch), every=True)
        weights = self.weights or (1.0,) * len(made)
        losses = [self.task.losses(logits, batch).mean() * w for logits, w in zip(made, weights, strict=False) if w]
        total = torch.stack(losses).sum()
        return total + self.distil * _divergence(made) if self.distil and len(made) > 1 else total

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Those of the exit that decides on each example [b, num_classes]."""
        return self._decided(list(self._made(model, batch).values()))[0]

    def statistics(self, model: nn.Module, batch: Batch) -> Statistics:
        """Those of the decisions, the accuracy of each exit, and how much of the net is run."""
        made, labels = self._made(model, batch), batch[self.task.label].long()
        logits, places = self._decided(list(made.values()))
        parts = dict(self.task.scored(logits, batch).parts)
        for name, own in made.items():
            metric = f"accuracy_of_exit[{name}]"
            parts[metric] = Average(metric, int((own.argmax(1) == labels).sum()), len(labels))
        shares = cast(WithExits, model).shares
        run = torch.tensor(list(shares.values()))[places.cpu()].double().sum().item()
        parts["share_run"] = Average("share_run", run, len(labels))
        return Statistics.of(parts)

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Columns "prediction" [b], "probability" [b], and "exit" [b], the number of the exit that decided, from 0."""
        logits, places = self._decided(list(self._made(model, batch).values()))
        probability, prediction = logits.softmax(1).max(1)
        return {"prediction": prediction, "probability": probability, "exit": places}

    def fingerprint(self, spec: ParamSpec) -> Fingerprint:
        """The task's, with the weights of exits in its loss."""
        own = self.task.fingerprint(spec)
        weights = f", weights {self.weights}" if self.weights else ""
        distilled = f", distilled {self.distil:g}" if self.distil else ""
        metrics = (*own.metrics, "accuracy_of_exit", "share_run")
        return replace(own, loss=f"{own.loss} at every exit{weights}{distilled}", metrics=metrics)

    def _made(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The logits of each exit that there is, by its name."""
        made = model(self.task.inputs_of(batch), every=True)
        return dict(zip(cast(WithExits, model).shares, (logits.float() for logits in made), strict=True))

    def _decided(self, made: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The logits of the first exit that is sure [b, c], or of the last, and the number of that exit [b]."""
        each = torch.stack(list(made))  # [exits, b, c]
        sure = (each.softmax(2).amax(2) >= self.threshold) & (self.threshold < 1)  # 1 may be rounded
        sure[-1] = True
        places = sure.int().argmax(0)
        return each[places, torch.arange(len(places), device=places.device)], places


def _divergence(made: Sequence[Tensor]) -> Tensor:
    """Mean over pairs of exits of the divergence of one's probabilities from the other's, which stay as they are []."""
    logs = [logits.log_softmax(1) for logits in made]
    pairs = [(one, other) for one in logs for other in logs if one is not other]
    terms = [functional.kl_div(one, other.detach(), reduction="batchmean", log_target=True) for one, other in pairs]
    return torch.stack(terms).mean()
