"""Hand a trained model over: in the form that other programs read."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import yaml

from raycollab.data import Shard, usable
from raycollab.deploy import TrainedModel, load_model, save_model
from raycollab.errors import ConfigError, ModelError, RunFolderError
from raycollab.models import Frozen, SubModel, Transformers, Wrapper, merged_adapters, save_adapters, without_adapters
from raycollab.onnx_export import export_onnx
from raycollab.own_part import OwnPart
from raycollab.places import find_folder
from raycollab.recipe import from_plain, to_plain
from raycollab.settings import require
from raycollab.storage import Storage
from raycollab.task import Task

FORMATS = ("transformers", "safetensors", "onnx")
_CARD, _EXPERIMENT = "README.md", "experiment.yaml"
_ROWS = 8  # that an ONNX model is compared on
_USE = {  # what stands in the model card's last part
    "transformers": "from transformers import {kind}\n\nmodel = {kind}.from_pretrained(FOLDER)",
    "adapters": "from peft import PeftModel\n\nmodel = PeftModel.from_pretrained(base, FOLDER)",
    "onnx": 'import onnxruntime\n\nmodel = onnxruntime.InferenceSession(FOLDER + "/model.onnx")',
}


@dataclass(frozen=True)
class Exported:
    """What was handed over.

    Args:
        folder: Where it is.
        format: "transformers", "safetensors", "onnx", or "adapters" for peft's own.
        difference: Largest difference between ONNX and torch; None for other formats.
    """

    folder: str
    format: str
    difference: float | None = None

    def __str__(self) -> str:
        more = "" if self.difference is None else f"; its largest difference from torch is {self.difference:.2g}"
        return f"{self.format} written to {self.folder}{more}"


def export(
    path: str,
    out: str,
    *,
    format: str | None = None,
    merged: bool = True,
    agent: str | None = None,
    task: Task | None = None,
    trusted: tuple[str, ...] = (),
    holds: SubModel | None = None,
) -> Exported:
    """Write the model of a run that has ended into a folder, for other programs.

    "transformers" is a folder for `from_pretrained`, with the tokenizer that the experiment names; "safetensors" holds
    weights and recipe, which `rc.load` reads; "onnx" is model.onnx, compared with torch on rows of the run's test set.
    The model card goes along.

    Args:
        path: Run folder, or its model/ folder.
        out: Folder to write, of this machine; must be empty or not there.
        format: One of the three; None takes "transformers" for models of it, else "safetensors".
        merged: Add adapters to the weights that they change; otherwise write them alone, as peft's folder for
            `PeftModel.from_pretrained`, which says where the base comes from.
        agent: With this agent's private part.
        task: For models whose recipe could not be written or is of an untrusted package.
        trusted: Packages beside raycollab that the recipe may import from.
        holds: Only this part of the net, such as rc.models.Width(0.5).
    Raises: ConfigError for an unknown format, or one that does not fit; RunFolderError if the run has not ended;
        ModelError for a model that cannot be written so.
    """
    require(format is None or format in FORMATS, "export: format", format, f"must be one of {FORMATS}")
    model = load_model(path, task=task, agent=agent, trusted=trusted)
    model = model if holds is None else model.part(holds)
    folder, source = Storage(out), Storage(path)
    if not folder.is_local:
        raise ConfigError(f"export: out={out!r}: must be a folder of this machine; copy it on from there")
    if folder.list_files() or folder.list_dirs():
        raise ConfigError(f"export: out={out!r}: holds something already; name a new folder")
    net, plain = getattr(model.task, "net", None), model.module
    if not merged:
        require(without_adapters(net) != net, "export: merged", merged, "must be true: the model has no adapters")
        require(
            format is None, "export: format", format, "must be null where adapters are written alone, in peft's form"
        )
    format = format or ("transformers" if hasattr(plain, "save_pretrained") else "safetensors")
    if format == "transformers" and not hasattr(plain, "save_pretrained"):
        raise ConfigError(
            f"export: format='transformers': {type(plain).__name__} is no model of transformers; use 'safetensors'"
        )
    folder.make_dirs("")
    difference = None
    if not merged:
        save_adapters(plain, folder.uri, base=_base(net))
        format = "adapters"
    else:
        plain = merged_adapters(plain)
        difference = _written(replace(model, module=plain), format, folder, source, trusted, agent)
    card = next((place for place in (source.child("model"), source) if place.exists(_CARD)), None)
    if card is not None and format in _USE:
        text, part, _ = card.read_bytes(_CARD).decode().partition("\n## Use\n")
        use = f"\n```python\n{_USE[format].format(kind=type(plain).__name__)}\n```\n" if part else ""
        folder.write_bytes(_CARD, f"{text}{part}{use}".encode())
    return Exported(folder.uri, format, difference)


def _written(
    model: TrainedModel, format: str, folder: Storage, source: Storage, trusted: tuple[str, ...], agent: str | None
) -> float | None:
    """Write a whole model; returns by how much it differs from torch, where it is run otherwise."""
    if format == "transformers":
        _save_pretrained(model.module, folder, _plain_experiment(source))
    elif format == "safetensors":
        place = source.child("model") if source.exists("model/config.json") else source
        facts = json.loads(place.read_bytes("config.json"))
        facts = {name: value for name, value in facts.items() if name not in ("format", "task")}
        facts["reader"] = to_plain(model.reader)
        card = place.read_bytes(_CARD).decode() if place.exists(_CARD) else ""
        net = getattr(model.task, "net", None)
        bare = without_adapters(net)
        task = model.task if bare == net else replace(model.task, net=bare)  # type: ignore[type-var, call-arg]
        save_model(folder, task, model.module, card=card, facts=facts)
    else:
        return export_onnx(model.module, model.task, _rows(model, source, trusted, agent), folder)
    return None


def _save_pretrained(module: Any, folder: Storage, experiment: Any) -> None:
    """A folder for from_pretrained, with the experiment's tokenizer if it names a pretrained one."""
    if hasattr(type(module.config), "use_cache") or "use_cache" in vars(type(module.config)()):
        module.config.use_cache = True  # training had no use for it, generation has
    module.save_pretrained(folder.uri)
    path = next(_tokenizers(experiment), None)
    if path is not None:
        auto = import_module("transformers").AutoTokenizer
        try:
            tokenizer = auto.from_pretrained(find_folder(path) or path, local_files_only=True)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ModelError(f"export: the run's tokenizer {path!r} is not on this machine: {reason}") from error
        tokenizer.save_pretrained(folder.uri)


