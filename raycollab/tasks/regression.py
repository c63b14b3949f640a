"""Regression: predict one number of each example, or several."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from raycollab.data import LABEL, WEIGHT
from raycollab.errors import DataError, ModelError
from raycollab.metrics import Average, Residuals, Statistics
from raycollab.models.base import Model
from raycollab.settings import require, require_one_of
from raycollab.spec import ParamSpec
from raycollab.task import Fingerprint
from raycollab.tasks.inputs import check_names, finite_rows, names_of
from raycollab.tasks.one_net import OneNet
from raycollab.types import Batch

_ERRORS: dict[str, Callable[..., Tensor]] = {
    "mse": functional.mse_loss,
    "mae": functional.l1_loss,
    "huber": functional.huber_loss,
}


@dataclass(frozen=True)
class Regression(OneNet):
    """Squared, absolute or Huber's error; MSE, RMSE, MAE and R2 in the targets' own units.

    The net predicts (target - mean) / deviation, and that is where the loss is taken; predictions are scaled back.

    Args:
        net: Makes a module: inputs [b, ...] -> [b, 1] for targets [n], [b, k] for targets [n, k].
        inputs: Column that the module is given, or several, which it is given beside each other as floats [b, k].
        label: Column of targets [n] or [n, k], floats or whole numbers.
        error: "mse", "mae" or "huber", which is squared up to 1 and absolute beyond.
        mean: Of the targets: one for all, or one for each of k.
        deviation: Of the targets, > 0, likewise.
        bad_rows: "error" refuses a shard with a NaN or infinity among inputs or targets, "drop" leaves such rows out
            and counts them.
    """

    net: Model
    inputs: str | tuple[str, ...] = "features"
    label: str = LABEL
    error: str = "mse"
    mean: float | tuple[float, ...] = 0.0
    deviation: float | tuple[float, ...] = 1.0
    bad_rows: str = "error"

    primary = ("rmse", False)

    def __post_init__(self) -> None:
        kind = type(self).__name__
        for name in ("inputs", "mean", "deviation"):
            held = getattr(self, name)
            object.__setattr__(self, name, tuple(held) if isinstance(held, list) else held)
        accepted = "must be a recipe such as rc.models.MLP(64, 1) or rc.models.Module('package.module:Name')"
        require(isinstance(self.net, Model), f"{kind}.net", self.net, accepted)
        require(bool(self.inputs), f"{kind}.inputs", self.inputs, "must name a column")
        require(self.error in _ERRORS, f"{kind}.error", self.error, f"must be one of {tuple(_ERRORS)}")
        good = len(_each(self.mean)) == len(_each(self.deviation)) >= 1 and min(_each(self.deviation)) > 0
        require(good, f"{kind}.deviation", self.deviation, f"must be > 0, and as many as mean={self.mean}")
        require_one_of(f"{kind}.bad_rows", self.bad_rows, ("error", "drop"))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean error over a batch, of examples times their weights if they have any []."""
        return self.losses(model(self.inputs_of(batch)), batch).mean()

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Error of each example, the mean over its targets, times its weight if it has one [b]."""
        targets = batch[self.label].float()
        scaled = (targets - _row(self.mean, targets)) / _row(self.deviation, targets)
        errors = _ERRORS[self.error](_fitted(outputs, targets), scaled, reduction="none")
        losses = errors.reshape(len(errors), -1).mean(1)
        return losses * batch[WEIGHT] if WEIGHT in batch else losses

    def statistics(self, model: nn.Module, batch: Batch) -> Statistics:
        """Loss, and errors in the targets' own units."""
        outputs, targets = model(self.inputs_of(batch)).float(), batch[self.label].float()
        unweighted = {name: column for name, column in batch.items() if name != WEIGHT}
        total = self.losses(outputs, unweighted).sum().item()
        predictions = self._unscaled(_fitted(outputs, targets))
        parts = {"loss": Average("loss", total, len(targets)), "residuals": Residuals.of(targets, predictions)}
        return Statistics.of(parts)

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Column "prediction" [b], or [b, k] for several targets, in their own units."""
        outputs = model(self.inputs_of(batch)).float()
        one = outputs.ndim == 2 and outputs.shape[1] == 1
        return {"prediction": self._unscaled(outputs[:, 0] if one else outputs)}

    def fingerprint(self, spec: ParamSpec) -> Fingerprint:
        """Loss, metrics and exchanged names."""
        loss = f"{self.error}(mean={list(_each(self.mean))}, deviation={list(_each(self.deviation))})"
        exchanged = tuple((entry.name, entry.shape) for entry in spec.params)
        return Fingerprint(loss, ("loss", "mse", "rmse", "mae", "r2"), exchanged)

    def check(self, columns: Mapping[str, Tensor], where: str) -> Tensor:
        """Which rows can be learned from: those with finite inputs and targets; bool [n].

        Raises: DataError for a missing column, targets of another form, or bad rows if `bad_rows` is "error".
        """
        names = (*names_of(self.inputs), self.label)
        check_names(columns, names, where)
        targets, given = columns[self.label], len(_each(self.mean))
        if targets.ndim not in (1, 2) or targets.dtype == torch.bool:
            kind = str(targets.dtype).removeprefix("torch.")
            raise DataError(
                f"{where}: column {self.label!r} holds {kind} of shape {list(targets.shape)}; targets are one number a "
                f"row [n], or k of them [n, k]"
            )
        if given not in (1, prod(targets.shape[1:])):
            raise DataError(
                f"{where}: column {self.label!r} holds {prod(targets.shape[1:])} targets a row, and mean and deviation "
                f"{given}; give one for all, or one for each"
            )
        return finite_rows(columns, names, where, self.bad_rows)

    def coverage(self, columns: Mapping[str, Tensor]) -> str:
        """The range of the targets."""
        targets = columns[self.label]
        return f"targets {float(targets.min()):g} to {float(targets.max()):g}" if len(targets) else ""

    def _unscaled(self, outputs: Tensor) -> Tensor:
        return outputs * _row(self.deviation, outputs) + _row(self.mean, outputs)


def _each(values: float | tuple[float, ...]) -> tuple[float, ...]:
    return values if isinstance(values, tuple) else (values,)


def _row(values: float | tuple[float, ...], like: Tensor) -> Tensor:
    """As a tensor that applies to all targets, or [k]."""
    row = torch.tensor(_each(values), dtype=torch.float32, device=like.device)
    return row[0] if len(row) == 1 else row


def _fitted(outputs: Tensor, targets: Tensor) -> Tensor:
    """Outputs in the form of the targets: [b, 1] is [b].

    Raises: ModelError if they are of another.
    """
    one = targets.ndim == 1 and outputs.ndim == 2 and outputs.shape[1] == 1
    if not one and outputs.shape != targets.shape:
        raise ModelError(
            f"the model's output has shape {list(outputs.shape)}; targets of shape {list(targets.shape)} need "
            f"{[len(targets), 1] if targets.ndim == 1 else list(targets.shape)}"
        )
    return outputs[:, 0] if one else outputs
