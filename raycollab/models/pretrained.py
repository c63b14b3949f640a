"""A net that starts from weights in a file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from raycollab.errors import ModelError
from raycollab.models.base import Model
from raycollab.places import candidates, remedy
from raycollab.settings import require

_MAX_NAMES = 5
_COUNTER = "num_batches_tracked"  # of BatchNorm, which files of other programs often lack


@dataclass(frozen=True)
class Pretrained(Model):
    """Another model, whose weights come from a safetensors file; names stay the net's own.

    Every host reads the file, so it must be there on every node. Nothing is ever unpickled.

    Args:
        net: The net itself.
        path: The file; a relative one that does not exist is also looked for under $RAYCOLLAB_DATA.
        fresh: Shell patterns over names of parameters and buffers that keep their initial values, such as a head for
            other classes: ("linear.*",). What the file holds under such names is not looked at.
    Raises: ModelError where it is built: the file is not there or damaged, a pattern matches nothing, or names or
        shapes are not those of the net.
    """

    net: Model
    path: str
    fresh: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "fresh", tuple(self.fresh))
        require(
            isinstance(self.net, Model), "Pretrained.net", self.net, "must be a recipe such as rc.models.ResNet(10)"
        )
        accepted = (
            "must name a .safetensors file; a pickle is not loaded: write its tensors with safetensors.torch.save_file"
        )
        require(self.path.endswith(".safetensors"), "Pretrained.path", self.path, accepted)

    @property
    def num_outputs(self) -> int:
        """The net's own."""
        return self.net.num_outputs  # type: ignore[attr-defined, no-any-return]

    def build(self) -> nn.Module:
        """Make the module and put the weights in."""
        module = self.net.build()
        where = next((place for place in candidates(self.path) if os.path.isfile(place)), None)
        if where is None:
            tried = ", ".join(candidates(self.path))
            raise ModelError(f"Pretrained.path={self.path!r}: no file there; tried: {tried}. {remedy('the file')}")
        try:
            weights = load_file(where)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{where}: cannot be read as safetensors: {error}; copy the file again") from error
        self._copy(module.state_dict(), weights, where)
        return module

    def _copy(self, state: Mapping[str, Tensor], weights: Mapping[str, Tensor], where: str) -> None:
        """Fill the tensors of a module [name by name].

        Raises: ModelError for what does not fit.
        """
        for pattern in self.fresh:
            if not any(fnmatchcase(name, pattern) for name in state):
                raise ModelError(
                    f"Pretrained.fresh: {pattern!r} matches nothing of the net; it has: {', '.join(state)}"
                )
        wanted, held = ({name: each[name] for name in each if not self._is_fresh(name)} for each in (state, weights))
        tied = {wanted[name].data_ptr() for name in held if name in wanted}  # a file stores tied weights once
        missing = [
            name for name in wanted
            if name not in held and not name.endswith(_COUNTER) and wanted[name].data_ptr() not in tied
        ]  # fmt: skip
        shapes = [
            f"{name} of {list(held[name].shape)} for {list(wanted[name].shape)}" for name in held
            if name in wanted and held[name].shape != wanted[name].shape
        ]  # fmt: skip
        found = {
            "missing": missing,
            "unexpected": [name for name in held if name not in wanted],
            "other shapes": shapes,
        }
        differs = [f"{what}: {_listed(names)}" for what, names in found.items() if names]
        if differs:
            raise ModelError(
                f"{where}: its weights are not those of the net; {'; '.join(differs)}; take the net that they were "
                f"trained with, or name what shall start anew in fresh="
            )
        with torch.no_grad():
            for name, tensor in held.items():
                wanted[name].copy_(tensor)

    def _is_fresh(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.fresh)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more
