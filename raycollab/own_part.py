"""What a run folder holds of one agent: its recipe, its private part, and so its own model."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from raycollab.beginning import take_over
from raycollab.by_name import listed
from raycollab.checkpoint import RunFolder, load_state
from raycollab.data import Source, Table, table_within
from raycollab.determinism import seeded
from raycollab.errors import ConfigError, ModelError, RunFolderError
from raycollab.own_model import followed, own_model
from raycollab.params import Exchange, FlatModel
from raycollab.recipe import from_plain, only_in_python
from raycollab.rng import derive_seed
from raycollab.spec import fits, leading
from raycollab.storage import Storage

_EXPERIMENT = "experiment.yaml"
_NAMES = "party-{}"  # of the parts of a Split whose file says nothing of it
_RESULT = "result.json"  # written after the model


@dataclass(frozen=True)
class OwnPart:
    """What a run that has ended keeps of an agent.

    Args:
        agent: Its name.
        where: The run folder.
        round: Of the checkpoint.
        private: Parameters and buffers that were not exchanged, by name; empty if it has none.
        learned: What its learner remembers: a model of its own, if it is of that kind.
        recipe: Its settings as plain data; if a population made it, only which part of the net it holds.
        experiment: The experiment as plain data.
    """

    agent: str
    where: str
    round: int
    private: Mapping[str, Tensor]
    recipe: Mapping[str, Any]
    experiment: Mapping[str, Any]
    learned: Any = None
    vectors: Mapping[str, Tensor] = field(default_factory=dict)  # the driver's, of that round

    @classmethod
    def read(cls, path: str, agent: str) -> "OwnPart":
        """Read it from a run folder.

        Raises: RunFolderError if the run has not ended; ConfigError if there is no such agent.
        """
        folder = RunFolder.open(path)
        found = folder.latest_checkpoint()
        if found is None:
            raise RunFolderError(f"{folder.path} holds no checkpoint, and so nothing of agent {agent!r}")
        index, driver = found
        members = driver["roster"]["members"]
        if agent not in members:
            raise ConfigError(f"{folder.path}: there is no agent {agent!r}; its agents: {', '.join(members)}")
        rounds = folder.read_json(_RESULT)["rounds"] if folder.storage.exists(_RESULT) else 0
        if rounds != index:
            raise RunFolderError(
                f"{folder.path}: its model is of round {rounds}, and what agent {agent!r} has for itself of round "
                f"{index}: the run goes on; wait until it has ended, or let `raycollab resume {folder.path}` end it"
            )
        kept = load_state(folder.agents_of(index), agent)
        experiment = yaml.safe_load(folder.read_text(_EXPERIMENT))
        joined = driver["roster"]["joined"].get(agent, {}).get("agent")
        recipe = joined or _declared(experiment["agents"], agent)
        private = (kept["state"]["private"] if kept else None) or {}
        learned = kept["state"]["learner"] if kept else None
        vectors = driver["vectors"][str(index)]
        was, now = kept["state"].get("form", 0) if kept else 0, driver.get("growing", {}).get("form", 0)
        if was != now and (private or learned) and recipe.get("init_args", {}).get("task") is None:
            raise ModelError(
                f"{folder.path}: agent {agent!r} has not taken part since the model went from form {was} to form "
                f"{now}: what it has for itself is of the former; resume the run with more rounds, or load the common "
                f"model, without agent="
            )
        return cls(agent, folder.path, index, private, recipe.get("init_args", {}), experiment, learned, vectors)

    @property
    def brings_task(self) -> bool:
        """Whether it brought a task of its own."""
        return self.recipe.get("task") is not None

    @property
    def has_task(self) -> bool:
        """Whether its task is not the common one: it brought its own, or holds a part of the net."""
        return self.brings_task or self.recipe.get("holds") is not None

    def task(self, trusted: tuple[str, ...]) -> Any:
        """The task that it brought, or the common one with the part of the net that it holds.

        Raises: ConfigError if that has no plain form, or is of an untrusted package.
        """
        plain = self.recipe["task"] if self.brings_task else self.experiment["task"]
        if only_in_python(plain):
            raise ConfigError(
                f"{self.where}: the task of agent {self.agent!r} has no plain form, so the file cannot name it; "
                f"pass task=..."
            )
        task, holds = from_plain(plain, trusted=trusted), from_plain(self.recipe.get("holds"), trusted=trusted)
        return task if holds is None else task.with_net(holds.of)

    def test(self, trusted: tuple[str, ...]) -> Source | None:
        """Its own test set; None if it has none, or one that stood only in memory."""
        return self._source("test", trusted)

    def reader(self, trusted: tuple[str, ...]) -> Table | None:
        """How it reads files: its test set or its shard; None if neither is a table that a file names."""
        return table_within(self._source("test", trusted) or self._source("shard", trusted))

    def _source(self, name: str, trusted: tuple[str, ...]) -> Source | None:
        plain = self.recipe.get(name)
        return None if plain is None or only_in_python(plain) else from_plain(plain, trusted=trusted)

    def put_into(self, module: nn.Module) -> None:
        """Copy its private part over that of the common model, or the model of its own over all of it.

        Raises: ConfigError if it has neither; ModelError if the module has no such parts.
        """
        if not self.private and not self._has_own:
            raise self._nothing("nothing was kept out of the exchange, or it")
        state = module.state_dict()
        for name, tensor in self.private.items():
            if name not in state or state[name].shape != tensor.shape:
                raise ModelError(
                    f"{self.where}: agent {self.agent!r} has its own {name!r} of shape {list(tensor.shape)}, which the "
                    f"task's model has not; pass the task that the run was trained with"
                )
            state[name].copy_(tensor)
        if self._has_own:
            flat = FlatModel(deepcopy(module), Exchange(**self.experiment["exchange"]), whole=False)
            self._personalise(flat)
            module.load_state_dict(flat.module.state_dict())

    @property
    def _has_own(self) -> bool:
        return followed(self.learned) is not None or own_model(self.learned, {}) is not None

    def _personalise(self, flat: FlatModel) -> None:
        """Put the model of its own, if it has one, into a model that holds the common vectors and its private part."""
        follows = followed(self.learned)
        if follows is not None:
            flat.load(self.vectors[follows])
        flat.load_whole(own_model(self.learned, flat.whole()) or {})

    def model(self, build: Callable[[], nn.Module], weights: Mapping[str, Tensor]) -> nn.Module:
        """The model of its own task: the common parameters or its own, its private part, and the rest as it began.

        Args:
            build: Makes the module.
            weights: The common model's, by name.
        Raises: ConfigError if it has not taken part yet; ModelError if these are not the weights of such a module.
        """
        run = self.experiment["run"]
        with seeded(derive_seed(run["seed"], "model")):
            module = build()
        if run.get("start"):
            take_over(module, run["start"])
        flat = FlatModel(module, Exchange(**self.experiment["exchange"]), whole=False)
        entries = (*flat.spec.params, *flat.spec.buffers)
        self._check("common", weights, {entry.name: entry.shape for entry in entries}, slices=flat.spec.slices)
        wanted = {name: tuple(tensor.shape) for name, tensor in flat.private().items()}
        if wanted and not self.private:
            raise self._nothing("it")
        self._check("own", self.private, wanted)
        params, buffers = (
            torch.cat([torch.zeros(0), *(leading(weights[e.name], e.shape).reshape(-1).float() for e in entries)])
            for entries in (flat.spec.params, flat.spec.buffers)
        )
        flat.load(params, buffers)
        flat.load_private(dict(self.private))
        self._personalise(flat)
        return deepcopy(flat.module)  # its parameters are tensors of their own again, no views

    def _nothing(self, why: str) -> ConfigError:
        return ConfigError(
            f"{self.where}: agent {self.agent!r} has no private part in the checkpoint of round {self.round}: {why} "
            f"has not taken part yet; load the common model, without agent="
        )

    def _check(
        self, which: str, there: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]], *, slices: bool = False
    ) -> None:
        lacking = [
            name for name, shape in wanted.items()
            if name not in there or not fits(shape, tuple(there[name].shape), slices)
        ]  # fmt: skip
        if lacking:
            raise ModelError(
                f"{self.where}: the {which} part of agent {self.agent!r} has no {listed(lacking)} of the shape that "
                f"its task's model needs; pass the task that it was trained with"
            )


def handed_on(model: FlatModel, path: str, agent: str) -> dict[str, Tensor] | None:
    """An agent's private part in a run that starts from a saved one: what it had there under equal names and shapes.

    Args:
        model: Of its task; the rest of its private part is initial.
        path: The run's RunConfig.start; one that is only a model/ folder keeps nothing of agents.
        agent: Its name, in both runs.
    Returns: None if there is nothing to take over.
    """
    storage = Storage(path)
    if not model.private() or not (storage.exists(_RESULT) and storage.exists(_EXPERIMENT)):
        return None
    folder = RunFolder(storage)
    kept = load_state(folder.agents_of(folder.read_json(_RESULT)["rounds"]), agent)
    model.load_private(None)
    initial = model.private()
    before = (kept["state"]["private"] if kept else None) or {}
    same = [name for name, tensor in initial.items() if name in before and before[name].shape == tensor.shape]
    return {**initial, **{name: before[name].to(initial[name]) for name in same}} if same else None


def _declared(agents: Mapping[str, Any], agent: str) -> Mapping[str, Any]:
    """The recipe under which an experiment's population names an agent, or what it says of the one of its number."""
    settings = agents.get("init_args", {})
    if "of" in settings:  # a population of the agents of another one
        return _declared(settings["of"], agent)
    made: Mapping[str, Any] = {}
    if holds := settings.get("holds"):  # by the number in the name: others may have left since
        before, _, behind = settings.get("name", _NAMES).partition("{}")
        number = int(agent.removeprefix(before).removesuffix(behind))
        made = {"init_args": {"holds": holds[number % len(holds)]}}
    return next((each for each in settings.get("members", ()) if each["init_args"]["name"] == agent), made)
