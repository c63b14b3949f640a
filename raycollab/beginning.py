"""A model that begins from one that was saved, as far as the two have the same parts."""

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from raycollab.by_name import listed
from raycollab.errors import ModelError, RunFolderError
from raycollab.storage import Storage

_WEIGHTS = "model.safetensors"


def saved_weights(path: str) -> dict[str, Tensor]:
    """The tensors of a run folder's model, or of a model/ folder, by name.

    Raises: RunFolderError if there is none, or it is damaged.
    """
    storage = Storage(path)
    folder = storage if storage.exists(_WEIGHTS) else storage.child("model")
    if not folder.exists(_WEIGHTS):
        raise RunFolderError(
            f"RunConfig.start={path!r}: neither {_WEIGHTS} nor model/{_WEIGHTS} is there; "
            f"give a run folder whose run has ended, or its model/ folder"
        )
    try:
        return load(folder.read_bytes(_WEIGHTS))
    except SafetensorError as error:
        raise RunFolderError(f"RunConfig.start={path!r}: damaged: {error}; copy it again, or train it again") from error


def take_over(module: nn.Module, path: str) -> str:
    """Copy what a saved model has under the same name and in the same shape into a module; the rest stays as built.

    Returns: What was taken over and what is fresh, in a line.
    Raises: ModelError if the two share nothing; RunFolderError if there is no saved model.
    """
    weights, state = saved_weights(path), module.state_dict()
    taken = [name for name, tensor in state.items() if name in weights and weights[name].shape == tensor.shape]
    if not any(state[name].is_floating_point() for name in taken):
        raise ModelError(
            f"RunConfig.start={path!r}: its model shares no tensor of one name and shape with {type(module).__name__}: "
            f"it has {listed(list(weights))}; this one has {listed(list(state))}"
        )
    for name in taken:
        state[name].copy_(weights[name])
    stored = {state[name].data_ptr() for name in taken}  # tied weights were saved under one name
    fresh = [name for name, tensor in state.items() if name not in taken and tensor.data_ptr() not in stored]
    rest = f"fresh: {listed(fresh)}" if fresh else "nothing is fresh"
    return f"starts from {path}: {len(taken)} tensors taken over; {rest}"
