"""Save a trained model, load it again, and use it: safetensors and a JSON recipe; nothing is unpickled."""

import copy
import json
import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from raycollab.data import CSV, LABEL, Arrow, JSONLines, Parquet, Shard, Source, Table, presence_of, usable, without
from raycollab.errors import ConfigError, DataError, ModelError, RunFolderError
from raycollab.metrics import Statistics
from raycollab.misfit import described, explained, input_names, inputs_of
from raycollab.models.submodel import SubModel, cut_out
from raycollab.own_part import OwnPart
from raycollab.recipe import from_plain, to_plain
from raycollab.storage import Storage
from raycollab.task import Adapts, AdaptsAtTest, Task
from raycollab.types import Batch

AS_IT_IS = Parquet("data.parquet")  # no shapes, no scaling
_WEIGHTS, _CONFIG, _CARD = "model.safetensors", "config.json", "README.md"
_BATCH = 1024


@dataclass(frozen=True)
class TrainedModel:
    """A trained module together with its task.

    Args:
        module: In evaluation mode.
        task: Knows how to feed it and what its outputs mean.
        reader: How its data was read; files are read the same way.
    """

    module: nn.Module
    task: Task
    reader: Table = AS_IT_IS

    def source(self, data: str, *, labelled: bool = True) -> Source:
        """A file with the task's columns, read as the model was trained to read it; its name says in which format.

        Of a task that needs not all of them, those that the file has; `has_NAME` says which rows lack one.
        """
        label = getattr(self.task, "label", "label") if labelled else None
        parts = {name: self.reader.stack.get(name, (name,)) for name in input_names(self.task)}
        reader = replace(_in_format(self.reader, data), path=data)
        if parts and not self.task.needs_all_inputs:
            absent, parts = parts, _those_held(parts, reader.held())
            reader = without(reader, {name for name in absent if name not in parts})
        columns = tuple(name for names in parts.values() for name in names) or None
        unread = {self.reader.label or ""} - set(columns or ()) if not labelled else set()
        bad_rows = self.reader.bad_rows if labelled else "error"  # a prediction for each row, or none
        return replace(without(reader, unread), columns=columns, label=label, bad_rows=bad_rows)

    def predict(
        self, columns: Mapping[str, Tensor | np.ndarray], adapt: AdaptsAtTest | None = None
    ) -> dict[str, Tensor]:
        """Predictions for all rows of these columns: names to [n] or [n, c].

        Arrays of float64, numpy's default, are taken as what the model computes in.

        Args:
            columns: What the model is given, by name.
            adapt: Adapts a copy of the model to these rows, batch by batch and without labels, such as
                rc.adapt.Tent(); None uses the model as it is.
        Raises: DataError if a column is missing or the model cannot be given it; ModelError if it cannot adapt.
        """
        given = self._tensors(columns)
        inputs = inputs_of(self.task, given)
        what = f"predict: the model needs {self._needed()} and cannot be given {described(inputs)}"
        are_bytes = any(column.dtype == torch.uint8 for column in inputs.values())
        scaled = f", bytes divided by {self.reader.scale or 255.0:g}" if are_bytes else ""
        outputs: dict[str, list[Tensor]] = {}
        with torch.no_grad(), explained(DataError, what, f"give it as in training{scaled}"):
            for batch, module in self._over(_batches(given), adapt):
                for name, values in self.task.predict(module, batch).items():
                    outputs.setdefault(name, []).append(values)
        return {name: torch.cat(parts) for name, parts in outputs.items()}

    def part(self, holds: SubModel) -> "TrainedModel":
        """A smaller model, cut out of this one: `part(rc.models.Width(0.5))`; ModelError if it has no such part."""
        task = self.task.with_net(holds.of)
        return replace(self, module=cut_out(task.model(), self.module.state_dict()).eval(), task=task)

    def adapt(
        self, support: Source | Mapping[str, Tensor | np.ndarray], learner: Adapts | None = None
    ) -> "TrainedModel":
        """A model adapted to a new party's few examples; this one stays as it is.

        Args:
            support: The examples with their labels, where they are or as columns.
            learner: The one that the model was trained by; None takes that of its MetaTask.
        Raises: ConfigError if nothing says how; DataError for examples that the task refuses, or that lead nowhere.
        """
        learner = learner or getattr(self.task, "learner", None)
        if learner is None or not hasattr(learner, "adapted"):
            said = "nothing says how" if learner is None else f"{type(learner).__name__} only trains"
            raise ConfigError(f"adapt: {said}; give learner=, such as rc.MAML(lr=0.1, steps=5)")
        where = support.describe() if isinstance(support, Source) else "support"
        given = self._tensors(support.read() if isinstance(support, Source) else support)
        task: Task = getattr(self.task, "task", self.task)  # what a MetaTask judges after adaptation
        good = task.check(given, where)
        columns = {name: column[good] for name, column in given.items()}
        return replace(self, module=learner.adapted(task, copy.deepcopy(self.module), columns), task=task)

    def _tensors(self, columns: Mapping[str, Tensor | np.ndarray]) -> dict[str, Tensor]:
        """The columns as tensors, float64 in the model's own type."""
        needed = getattr(self.task, "inputs", None)
        if not isinstance(columns, Mapping):
            raise DataError(
                f"predict: got a {type(columns).__name__}, and needs columns by name: "
                f"{{{needed or 'NAME'!r}: ...}} of {self._needed()}"
            )
        names = input_names(self.task)
        absent = [name for name in names if name not in columns]
        if absent and (self.task.needs_all_inputs or absent == list(names)):
            raise DataError(f"predict: no column {absent[0]!r}; there are: {', '.join(columns)}; give {self._needed()}")
        dtype = self._dtype()
        tensors = {name: _tensor(name, column) for name, column in columns.items()}
        return {name: t.to(dtype) if t.dtype == torch.float64 else t for name, t in tensors.items()}

    def _dtype(self) -> torch.dtype:
        """What the model computes in."""
        floats = (p.dtype for p in self.module.parameters() if p.is_floating_point())
        return next(floats, torch.float32)

    def _needed(self) -> str:
        """Name, type and shape of the column that the model is given, as far as they are known."""
        name = getattr(self.task, "inputs", None)
        shape = (self.reader.shapes or {}).get(name) if isinstance(name, str) else None
        dtype = str(self._dtype()).removeprefix("torch.")
        return f"column {name!r} ({dtype} [n, {', '.join(map(str, shape)) if shape else '...'}])"

    def evaluate(self, source: Source, adapt: AdaptsAtTest | None = None) -> Statistics:
        """Statistics over a labelled source, with `adapt` as in `predict`.

        Warns if rows are left out that cannot be used.

        Raises: DataError if the source does not fit the task.
        """
        found = usable(source, self.task.check, source.describe())
        for note in found.notes(source.describe()):
            warnings.warn(note, stacklevel=2)
        shard = Shard(found.columns, val_fraction=0.0, seed=0)
        batches = shard.batches("train", _BATCH, seed=None)
        if adapt is None:
            return self.task.evaluate(self.module, batches)
        with torch.no_grad():
            each = [self.task.statistics(module, batch) for batch, module in self._over(batches, adapt)]
        return sum(each, Statistics.empty())

    def _over(self, batches: Iterable[Batch], adapt: AdaptsAtTest | None) -> Iterable[tuple[Batch, nn.Module]]:
        """Each batch with the module for it."""
        if adapt is None:
            return ((batch, self.module) for batch in batches)
        return adapt.over(self.task, self.module, batches)


