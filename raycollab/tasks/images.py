"""Columns of images, as tasks that learn from images alone ask for them."""

from collections.abc import Mapping

from torch import Tensor, nn

from raycollab.errors import DataError, ModelError
from raycollab.tasks.inputs import check_names, finite_rows


def check_images(columns: Mapping[str, Tensor], name: str, where: str, bad_rows: str) -> Tensor:
    """Which rows hold images without NaN and infinity: bool [n].

    Raises: DataError for a missing column, one that holds no images of floats, or bad rows if `bad_rows` is "error".
    """
    check_names(columns, (name,), where)
    images = columns[name]
    if images.ndim != 4 or not images.is_floating_point():
        raise DataError(
            f"{where}: column {name!r} holds {str(images.dtype).removeprefix('torch.')} of shape {list(images.shape)}; "
            f"images are floats [n, channels, height, width]: tell the source their shape, or divide bytes by 255"
        )
    return finite_rows(columns, (name,), where, bad_rows)


def trunk_of(module: nn.Module, task: str) -> nn.Module:
    """The part of a net that is kept once it is trained, and whose outputs are embeddings.

    Raises: ModelError if it has none of this name.
    """
    try:
        return module.get_submodule("trunk")
    except AttributeError:
        raise ModelError(
            f"{task}: the net has no part `trunk`, which makes the embeddings and is kept; give "
            f"rc.models.Headed(trunk, head), whose head is thrown away"
        ) from None
