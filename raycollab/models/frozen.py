"""A net of which parts do not learn."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from raycollab.errors import ModelError
from raycollab.models.base import Model
from raycollab.settings import require


@dataclass(frozen=True)
class Frozen(Model):
    """Another model, whose parameters of some names stay as they are: no gradient, no optimizer, nothing on the wire.

    Names stay the net's own. Initial values that are not loaded come from torch's seed, the same for all agents.

    Args:
        net: The net itself.
        patterns: Shell patterns over names of parameters, such as ("*",) without ("linear.*",): see `but`.
        but: Patterns of those that learn all the same: Frozen(net, ("*",), but=("linear.*",)) trains a head alone.
        fixed_norms: A BatchNorm whose parameters are all frozen normalizes by its running statistics in training, too,
            and leaves them as they are; else it goes on with each batch's own and updates the running ones.
    Raises: ModelError where it is built, for a pattern that matches no parameter, or if nothing is left to learn.
    """

    net: Model
    patterns: tuple[str, ...]
    but: tuple[str, ...] = ()
    fixed_norms: bool = True

    def __post_init__(self) -> None:
        for name in ("patterns", "but"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        require(isinstance(self.net, Model), "Frozen.net", self.net, "must be a recipe such as rc.models.ResNet(10)")
        require(
            bool(self.patterns), "Frozen.patterns", self.patterns, "must name what is frozen, such as ('layer1.*',)"
        )

    @property
    def num_outputs(self) -> int:
        """The net's own."""
        return self.net.num_outputs  # type: ignore[attr-defined, no-any-return]

    def build(self) -> nn.Module:
        """Make the module, and freeze."""
        module = self.net.build()
        parameters = dict(module.named_parameters())
        for pattern in (*self.patterns, *self.but):
            if not any(fnmatchcase(name, pattern) for name in parameters):
                raise ModelError(
                    f"Frozen: {pattern!r} matches no parameter of the net; it has: {', '.join(parameters)}"
                )
        for name, parameter in parameters.items():
            if _matches(name, self.patterns) and not _matches(name, self.but):
                parameter.requires_grad_(False)
        if not any(parameter.requires_grad for parameter in parameters.values()):
            raise ModelError(f"Frozen.patterns={self.patterns}: nothing is left to learn; name what learns in but=")
        if self.fixed_norms:
            fix_norms(module)
        return module


def fix_norms(module: nn.Module) -> None:
    """Let BatchNorms whose parameters are all frozen normalize by their running statistics, and keep those."""
    for norm in _frozen_norms(module):
        norm.register_forward_pre_hook(_evaluated)


def is_fixed(norm: nn.Module) -> bool:
    """Whether a BatchNorm was told to normalize by its running statistics whatever the mode."""
    return _evaluated in norm._forward_pre_hooks.values()


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _frozen_norms(module: nn.Module) -> Iterator[nn.Module]:
    for each in module.modules():
        own = list(each.parameters())
        if isinstance(each, _BatchNorm) and own and not any(parameter.requires_grad for parameter in own):
            yield each


def _evaluated(norm: nn.Module, given: object) -> None:
    """Before every forward pass, because who trains the net puts all of it into training mode."""
    del given
    norm.eval()
