"""FedBN: normalisation layers of each agent's own."""

from torch import nn

from raycollab.errors import ModelError
from raycollab.params import Exchange
from raycollab.task import Task

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def fed_bn(task: Task) -> Exchange:
    """What travels in FedBN: everything but the normalisation layers, and no running statistics.

    In a file it is `exchange: {exclude: [bn1.*, ...], buffers: private}`.

    Args:
        task: Its model is looked through for normalisation layers, by their kind.
    Raises: ModelError if it has none.
    Source: Li et al., ICLR 2021, arXiv 2102.07623, Algorithm 1; there it is BatchNorm, here LayerNorm, GroupNorm and
        RMSNorm as well.
    """
    module = task.model()
    names = [name for name, part in module.named_modules() if isinstance(part, _NORMS)]
    if not names:
        raise ModelError(f"fed_bn: {type(module).__name__} has no normalisation layer; use an Exchange of your own")
    return Exchange(exclude=tuple(f"{name}.*" for name in names), buffers="private")
