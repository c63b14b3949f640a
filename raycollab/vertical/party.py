"""What a party of a vertical run brings: some columns of people that the others know as well."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from raycollab.data import Source
from raycollab.errors import ConfigError
from raycollab.models import Model
from raycollab.optimizers import check_name, make_optimizer
from raycollab.settings import Settings, require, require_one_of

_NAME = re.compile(r"[A-Za-z0-9]([\w\-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Party(Settings):
    """A party with columns of its own. A value: nothing is opened before the party runs on its own node.

    Args:
        name: Unique in a run; letters, digits, "-" and "_".
        source: Where its rows are.
        id: Column of ids, whole numbers or texts, by which its rows are found at the other parties; it never leaves.
        salt: File with the salt, on its node: see rc.vertical.new_salt.
        net: Its part of the net: what it makes of its columns leaves, [b, w] or tokens [b, t, w]. None for a party that
            has labels alone.
        inputs: Column that its net is given, or several, which it is given beside each other as floats [b, k].
        label: Column of labels, at the one party that has them; it never leaves.
        optimizer: Class in torch.optim that its part learns by; at the party with labels also the fusion and the head.
        args: Its arguments.
        bad_rows: "error" refuses a NaN or infinity among the inputs, "drop" leaves such rows out and counts them.
    """

    name: str
    source: Source
    id: str
    salt: str
    net: Model | None = None
    inputs: str | tuple[str, ...] = "features"
    label: str | None = None
    optimizer: str = "AdamW"
    args: Mapping[str, Any] = field(default_factory=lambda: {"lr": 1e-3})
    bad_rows: str = "error"

    def __post_init__(self) -> None:
        if not isinstance(self.inputs, str):
            object.__setattr__(self, "inputs", tuple(self.inputs))
        good = bool(_NAME.fullmatch(self.name)) and not hasattr(nn.ModuleDict, self.name)
        accepted = "must be letters, digits, '-' and '_', up to 63, no '-' or '_' at an end, and no word of torch's own"
        require(good, "Party.name", self.name, accepted)
        for name, kind in (("source", Source), ("net", Model | None)):
            if not isinstance(getattr(self, name), kind):
                wanted = "a Source" if name == "source" else "a recipe such as rc.models.MLP(8, 16), or None"
                raise ConfigError(f"Party({self.name!r}).{name}={getattr(self, name)!r}: must be {wanted}")
        require(bool(self.id), "Party.id", self.id, "must name the column of ids")
        require(bool(self.salt), "Party.salt", self.salt, "must be a file on its node: see rc.vertical.new_salt")
        require(bool(self.inputs), "Party.inputs", self.inputs, "must name a column")
        brings = self.net is not None or self.label is not None
        require(brings, f"Party({self.name!r}).net", None, "must be given, unless the party has the labels")
        require_one_of("Party.bad_rows", self.bad_rows, ("error", "drop"))
        used = {self.id, *([self.label] if self.label else [])} & {*self.columns}
        accepted = "must not name the column of ids or of labels, which never leave"
        require(not used, f"Party({self.name!r}).inputs", self.inputs, accepted)
        check_name(self.optimizer, "Party.optimizer")
        self.optimizer_of([torch.zeros(1, 1, requires_grad=True)])

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that its net is given."""
        return (self.inputs,) if isinstance(self.inputs, str) else self.inputs

    def optimizer_of(self, tensors: Sequence[torch.Tensor]) -> torch.optim.Optimizer:
        """Make its optimizer over these tensors.

        Raises: ConfigError for arguments that it does not take.
        """
        return make_optimizer("Party", self.optimizer, self.args, tensors)
