"""A party's part of a trained model, in a folder of its own, and its use."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as written_tensors
from torch import Tensor, nn

from raycollab.data import Columns
from raycollab.errors import ConfigError, DataError, ModelError, RunFolderError
from raycollab.models import Model
from raycollab.recipe import from_plain, to_plain
from raycollab.storage import Storage
from raycollab.tasks.inputs import check_names, names_of, taken
from raycollab.vertical.party import Party
from raycollab.vertical.plan import Plan
from raycollab.vertical.top import TopNet

_WEIGHTS, _CONFIG = "model.safetensors", "config.json"


@dataclass(frozen=True)
class Part:
    """What a party holds of a trained model.

    To predict, parties bring their rows into one order by the ids that they agree on; each but one sends its
    activations, and the one that has the head predicts.

    Args:
        name: The party's.
        inputs: Columns that its net is given.
        net: Its net, in evaluation mode; None if it had labels alone.
        top: The fusion and the head, where the labels were; None elsewhere.
        plan: The task and the fusion, where the labels were.
    """

    name: str
    inputs: str | tuple[str, ...]
    net: nn.Module | None
    top: TopNet | None
    plan: Plan | None

    def activations(self, columns: Columns) -> np.ndarray:
        """What it makes of its columns, by their names: [n, w].

        Raises: DataError if one is missing; ModelError if the party has no net.
        """
        if self.net is None:
            raise ModelError(f"party {self.name!r} has no net: it had labels alone")
        check_names(columns, names_of(self.inputs), f"party {self.name!r}")
        with torch.no_grad():
            made: Tensor = self.net(taken(columns, self.inputs))
        return made.numpy()

    def predict(self, activations: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """Predictions for rows of which all parties' activations are given, its own among them.

        Args:
            activations: By party [n, w], rows in one order.
        Raises: ModelError if it has no head; DataError if a party's are missing, or numbers of rows differ.
        """
        if self.top is None or self.plan is None:
            raise ModelError(f"party {self.name!r} cannot predict: the head is with the party that had the labels")
        given = {name: torch.tensor(values) for name, values in activations.items()}
        wanted: dict[str, int] = self.top.widths
        lengths = {name: len(values) for name, values in given.items()}
        if set(given) != set(wanted) or len(set(lengths.values())) != 1:
            raise DataError(f"predict: got rows {lengths}, and needs as many of each of {', '.join(wanted)}")
        with torch.no_grad():
            return self.plan.task.predict(self.top.head, {self.plan.fused: self.top.fusion(given)})


def save_part(storage: Storage, party: Party, plan: Plan, net: nn.Module | None, top: TopNet | None) -> None:
    """Write a party's weights and recipes into a folder."""
    weights: dict[str, Tensor] = {}
    for prefix, module in (("net", net), ("top", top)):
        state = module.state_dict() if module else {}
        weights |= {f"{prefix}.{name}": tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}
    config: dict[str, Any] = {"format": 1, "party": party.name, "inputs": party.inputs, "net": _plain(party.net)}
    if top is not None:
        config |= {"plan": _plain(plan), "widths": top.widths}
    storage.make_dirs("")
    storage.write_bytes(_WEIGHTS, written_tensors(weights, metadata={"format": "pt"}))
    storage.write_bytes(_CONFIG, (json.dumps(config, indent=2) + "\n").encode())


def load_part(path: str, party: str, *, trusted: tuple[str, ...] = ()) -> Part:
    """Read what a party holds of a trained model.

    Args:
        path: The run folder.
        party: Whose part.
        trusted: Packages beside raycollab that recipes may import from.
    Raises: RunFolderError if it is not there, or damaged; ConfigError for a recipe that may not be imported.
    """
    folder = Storage(path).child(f"party-{party}")
    if not folder.exists(_CONFIG):
        there = [name.removeprefix("party-") for name in Storage(path).list_dirs() if name.startswith("party-")]
        held = ", ".join(there) or "none: has the run ended?"
        raise RunFolderError(f"{folder} holds no part of a model; parties here: {held}")
    try:
        config, weights = json.loads(folder.read_bytes(_CONFIG)), read_tensors(folder.read_bytes(_WEIGHTS))
        inputs = config["inputs"] if isinstance(config["inputs"], str) else tuple(config["inputs"])
        has_net = any(name.startswith("net.") for name in weights)
        net = _made(config["net"], trusted, folder.uri).build() if has_net else None
        plan = _made(config["plan"], trusted, folder.uri) if "plan" in config else None
        top = TopNet(plan, config["widths"]) if plan else None
        for prefix, module in (("net.", net), ("top.", top)):
            if module is not None:
                own = {name.removeprefix(prefix): each for name, each in weights.items() if name.startswith(prefix)}
                module.eval().load_state_dict(own)
    except (ValueError, KeyError, RuntimeError, SafetensorError) as error:
        if isinstance(error, ConfigError):
            raise
        raise RunFolderError(f"{folder} is damaged: {error}; copy it again, or train it again") from error
    return Part(config["party"], inputs, net, top, plan)


def _plain(value: Model | Plan | None) -> Any:
    """A recipe; None if it has no plain form."""
    try:
        return to_plain(value)
    except ConfigError:
        return None


def _made(plain: Any, trusted: tuple[str, ...], where: str) -> Any:
    if plain is None:
        raise ConfigError(f"{where}: its recipe has no plain form: train it with classes that can be imported by name")
    return from_plain(plain, trusted=trusted)
