"""BatchNorm of the agent's own."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice

from torch import nn

from raycollab.adapt.action import Scene
from raycollab.adapt.batch_norm import norm_layers, refresh
from raycollab.adapt.keeping import Keeping
from raycollab.errors import ModelError
from raycollab.own_model import OWN
from raycollab.settings import require
from raycollab.types import State


@dataclass(frozen=True)
class RefreshNorm(Keeping):
    """Takes BatchNorm's statistics anew from the agent's data, and keeps them, with scale and shift, to the agent.

    It is for inputs that have changed: another sensor's gain, blur or noise. Where these layers are private already,
    only their statistics are taken anew.

    Args:
        batches: Batches that the statistics are taken from, at most.
        batch_size: Examples of each.
        affine: Whether scale and shift become the agent's own as well.
    Raises: ModelError for a model without BatchNorm's statistics.
    Source: Li et al., ICLR 2021, arXiv 2102.07623 (FedBN), begun only once it is needed; Li et al., 2016, arXiv
        1603.04779 (AdaBN) for the statistics.
    """

    batches: int = 8
    batch_size: int = 64
    affine: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.batches >= 1, "RefreshNorm.batches", self.batches, "must be >= 1")
        require(self.batch_size >= 2, "RefreshNorm.batch_size", self.batch_size, "must be >= 2: one has no variance")

    def check_model(self, module: nn.Module) -> None:
        """Raise ModelError for a model without BatchNorm's statistics."""
        norm_layers(module, "RefreshNorm")

    def names(self, scene: Scene) -> Collection[str]:
        """Statistics, and scale and shift, of all these layers, as far as they are exchanged."""
        model = scene.problem.model
        layers = norm_layers(model.module, "RefreshNorm")
        exchanged = [entry.name for entry in (*model.spec.params, *model.spec.buffers)]
        wanted = {f"{layer}.{part}" for layer, norm in layers.items() for part in self._parts(norm)}
        return [name for name in exchanged if name in wanted]

    def _parts(self, layer: object) -> list[str]:
        learned = [name for name in ("weight", "bias") if getattr(layer, name, None) is not None]
        return ["running_mean", "running_var", *(learned if self.affine else [])]

    def begin(self, scene: Scene) -> State:
        """Take the statistics, then keep them."""
        problem = scene.problem
        model = problem.model
        layers = norm_layers(model.module, "RefreshNorm").values()
        size = min(self.batch_size, problem.shard.num_examples("train"))
        if size < 2:
            raise ModelError(f"agent {problem.agent!r}: RefreshNorm needs two examples or more to take statistics from")
        drawn = problem.batches(scene.round, batch_size=size, epochs=1, drop_last=True)
        some = islice(drawn, self.batches)
        refresh(model.module, layers, some, lambda batch: problem.task.predict(model.module, batch))
        return super().begin(scene)

    def detail(self, own: State) -> str:
        """In short: there are many layers."""
        return f"BatchNorm taken anew, {len(own[OWN])} of its tensors kept"
