"""Adapters that were trained: added to the weights that they change, or written alone in peft's own form."""

import re
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from raycollab.errors import ModelError
from raycollab.spec import ADAPTER

_PREFIX = "base_model.model."


def merged_adapters(module: nn.Module) -> nn.Module:
    """The module with its adapters added to its layers' weights, which have their own names again; in place."""
    adapted = {name: layer for name, layer in module.named_modules() if hasattr(layer, "get_base_layer")}
    for name, layer in adapted.items():
        layer.merge()  # type: ignore[operator]
        parent, _, last = name.rpartition(".")
        setattr(module.get_submodule(parent), last, layer.get_base_layer())  # type: ignore[operator]
    if adapted and hasattr(module, "peft_config"):
        del module.peft_config
        vars(module).pop("_hf_peft_config_loaded", None)
    return module


def save_adapters(module: nn.Module, folder: str, *, base: str) -> None:
    """Write the adapters, and what else was trained, for `PeftModel.from_pretrained`.

    Args:
        module: As Adapted builds it, with trained weights.
        folder: There already.
        base: Where the base comes from, a folder or a name; empty if it comes from nowhere.
    Raises: ModelError for what was trained in full and has no place in peft's form.
    """
    if not hasattr(module, "peft_config"):
        raise ModelError("adapters cannot be written alone: they are in a part of the net; export them merged")
    whole, kept = _trained(module)
    targets = module.peft_config[ADAPTER].target_modules  # type: ignore[index, union-attr, operator]
    layers = [name for name, layer in module.named_modules() if hasattr(layer, "get_base_layer")]
    if others := [name for name in layers if not re.fullmatch(targets, name)]:
        raise ModelError(
            f"adapters cannot be written alone: that of {others[0]} is another one than {targets}'s; export them merged"
        )
    tensors = {_PREFIX + name.replace(f".{ADAPTER}", ""): t.detach().cpu().contiguous() for name, t in kept.items()}
    config: Any = module.peft_config[ADAPTER]  # type: ignore[index, union-attr, operator]
    config.modules_to_save = [_PREFIX + owner for owner in whole] or None  # in full: peft looks at how names end
    config.base_model_name_or_path, config.inference_mode = base or None, True
    save_file(tensors, Path(folder) / "adapter_model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(folder)


def _trained(module: nn.Module) -> tuple[list[str], dict[str, Tensor]]:
    """Modules of which something was trained in full, which peft keeps with all that they hold; and all that it keeps.

    Raises: ModelError where peft would load something else.
    """
    names = [name for name, parameter in module.named_parameters() if parameter.requires_grad and ADAPTER not in name]
    owners = sorted({name.rpartition(".")[0] for name in names})
    whole = [name for name in owners if not any(name.startswith(f"{other}.") for other in owners)]
    inside, state = tuple(f"{owner}." for owner in whole), module.state_dict()
    kept = {name: tensor for name, tensor in state.items() if ADAPTER in name or name.startswith(inside)}
    places = {tensor.data_ptr() for tensor in kept.values() if tensor.numel()}
    tied = [name for name, tensor in state.items() if name not in kept and tensor.data_ptr() in places]
    nested = [name for name in kept if ADAPTER in name and name.startswith(inside)]
    found = {
        "belongs to no layer that peft could replace": names if "" in whole else [],
        "is tied to what was trained in full": tied,
        "is inside what was trained in full": nested,
    }
    for what, which in found.items():
        if which:
            raise ModelError(f"adapters cannot be written alone: {which[0]} {what}; export them merged")
    return whole, kept
