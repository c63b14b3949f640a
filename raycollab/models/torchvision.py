"""Models of torchvision, by name."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from torch import nn

from raycollab.errors import ModelError
from raycollab.models.base import Model
from raycollab.settings import require

_OTHER_TARGETS = ("maskrcnn", "keypointrcnn")  # learn masks or keypoints, which no task here gives
_PLAIN = {"aux_logits": False, "init_weights": True}  # one output in training, too; and no warning
_ARGUMENTS: dict[str, dict[str, Any]] = {"googlenet": _PLAIN, "inception_v3": _PLAIN}


@dataclass(frozen=True)
class Torchvision(Model):
    """A classification or detection model of torchvision with fresh weights; nothing is downloaded.

    `Pretrained(Torchvision("resnet18", 10), "resnet18.safetensors", fresh=("fc.*",))` starts from weights in a file.

    Args:
        name: As torchvision.models.list_models() prints it, such as "resnet18" or "fasterrcnn_resnet50_fpn".
        num_outputs: Width of the last layer: the classes, and one more for the background in a detection model.
        args: Further plain arguments of torchvision's function, such as {"min_size": 128}.
    Shapes: images [b, 3, h, w] -> [b, num_outputs]; detection: a list of [3, h, w] -> what torchvision says.
    Raises: ModelError where it is built, for a name that torchvision does not have, or arguments that it does not take.
    """

    name: str
    num_outputs: int
    args: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(bool(self.name), "Torchvision.name", self.name, "must name a model, such as 'resnet18'")
        require(self.num_outputs >= 1, "Torchvision.num_outputs", self.num_outputs, "must be >= 1")

    def build(self) -> nn.Module:
        """Make the module."""
        models = import_module("torchvision.models")  # a second that other models need not pay
        detection = [
            name for name in models.list_models(module=models.detection) if not name.startswith(_OTHER_TARGETS)
        ]
        known = [*models.list_models(module=models), *detection]
        if self.name not in known:
            raise ModelError(self._refusal(known))
        given = {"weights": None, "num_classes": self.num_outputs, **_ARGUMENTS.get(self.name, {})}
        given |= {"weights_backbone": None} if self.name in detection else {}
        try:
            module: nn.Module = models.get_model(self.name, **{**given, **self.args})
        except (TypeError, ValueError) as error:
            raise ModelError(f"Torchvision({self.name!r}).args={dict(self.args)}: {error}") from error
        return module

    def _refusal(self, known: list[str]) -> str:
        near = difflib.get_close_matches(self.name.lower(), known, n=5, cutoff=0.4)
        hint = f"near it are: {', '.join(near)}" if near else f"there are {len(known)}, such as resnet18 and vit_b_16"
        return (
            f"Torchvision.name={self.name!r}: torchvision has no classification or detection model of this name; "
            f"{hint}; torchvision.models.list_models() prints all"
        )
