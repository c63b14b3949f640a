"""A host runs some of the agents: their updates, block by block, and the partial sum of each block."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor

from raycollab.agent import Agent, LiveAgent, Offer
from raycollab.aggregation import Partial, WeightedSum, add_up
from raycollab.chains import Chain
from raycollab.checkpoint import load_state, save_state
from raycollab.codecs import Codec
from raycollab.errors import RaycollabError, UpdateError
from raycollab.fused import Layer, Stacked, layers_of
from raycollab.learners import JointLearner
from raycollab.metrics import Statistics
from raycollab.params import Exchange, FlatModel
from raycollab.rng import derive_seed
from raycollab.storage import Storage
from raycollab.task import Task
from raycollab.tree import map_leaves
from raycollab.types import AgentCard, AgentReport, Assignment, Failure, Round, Update


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
    agents_at_once: int = 0
    max_norm: float = math.inf  # of a delta; a larger one is refused


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
    made_in: tuple[int, int, int] = (0, 0, 0)  # round, attempt and version that it started from


_Outcome = tuple[Partial, AgentReport] | Failure


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
        self._layers: dict[FlatModel, Sequence[Layer] | None] = {}  # of models that agents can share steps of
        self._agents: dict[str, LiveAgent] = {}
        self._refused: dict[str, Failure] = {}  # those that could not be opened
        self._stopped = (0, 0)
        self._overdue: Callable[[], bool] = lambda: False
        self._held: dict[str, Any] = {}  # what is to be stored

    def open(self, offer: Offer) -> list[AgentCard | Failure]:
        """Let every agent agree to the task and open its shard; one card or failure each."""
        self._aggregator = self._session.chain.aggregator.bind(offer.spec)
        self._stopped, self._refused = (0, 0), {}  # another driver may have opened them before
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
        self._layers[model] = layers_of(model)
        return model

    def run(self, round: Round, block: Block, stop: Callable[[], bool] = lambda: False) -> BlockResult:
        """Update the agents of a block and add up what they send; `stop` is asked at every batch, as is `self.stop`."""
        self._overdue = stop
        reports: list[AgentReport] = []
        failures: list[Failure] = []

        def partials() -> Iterator[Partial]:
            for group in self._groups(block.assignments):
                for outcome in self._update(round, group):
                    if isinstance(outcome, Failure):
                        failures.append(outcome)
                    else:
                        reports.append(outcome[1])
                        yield outcome[0]

        with fixed_threads(self._session.threads):
            partial = add_up(partials())
        made_in = (round.index, round.attempt, round.base_version)
        return BlockResult(block.index, _on_cpu(partial), tuple(reports), tuple(failures), made_in)

    def _groups(self, assignments: Sequence[Assignment]) -> list[list[Assignment]]:
        """The assignments in order, those that learn in the same steps together: what they are decides, never time."""
        most = self._session.agents_at_once
        if not most:
            return [[assignment] for assignment in assignments]
        alike: dict[Any, list[Assignment]] = {}
        for assignment in assignments:
            live = self._agents.get(assignment.agent)
            kind = live.alike if live else None
            alike.setdefault(assignment.agent if kind is None else kind, []).append(assignment)
        return [part for group in alike.values() for part in _evenly(group, most)]

    def _update(self, round: Round, group: Sequence[Assignment]) -> Iterator[_Outcome]:
        """What becomes of agents that learn in the same steps, or of one that learns by itself."""
        live = self._agents.get(group[0].agent)
        layers = self._layers.get(live.model) if live and self._session.agents_at_once and live.alike else None
        if layers is None:
            yield from (self._alone(round, assignment) for assignment in group)
        else:
            yield from self._together(round, group, layers)

    def _alone(self, round: Round, assignment: Assignment) -> _Outcome:
        name = assignment.agent
        if name in self._refused:
            return self._refused[name]
        try:
            live = self._agents[name]
            with seeded(round.seed_for("torch", name), self._device):
                return self._collected(round, *live.update(round, assignment, self._stop_of(round)))
        except Exception as error:  # whatever a party's code raises is data: it costs this agent this round
            return _failure(name, error)

    def _together(self, round: Round, group: Sequence[Assignment], layers: Sequence[Layer]) -> Iterator[_Outcome]:
        lives = [self._agents[assignment.agent] for assignment in group]
        try:
            stop = self._stop_of(round)
            turns = [live.begin(round, assignment, stop) for live, assignment in zip(lives, group, strict=True)]
            problems, states = [turn.problem for turn in turns], [turn.state["learner"] for turn in turns]
            stacked = Stacked(layers, lives[0].model.spec, len(lives), self._device)
            learner, local = lives[0].agent.learner, turns[0].round
            learned = cast(JointLearner, learner).update_together(problems, stacked, turns[0].params, states, local)
        except Exception as error:  # as above, of all that learn together
            yield from (_failure(assignment.agent, error) for assignment in group)
            return
        for live, turn, outcome in zip(lives, turns, learned, strict=True):
            try:
                if isinstance(outcome, UpdateError):
                    raise outcome
                yield self._collected(round, *live.finish(turn, *outcome))
            except Exception as error:  # as above
                yield _failure(live.agent.name, error)

    def _collected(self, round: Round, update: Update, report: AgentReport) -> tuple[Partial, AgentReport]:
        if report.norm > (most := self._session.max_norm):
            raise UpdateError(
                f"agent {report.agent!r} round {round.index}: the delta has norm {report.norm:.3g}, above "
                f"FailureConfig.max_norm={most:g}; it is kept out of the sum"
            )
        partial = self._aggregator.collect(update, round)
        return (partial if isinstance(partial, WeightedSum) else _on_cpu(partial)), report

    def _stop_of(self, round: Round) -> Callable[[], bool]:
        return lambda: self._stopped >= (round.index, round.attempt) or self._overdue()

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

    def hold(self, last_rounds: Mapping[str, int]) -> list[Failure]:
        """Take hold of what each of these agents remembers of its last committed round, or before it if that was lost.

        Returns: The agents that are not open here, and so hold nothing.
        """
        kept = {name: self._agents[name].kept(last) for name, last in last_rounds.items() if name in self._agents}
        self._held = {
            name: {"round": round, "state": self._agents[name].state(round)} for name, round in kept.items() if round
        }
        return [failure for name, failure in self._refused.items() if name in last_rounds]

    def write(self, storage: Storage) -> None:
        """Store what is held; rounds may go on meanwhile, as nothing remembered is ever written into."""
        held, self._held = self._held, {}
        for name, memory in held.items():
            save_state(storage, name, _on_cpu(memory))

    def restore(self, storage: Storage, names: Sequence[str]) -> None:
        """Load what these agents stored."""
        for name in names:
            stored = load_state(storage, name)
            if stored is not None and name in self._agents:
                self._agents[name].restore(stored["round"], stored["state"])


def _evenly(group: list[Assignment], most: int) -> list[list[Assignment]]:
    """A list cut into as few parts of at most this many as there can be, about as long each."""
    count = -(-len(group) // most)
    bounds = [len(group) * part // count for part in range(count + 1)]
    return [group[start:stop] for start, stop in pairwise(bounds)]


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