def save_model(storage: Storage, task: Task, module: nn.Module, *, card: str, facts: Mapping[str, Any]) -> None:
    """Write weights, recipe and model card into a folder.

    Args:
        storage: The folder.
        task: Written as a recipe if it has one, so that `load` can make the module again.
        module: Tied weights are stored once.
        card: Text of the model card, Markdown.
        facts: Plain facts for config.json, such as versions and metrics.
    """
    state = module.state_dict()
    names = _stored_names(state)
    weights = {name: state[name].detach().cpu().contiguous() for name in names}
    try:
        recipe = to_plain(task)
    except ConfigError:
        recipe = None
    storage.make_dirs("")
    storage.write_bytes(_WEIGHTS, save(weights, metadata={"format": "pt"}))
    storage.write_bytes(_CONFIG, (json.dumps({"format": 1, "task": recipe, **facts}, indent=2) + "\n").encode())
    storage.write_bytes(_CARD, card.encode())


def load_model(
    path: str, *, task: Task | None = None, agent: str | None = None, trusted: tuple[str, ...] = ()
) -> TrainedModel:
    """Load a model from a run folder or its model/ folder.

    Args:
        path: A local path or any pyarrow.fs URI.
        task: The task, for models whose recipe could not be written or is of an untrusted package; with an agent that
            has a task of its own, that one.
        agent: The model of this agent, with its private part as the run folder's newest checkpoint has it.
        trusted: Packages beside raycollab that the recipe may import from.
    Raises: RunFolderError if there is no model; ConfigError for a recipe that may not be imported, or an agent that is
        unknown or has nothing private; ModelError if the weights do not fit.
    """
    storage = Storage(path)
    folder = storage if storage.exists(_WEIGHTS) else storage.child("model")
    if not folder.exists(_WEIGHTS):
        raise RunFolderError(
            f"{storage.uri} holds no model: neither {_WEIGHTS} nor model/{_WEIGHTS} is there; has the run ended?"
        )
    try:
        config, weights = json.loads(folder.read_bytes(_CONFIG)), load(folder.read_bytes(_WEIGHTS))
    except (ValueError, SafetensorError) as error:
        raise RunFolderError(f"{folder.uri} is damaged: {error}; copy it again, or train it again") from error
    own = None if agent is None else OwnPart.read(path, agent)
    reader = from_plain(config["reader"]) if config.get("reader") else AS_IT_IS
    if own is not None and own.has_task:
        task = task or own.task(trusted)
        return TrainedModel(own.model(task.model, weights).eval(), task, own.reader(trusted) or reader)
    if task is None:
        recipe = config["task"]
        if recipe is None:
            raise ConfigError(f"{folder.uri}: its task has no plain form, so the file cannot name it; pass task=...")
        task = from_plain(recipe, trusted=trusted)
    module = task.model()
    _load_weights(module, weights, folder.uri)
    if own is not None:
        own.put_into(module)
    return TrainedModel(module.eval(), task, reader)


