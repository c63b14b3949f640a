"""A host runs some of the agents: their updates, block by block, and the partial sum of each block."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from raycollab.agent import Agent, LiveAgent, Offer
from raycollab.aggregation import Partial, WeightedSum, add_up
from raycollab.chains import Chain
from raycollab.checkpoint import load_state, save_state
from raycollab.codecs import Codec
from raycollab.errors import RaycollabError
from raycollab.metrics import Statistics
from raycollab.params import Exchange, FlatModel
from raycollab.rng import derive_seed
from raycollab.storage import Storage
from raycollab.task import Task
from raycollab.tree import map_leaves
from raycollab.types import AgentCard, AgentReport, Assignment, Failure, Round


@dataclass(frozen=True)
class Session:
    """What every host knows about the run; `broadcast` is how rounds arrive and `upload` how results leave."""

    seed: int
    task: Task
    chain: Chain
    exchange: Exchange
    threads: int = 1
    broadcast: Codec | None = None
    upload: Codec | None = None


@dataclass(frozen=True)
class Block:
    """Agents whose updates are summed together, in this order."""

    index: int
    assignments: tuple[Assignment, ...]


@dataclass(frozen=True)
class BlockResult:
    """What became of a block."""

    index: int
    partial: Partial | None
    reports: tuple[AgentReport, ...]
    failures: tuple[Failure, ...]


def build_model(task: Task, exchange: Exchange, seed: int, device: str = "cpu", *, whole: bool = True) -> FlatModel:
    """Build a task's model with the run's initial weights, the same in every process; `whole` is FlatModel's."""
    with seeded(derive_seed(seed, "model")):
        return FlatModel(task.model(), exchange, device, whole=whole)


class Host:
    """Runs agents one after another on one device.

    Args:
        session: What is common to the run.
        agents: The agents that live here.
        device: Where they compute.
    """

    def __init__(self, session: Session, agents: Sequence[Agent], device: str = "cpu"):
        self._session = session
        self._declared = {agent.name: agent for agent in agents}
        self._device = device
        self._models: list[tuple[Task, FlatModel]] = []
        self._agents: dict[str, LiveAgent] = {}
        self._refused: dict[str, Failure] = {}  # those that could not be opened
        self._stopped = (0, 0)

    def open(self, offer: Offer) -> list[AgentCard | Failure]:
        """Let every agent agree to the task and open its shard; one card or failure each."""
        self._aggregator = self._session.chain.aggregator.bind(offer.spec)
        with fixed_threads(self._session.threads):
            return [self._open(agent, offer) for agent in self._declared.values()]

    def _open(self, agent: Agent, offer: Offer) -> AgentCard | Failure:
        task = agent.task or self._session.task
        try:
            model = self._model(task)
            live = LiveAgent(agent, task, model, self._session.chain, self._session.seed)
            live.agree(offer)
            self._aggregator.check_coverage(offer.spec.coverage(model.spec))
            card = live.open()
        except Exception as error:  # whatever a party's data or model raises is reported, and costs only this agent
            self._refused[agent.name] = _failure(agent.name, error)
            return self._refused[agent.name]
        self._agents[agent.name] = live
        return card

    def _model(self, task: Task) -> FlatModel:
        for known, model in self._models:
            if known == task:
                return model
        model = build_model(task, self._session.exchange, self._session.seed, self._device, whole=False)
        self._models.append((task, model))
        return model

    def run(self, round: Round, block: Block) -> BlockResult:
        """Update the agents of a block and add up what they send."""
        reports: list[AgentReport] = []
        failures: list[Failure] = []

        def partials() -> Iterator[Partial]:
            for assignment in block.assignments:
                outcome = self._update(round, assignment)
                if isinstance(outcome, Failure):
                    failures.append(outcome)
                else:
                    reports.append(outcome[1])
                    yield outcome[0]

        with fixed_threads(self._session.threads):
            partial = add_up(partials())
        return BlockResult(block.index, _on_cpu(partial), tuple(reports), tuple(failures))

    def _update(self, round: Round, assignment: Assignment) -> tuple[Partial, AgentReport] | Failure:
        name = assignment.agent
        if name in self._refused:
            return self._refused[name]

        def stop() -> bool:
            return self._stopped >= (round.index, round.attempt)

        try:
            live = self._agents[name]
            with seeded(round.seed_for("torch", name), self._device):
                update, report = live.update(round, assignment, stop)
                partial = self._aggregator.collect(update, round)
                return (partial if isinstance(partial, WeightedSum) else _on_cpu(partial)), report
        except Exception as error:  # whatever a party's code raises is data: it costs this agent this round
            return _failure(name, error)

    def stop(self, index: int, attempt: int) -> None:
        """Make running updates of this attempt at a round end at their next batch; safe from another thread."""
        self._stopped = (index, attempt)

    def validate(
        self, vectors: Mapping[str, Tensor], last_rounds: Mapping[str, int]
    ) -> dict[str, Statistics | Failure]:
        """Score vectors on the own validation split of each of these agents."""
        outcomes: dict[str, Statistics | Failure] = {}
        with fixed_threads(self._session.threads):
            for name, last_round in last_rounds.items():
                if name in self._refused:
                    outcomes[name] = self._refused[name]
                    continue
                try:
                    with seeded(derive_seed(self._session.seed, "validate", name), self._device):
                        outcomes[name] = self._agents[name].validate(vectors, last_round)
                except Exception as error:  # as above: a failed score is a row in the report
                    outcomes[name] = _failure(name, error)
        return outcomes

    def save(self, storage: Storage, last_rounds: Mapping[str, int]) -> list[Failure]:
        """Store what each of these agents remembers of its last committed round, or before it if that was lost.

        Returns: The agents that are not open here, and so store nothing.
        """
        for name, last_round in last_rounds.items():
            kept = self._agents[name].kept(last_round) if name in self._agents else 0
            if kept:
                save_state(storage, name, {"round": kept, "state": _on_cpu(self._agents[name].state(kept))})
        return [failure for name, failure in self._refused.items() if name in last_rounds]

    def restore(self, storage: Storage, names: Sequence[str]) -> None:
        """Load what these agents stored."""
        for name in names:
            stored = load_state(storage, name)
            if stored is not None and name in self._agents:
                self._agents[name].restore(stored["round"], stored["state"])


def _failure(agent: str, error: Exception) -> Failure:
    known = isinstance(error, RaycollabError)
    return Failure(agent, type(error).__name__, str(error) if known else f"{type(error).__name__}: {error}")


def _on_cpu(tree: Any) -> Any:
    return map_leaves(lambda leaf: leaf.cpu() if isinstance(leaf, Tensor) else leaf, tree)


@contextmanager
def seeded(seed: int, device: str = "cpu") -> Iterator[None]:
    """Draw torch's random numbers from this seed, and leave the process's own stream on the CPU as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed also formats a stack trace per kind of device
        if device != "cpu":
            torch.cuda.manual_seed(seed)
        yield


@contextmanager
def fixed_threads(count: int) -> Iterator[None]:
    """Compute with this many threads, whatever the process had: their number can change the last bits of a result."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
