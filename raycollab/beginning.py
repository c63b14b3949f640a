"""A model that begins from one that was saved, as far as the two have the same parts."""

from collections.abc import Collection, Mapping

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from raycollab.by_name import listed
from raycollab.errors import ModelError, RunFolderError
from raycollab.spec import BASE
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

    A layer that has an adapter now takes over what it was without one.

    Returns: What was taken over and what is fresh, in a line.
    Raises: ModelError if the two share nothing, or adapters that were saved would be lost; RunFolderError if there is
        no saved model.
    """
    weights, state = saved_weights(path), module.state_dict()
    _check_adapters(weights, state, path)
    saved = {name: weights.get(name, weights.get(_without_adapter(name))) for name in state}
    taken = {name: each for name, each in saved.items() if each is not None and each.shape == state[name].shape}
    if not any(state[name].is_floating_point() for name in taken):
        raise ModelError(
            f"RunConfig.start={path!r}: its model shares no tensor of one name and shape with {type(module).__name__}: "
            f"it has {listed(list(weights))}; this one has {listed(list(state))}"
        )
    for name, tensor in taken.items():
        state[name].copy_(tensor)
    _measure(module, state, taken)
    stored = {state[name].data_ptr() for name in taken}  # tied weights were saved under one name
    fresh = [name for name, tensor in state.items() if name not in taken and tensor.data_ptr() not in stored]
    rest = f"fresh: {listed(fresh)}" if fresh else "nothing is fresh"
    return f"starts from {path}: {len(taken)} tensors taken over; {rest}"


def _without_adapter(name: str) -> str:
    """What a parameter inside an adapted layer is called where the layer has no adapter."""
    return name.replace(f".{BASE}.", ".")


def _check_adapters(weights: Mapping[str, Tensor], state: Mapping[str, Tensor], path: str) -> None:
    """Raise ModelError for a saved layer with an adapter that has none now: what the adapter learned would be lost."""
    for name in weights:
        if name not in state and (plain := _without_adapter(name)) != name and plain in state:
            raise ModelError(
                f"RunConfig.start={path!r}: {name!r} is of a layer with an adapter, and {plain!r} of one without: "
                f"write it merged, with `raycollab export RUN --out FOLDER`, and start from that folder"
            )


def _measure(module: nn.Module, state: Mapping[str, Tensor], taken: Collection[str]) -> None:
    """Give fresh magnitudes of DoRA the norms of weights that were taken over, so that the layer says what it said."""
    for name, layer in module.named_modules():
        for adapter, magnitude in getattr(layer, "lora_magnitude_vector", {}).items():
            weight, own = f"{name}.{BASE}.weight", f"{name}.lora_magnitude_vector.{adapter}.weight"
            if weight in taken and own not in taken:
                state[own].copy_(magnitude.get_weight_norm(state[weight], 0.0, 1.0))  # the factors are at zero