def own_test(path: str, agent: str, trusted: tuple[str, ...]) -> Source | None:
    """An agent's own test set; None if it has none, and is scored on the shared one.

    Raises: ConfigError if it has none and a task of its own, for which the shared one is not.
    """
    own = OwnPart.read(path, agent)
    test = own.test(trusted)
    if test is None and own.brings_task:
        raise ConfigError(
            f"{own.where}: agent {agent!r} has a task of its own and no test set that a file names (Agent.test); "
            f"give labelled rows, with --data"
        )
    return test


def _those_held(parts: Mapping[str, tuple[str, ...]], held: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Columns by input of those inputs that a file has, with the columns that say where; all of them if it has none."""
    there = {name: columns for name, columns in parts.items() if all(column in held for column in columns)}
    flags = {presence_of(name): (presence_of(name),) for name in there if presence_of(name) in held}
    return {**there, **flags} or dict(parts)


def _in_format(reader: Table, path: str) -> Table:
    """The settings of a reader for files in the format that a name ends with; its own format if that says nothing."""
    kind = next((each for each in (Parquet, Arrow, CSV, JSONLines) if path.endswith(each.suffixes)), type(reader))
    if type(reader) is kind:
        return reader
    return kind(**{field.name: getattr(reader, field.name) for field in fields(Table)})


def _tensor(name: str, column: Tensor | np.ndarray) -> Tensor:
    try:
        return torch.as_tensor(column)
    except (TypeError, ValueError, RuntimeError) as error:
        kind = getattr(column, "dtype", type(column).__name__)
        raise DataError(
            f"predict: column {name!r} ({kind}) holds no numbers, and a model takes nothing else; leave it out, or "
            f"turn it into numbers as in training"
        ) from error


def _batches(columns: Mapping[str, Tensor]) -> Iterable[Batch]:
    num_rows = len(next(iter(columns.values())))
    if not num_rows:
        raise DataError("no rows to predict")
    for start in range(0, num_rows, _BATCH):
        yield {name: column[start : start + _BATCH] for name, column in columns.items() if name != LABEL}


def _stored_names(state: Mapping[str, Tensor]) -> list[str]:
    """One name for each tensor: tied weights share their memory and are stored under the first."""
    seen: dict[tuple[int, tuple[int, ...], tuple[int, ...]], str] = {}
    for name, tensor in state.items():
        seen.setdefault(
            (tensor.data_ptr() if tensor.numel() else id(tensor), tuple(tensor.shape), tensor.stride()), name
        )
    return list(seen.values())


def _load_weights(module: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    state = module.state_dict()
    expected = set(_stored_names(state))
    missing, extra = sorted(expected - set(weights)), sorted(set(weights) - set(state))
    if missing or extra:
        raise ModelError(
            f"{where}: the weights do not fit the task's model; missing {missing[:5]}, unexpected {extra[:5]}"
        )
    for name, tensor in sorted(weights.items()):
        if tensor.shape != state[name].shape:
            raise ModelError(
                f"{where}: {name!r} has shape {list(tensor.shape)}, the task's model {list(state[name].shape)}"
            )
        state[name].copy_(tensor)
