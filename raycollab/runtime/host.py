"""A host runs some of the agents: their updates, block by block, and the partial sum of each block."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

from torch import Tensor

from raycollab.agent import Agent
from raycollab.aggregation import Node, PairwiseSum, Partial, Stack, WeightedSum, add_up
from raycollab.checkpoint import load_state, save_state
from raycollab.determinism import fixed_threads, seeded
from raycollab.errors import UpdateError
from raycollab.fused import Layer, Stacked, layers_of
from raycollab.learners import JointLearner
from raycollab.offer import Offer
from raycollab.own_part import handed_on
from raycollab.params import FlatModel
from raycollab.rng import derive_seed
from raycollab.runtime.layout import Block
from raycollab.runtime.live_agent import LiveAgent
from raycollab.runtime.session import Session, build_model
from raycollab.runtime.sharing import Share, ShareResult
from raycollab.runtime.sides import Sides, failure_of
from raycollab.runtime.way_out import WayOut
from raycollab.storage import Storage
from raycollab.task import Task
from raycollab.types import AgentCard, AgentReport, Assignment, Failure, OwnScores, Round, Update
from raycollab.withholding import some_part

_MOST_GUESTS = 256  # agents that are open though their home is on another host
_Outcome = tuple[Partial, AgentReport] | Failure


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
        self._copies: dict[tuple[FlatModel, int], Stacked] = {}
        self._agents: dict[str, LiveAgent] = {}
        self._sides = Sides(session)
        self._way_out = WayOut(device)
        self._refused: dict[str, Failure] = {}  # those that could not be opened
        self._guests: list[str] = []  # opened since, those of longest ago first
        self._stopped = (0, 0, 0)
        self._overdue: Callable[[], bool] = lambda: False
        self._held: dict[str, Any] = {}  # what is to be stored
        self._form = 0  # of the model
        self._here: tuple[tuple[int, int, int], dict[str, Tensor]] | None = None  # a round's vectors on the device

    def open(self, offer: Offer, names: Collection[str] | None = None) -> list[AgentCard | Failure]:
        """Let agents agree to the task and open their shards; one card or failure each.

        Those of simulated parties that are not among `names` are opened when they are first needed.
        """
        self._aggregator = self._session.chain.aggregator.bind(offer.spec)
        self._offer, self._guests = offer, []
        self._stopped, self._refused, self._agents = (0, 0, 0), {}, {}  # another driver may have opened them before
        with fixed_threads(self._session.threads):
            return [self._open(agent) for name, agent in self._declared.items() if names is None or name in names]

    def _open(self, agent: Agent) -> AgentCard | Failure:
        task, spec = agent.task or self._session.task, self._offer.spec
        try:
            model, forms = self._model(task), self._session.forms(agent, self._model)
            start = self._session.start
            handed = None if start is None else handed_on(forms.model(0), start, agent.name)
            live = LiveAgent(agent, task, model, self._session.chain, self._session.seed, handed, forms)
            live.agree(self._offer)
            for covered in [some_part(spec)] if agent.learner.withholds else forms.coverages(spec):
                self._aggregator.check_coverage(covered)
            self._sides.open(agent, self._aggregator, self._offer.run)
            card = live.open()
        except Exception as error:  # whatever a party's data or model raises is reported, and costs only this agent
            self._refused[agent.name] = failure_of(agent.name, error)
            return self._refused[agent.name]
        self._agents[agent.name] = live
        return card

    def _live(self, name: str) -> LiveAgent | None:
        """An agent that is open; None if it cannot be opened."""
        if name not in self._declared:
            self._refused[name] = Failure(name, "KeyError", f"{name!r} is none of the agents of this host")
        elif name not in self._agents and name not in self._refused:
            self._open(self._declared[name])
            self._guests.append(name)
        live = self._agents.get(name)
        if live is not None:
            live.take_form(self._form)
        return live

    def _see_off(self) -> None:
        """Close the agents that were opened for a round and are too many, and try those that failed anew next time."""
        for name in [*self._guests[:-_MOST_GUESTS], *(name for name in self._guests if name in self._refused)]:
            self._agents.pop(name, None)
            self._refused.pop(name, None)
        self._guests = [name for name in self._guests if name in self._agents]

    def _model(self, task: Task) -> FlatModel:
        for known, model in self._models:
            if known == task:
                return model
        model = build_model(
            task, self._session.exchange, self._session.seed, self._device, whole=False, start=self._session.start
        )
        self._models.append((task, model))
        self._layers[model] = layers_of(model)
        return model

    def answer(self, messages: Mapping[str, Any]) -> dict[str, Any]:
        """Let each of these agents answer its message, or say why it does not."""
        return self._sides.answer(messages)

    def run(
        self, round: Round, share: Share, present: Sequence[int], stop: Callable[[], bool] = lambda: False
    ) -> ShareResult:
        """Update the agents of some blocks and add up what they send.

        Args:
            round: What was broadcast.
            share: The blocks.
            present: The numbers of all blocks of the round.
            stop: Asked at every batch, as is `self.stop`.
        Returns: What they send as few sums; or block by block if a codec is to change it on its way.
        """
        return self.begin(round, share, present, stop)()

    def begin(
        self, round: Round, share: Share, present: Sequence[int], stop: Callable[[], bool] = lambda: False
    ) -> Callable[[], ShareResult]:
        """The same, but without waiting for copies from a GPU.

        Returns: A function that waits, in any thread, until the sums are in the CPU's memory, and returns them. Its
            `seconds` are those until then, without the copies.
        """
        started = time.perf_counter()
        self._overdue = stop
        self._form, round = round.form, self._arrived(round)
        reports: list[AgentReport] = []
        failures: list[Failure] = []
        total = PairwiseSum(present)
        nodes: list[Node] = []
        with fixed_threads(self._session.threads):
            for block in share:
                partial = add_up(self._partials(round, block, reports, failures))
                if self._session.upload is None:
                    total.put(block.index, partial)
                else:
                    nodes.append(self._way_out.begin(Node(0, block.index, partial)))
        self._see_off()
        leaving = tuple(self._way_out.begin([*nodes, *total.nodes()]))
        arrival = self._way_out.arrival()
        made_in = (round.index, round.attempt, round.base_version)
        seconds = time.perf_counter() - started

        def arrived() -> ShareResult:
            arrival()
            return ShareResult(leaving, tuple(reports), tuple(failures), made_in, seconds)

        return arrived

    def _arrived(self, round: Round) -> Round:
        """The round with its vectors where agents compute; they are copied there once for all that start from them."""
        if self._device == "cpu":
            return round
        which = (round.index, round.attempt, round.base_version)
        if self._here is None or self._here[0] != which:
            self._here = which, {name: vector.to(self._device) for name, vector in round.vectors.items()}
        return replace(round, vectors=self._here[1])

    def _partials(
        self, round: Round, block: Block, reports: list[AgentReport], failures: list[Failure]
    ) -> Iterator[Partial]:
        """What the agents of a block send, one after another; their reports and failures are added to the lists."""
        for group in self._groups(block.assignments):
            for outcome in self._update(round, group):
                if isinstance(outcome, Failure):
                    failures.append(outcome)
                else:
                    reports.append(outcome[1])
                    yield outcome[0]

    def _collected(self, round: Round, update: Update, report: AgentReport) -> tuple[Partial, AgentReport]:
        """What leaves an agent: weighted sums stay on the device, a Stack leaves meanwhile, the CPU adds all else."""
        partial, report = self._sides.collected(round, update, report)
        if isinstance(partial, WeightedSum):
            return partial, report
        leaving = self._way_out.begin(partial)
        if not isinstance(partial, Stack):
            self._way_out.arrival()()
        return leaving, report

    def _groups(self, assignments: Sequence[Assignment]) -> list[list[Assignment]]:
        """The assignments in order, those that learn in the same steps together: what they are decides, never time."""
        most = self._session.agents_at_once
        if not most:
            return [[assignment] for assignment in assignments]
        alike: dict[Any, list[Assignment]] = {}
        for assignment in assignments:
            live = self._live(assignment.agent)
            kind = live.alike if live else None
            alike.setdefault(assignment.agent if kind is None else kind, []).append(assignment)
        return [part for group in alike.values() for part in _evenly(group, most)]

    def _update(self, round: Round, group: Sequence[Assignment]) -> Iterator[_Outcome]:
        """What becomes of agents that learn in the same steps, or of one that learns by itself."""
        live = self._live(group[0].agent)
        layers = self._layers.get(live.model) if live and self._session.agents_at_once and live.alike else None
        if layers is None:
            yield from (self._alone(round, assignment) for assignment in group)
        else:
            yield from self._together(round, group, layers)

    def _alone(self, round: Round, assignment: Assignment) -> _Outcome:
        name = assignment.agent
        live = self._live(name)
        if live is None:
            return self._refused[name]
        try:
            with seeded(round.seed_for("torch", name), self._device):
                return self._collected(round, *live.update(round, assignment, self._stop_of(round)))
        except Exception as error:  # whatever a party's code raises is data: it costs this agent this round
            return failure_of(name, error)

    def _together(self, round: Round, group: Sequence[Assignment], layers: Sequence[Layer]) -> Iterator[_Outcome]:
        lives = [self._agents[assignment.agent] for assignment in group]
        try:
            stop = self._stop_of(round)
            turns = [live.begin(round, assignment, stop) for live, assignment in zip(lives, group, strict=True)]
            problems, states = [turn.problem for turn in turns], [turn.state["learner"] for turn in turns]
            stacked = self._stacked(lives[0].model, layers, len(lives))
            learner, local = lives[0].agent.learner, turns[0].round
            learned = cast(JointLearner, learner).update_together(problems, stacked, turns[0].params, states, local)
        except Exception as error:  # as above, of all that learn together
            yield from (failure_of(assignment.agent, error) for assignment in group)
            return
        for live, turn, outcome in zip(lives, turns, learned, strict=True):
            try:
                if isinstance(outcome, UpdateError):
                    raise outcome
                yield self._collected(round, *live.finish(turn, *outcome))
            except Exception as error:  # as above
                yield failure_of(live.agent.name, error)

    def _stacked(self, model: FlatModel, layers: Sequence[Layer], count: int) -> Stacked:
        """Copies of a model's parameters, made once and used by whoever learns together."""
        known = self._copies.get((model, count))
        if known is None:
            known = self._copies[model, count] = Stacked(layers, model.spec, count, self._device)
        return known

    def _stop_of(self, round: Round) -> Callable[[], bool]:
        mine = (round.index, round.attempt, round.base_version)
        return lambda: self._stopped >= mine or self._overdue()

    def stop(self, index: int, attempt: int, version: int) -> None:
        """Make updates that started from up to this version, in this attempt at a round, end at their next batch.

        Safe from another thread.
        """
        self._stopped = (index, attempt, version)

    def validate(
        self, vectors: Mapping[str, Tensor], last_rounds: Mapping[str, int], index: int, form: int = 0
    ) -> dict[str, OwnScores | Failure]:
        """Score the vectors that a round ended with, in this form, on the data that each of these agents has in it."""
        self._form, outcomes = form, dict[str, OwnScores | Failure]()
        here = {name: vector.to(self._device) for name, vector in vectors.items()}
        with fixed_threads(self._session.threads):
            for name, last_round in last_rounds.items():
                live = self._live(name)
                if live is None:
                    outcomes[name] = self._refused[name]
                    continue
                try:
                    with seeded(derive_seed(self._session.seed, "validate", name), self._device):
                        outcomes[name] = live.validate(here, last_round, index)
                except Exception as error:  # as above: a failed score is a row in the report
                    outcomes[name] = failure_of(name, error)
        return outcomes

    def hold(self, last_rounds: Mapping[str, int]) -> list[Failure]:
        """Take hold of what each of these agents remembers of its last committed round, or before it if that was lost.

        Returns: The agents that are not open here, and so hold nothing.
        """
        kept = {
            name: self._agents[name].memory.kept(last) for name, last in last_rounds.items() if name in self._agents
        }
        self._held = {
            name: {"round": round, "state": self._agents[name].memory.state(round)}
            for name, round in kept.items()
            if round
        }
        return [failure for name, failure in self._refused.items() if name in last_rounds]

    def write(self, storage: Storage) -> None:
        """Store what is held; rounds may go on meanwhile, as nothing remembered is ever written into."""
        held, self._held = self._held, {}
        for name, memory in held.items():
            save_state(storage, name, memory)

    def restore(self, storage: Storage, names: Sequence[str]) -> None:
        """Load what these agents stored."""
        for name in names:
            stored = load_state(storage, name)
            if stored is not None and name in self._agents:
                self._agents[name].memory.restore(stored["round"], stored["state"])


def _evenly(group: list[Assignment], most: int) -> list[list[Assignment]]:
    """A list cut into as few parts of at most this many as there can be, about as long each."""
    count = -(-len(group) // most)
    bounds = [len(group) * part // count for part in range(count + 1)]
    return [group[start:stop] for start, stop in pairwise(bounds)]