def _tokenizers(plain: Any) -> Iterator[str]:
    """Where the pretrained tokenizers of an experiment are."""
    if isinstance(plain, dict):
        if str(plain.get("class_path", "")).endswith("PretrainedTokenizer"):
            yield plain["init_args"]["path"]
        plain = list(plain.values())
    for each in plain if isinstance(plain, list) else ():
        yield from _tokenizers(each)


def _plain_experiment(source: Storage) -> Any:
    return yaml.safe_load(source.read_bytes(_EXPERIMENT)) if source.exists(_EXPERIMENT) else None


def _rows(model: TrainedModel, source: Storage, trusted: tuple[str, ...], agent: str | None) -> Any:
    """A few rows of the run's test set, or of the agent's own."""
    experiment = _plain_experiment(source)
    if experiment is None:
        raise RunFolderError(
            f"{source.uri} has no {_EXPERIMENT}, which names the rows to compare ONNX on: give the run folder"
        )
    own = None if agent is None else OwnPart.read(source.uri, agent).test(trusted)
    test = own or from_plain(experiment["test"], trusted=trusted)
    if isinstance(test, dict):
        raise ConfigError(f"{source.uri}: its test set stood only in memory, and ONNX is compared on rows of it")
    found = usable(test, model.task.check, test.describe())
    shard = Shard({name: column[:_ROWS] for name, column in found.columns.items()}, val_fraction=0.0, seed=0)
    batch = next(iter(shard.batches("train", _ROWS, seed=None)))
    if model.task.count(batch) < 3:
        raise ModelError(f"{source.uri}: ONNX is traced and compared on 3 rows at least, and the test set has fewer")
    return batch


def _base(net: Any) -> str:
    """Where the weights that adapters were put on are; empty if in no folder of transformers."""
    while isinstance(net, Wrapper | Frozen):
        net = net.net
    stored = isinstance(net, Transformers) and net.pretrained
    return (find_folder(net.name) or net.name) if stored else ""
