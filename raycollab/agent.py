"""One party: its shard of data, its learner, and what it remembers. Plain Python."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import nan
from typing import Any

from torch import Tensor

from raycollab.chains import Chain
from raycollab.checks import check_update
from raycollab.data import Current, Shard, Source
from raycollab.errors import ConfigError, DataError, TaskMismatchError, UpdateError
from raycollab.keys import Key
from raycollab.learners import JointLearner, Learner
from raycollab.ledger import Signer, kept_update
from raycollab.memory import Memory
from raycollab.offer import Offer
from raycollab.own_scores import scored
from raycollab.params import FlatModel
from raycollab.quality.opening import OpenedShard, check_quality, open_shard
from raycollab.rng import derive_seed
from raycollab.settings import Settings, require
from raycollab.shared_set import SharedSet, check_form
from raycollab.spec import PARAMS
from raycollab.task import Problem, Task
from raycollab.tree import has_leaves
from raycollab.turn import Turn
from raycollab.types import AgentCard, AgentReport, Assignment, OwnScores, Round, State, Update
from raycollab.withholding import without_withheld


@dataclass(frozen=True)
class Agent(Settings):
    """What a party brings. A value: nothing is opened before the agent runs on its own node.

    Args:
        name: Unique in an experiment.
        shard: Where its data is.
        learner: How it learns.
        task: Its own task, with its own loss; None takes the experiment's.
        val_fraction: Share of the shard that is kept for its own validation, in [0, 1).
        approves: Fingerprint of the only task it agrees to; empty agrees to its own.
        quality: What becomes of rows whose label is likely wrong: "keep", "down-weight" (they count half) or "drop".
        test: Where its own test set is, which it never trains on: the common model with its private part is scored
            there in the rounds that are evaluated. Parties with tasks of their own have no use for the shared one.
        key: What it signs its updates with, for the ledger; None signs nothing.
    """

    name: str
    shard: Source
    learner: Learner
    task: Task | None = None
    val_fraction: float = 0.1
    approves: str = ""
    quality: str = "keep"
    test: Source | None = None
    key: Key | None = None

    def __post_init__(self) -> None:
        require(bool(self.name), "Agent.name", self.name, "must not be empty")
        require(0 <= self.val_fraction < 1, "Agent.val_fraction", self.val_fraction, "must be in [0, 1)")
        check_quality("Agent.quality", self.quality)
        for name, kind in (("shard", Source), ("learner", Learner)):
            if not isinstance(getattr(self, name), kind):
                raise ConfigError(f"Agent({self.name!r}).{name}={getattr(self, name)!r}: must be a {kind.__name__}")
        if not isinstance(self.test, Source | None):
            raise ConfigError(f"Agent({self.name!r}).test={self.test!r}: must be a Source, or None for no test set")
        if not isinstance(self.key, Key | None):
            raise ConfigError(f"Agent({self.name!r}).key={self.key!r}: must be a Key, or None to sign nothing")
        shared = self.shard.overlap() if self.val_fraction else ""
        require(not shared, f"Agent({self.name!r}).val_fraction", self.val_fraction, f"must be 0: {shared}")


class LiveAgent:
    """An agent at work on its host.

    Args:
        agent: What the party brings.
        task: Its task, its own or the experiment's.
        model: Scratch space, shared with the other agents of the host that have the same task.
        chain: The transforms left of the aggregator run here.
        seed: The run's seed.
        handed: Its private part as it begins, from the run that this one starts from; None for the model's initial one.
    """

    def __init__(
        self,
        agent: Agent,
        task: Task,
        model: FlatModel,
        chain: Chain,
        seed: int,
        handed: dict[str, Tensor] | None = None,
    ):
        self.agent = agent
        self._task = task
        self.model = model
        self._pipeline = chain.on_agent
        self._hides = chain.aggregator.hides_updates
        self._seed = seed
        self._handed = handed
        self.memory = Memory(model)
        self._fingerprint = ""
        self._shards = Current(agent.shard, self._opened)
        self._tests = Current(agent.test, self._opened_test) if agent.test is not None else None
        piped = any(transform.remembers for transform in chain.on_agent.transforms)
        self._remembers = agent.learner.remembers or piped or bool(model.private())

    def agree(self, offer: Offer) -> None:
        """Check the task against what the party approved.

        Raises: TaskMismatchError, or ModelError if the exchanged parameters do not fit.
        """
        name = self.agent.name
        own = self._task.fingerprint(self.model.spec)
        digest = offer.fingerprint.digest()
        if self.agent.approves and self.agent.approves != digest:
            raise TaskMismatchError(
                f"agent {name!r} approves only task {self.agent.approves} and was offered {digest}: {offer.fingerprint}"
            )
        if not self.agent.approves:
            offered = (
                offer.fingerprint
                if self.agent.task is None
                else replace(offer.fingerprint, loss=own.loss, metrics=own.metrics)
            )
            own.check_offer(offered, name, slices=offer.spec.slices)
        coverage = offer.spec.coverage(self.model.spec)
        self._pipeline = self._pipeline.bind(self.model.spec)
        self._whole = offer.spec
        self._signer = Signer(self.agent.name, self.agent.key, offer.run, digest) if offer.run else None
        self._keeps_updates = offer.updates
        self._remembers |= offer.updates
        self._told = None if coverage.params.full and coverage.buffers.full else coverage
        self._fingerprint = digest

    def open(self) -> AgentCard:
        """Open the shard, check it, and say what is in it.

        Raises: DataError naming the agent, what is wrong and where; ModelError if a task of its own does not fit.
        """
        agent = self.agent
        self._turn_to(0)
        examples, learner = self._shard.num_examples("train"), type(agent.learner).__name__
        agent.learner.check(examples)
        agent.learner.check_model(self.model.module)
        summary = self._shards.at(0).summary + (", with its private part of the last run" if self._handed else "")
        card = AgentCard(agent.name, examples, summary, learner, self._remembers)
        return self._signer.approved(card) if self._signer else card

    def _turn_to(self, round: int) -> None:
        """Have the data at hand that there is in a round.

        Raises: As for `open`.
        """
        self._shard = self._shards.at(round).shard
        self._test = self._tests.at(round) if self._tests else None

    def _opened(self, source: Source) -> OpenedShard:
        """A source of its own as it learns from it."""
        agent = self.agent
        where = f"agent {agent.name!r}: {source.describe()}"
        try:
            opened = open_shard(
                source,
                self._task,
                where=where,
                val_fraction=agent.val_fraction,
                seed=derive_seed(self._seed, "validation", agent.name),
                device=self.model.device,
                quality=agent.quality,
            )
        except DataError as error:
            message = str(error)
            raise DataError(message if message.startswith(where) else f"agent {agent.name!r}: {message}") from error
        if agent.task is not None:
            check_form(self._task, self.model.module, next(opened.shard.batches("train", 2, seed=None)), where)
        return opened

    def _opened_test(self, source: Source) -> SharedSet:
        return SharedSet(source, self._task, self.model.device, f"agent {self.agent.name!r}: its test set")

    def update(self, round: Round, assignment: Assignment, stop: Callable[[], bool]) -> tuple[Update, AgentReport]:
        """Take part in a round. Idempotent: redoing a round starts from the same state and gives the same bits.

        Raises: TaskMismatchError for another task than the one agreed on, UpdateError for a result that is not
            finite, RoundStopped.
        """
        turn = self.begin(round, assignment, stop)
        learner, state = self.agent.learner, turn.state["learner"]
        update, learned = learner.update(turn.problem, turn.params, state, turn.round)
        return self.finish(turn, update, learned)

    def begin(self, round: Round, assignment: Assignment, stop: Callable[[], bool]) -> "Turn":
        """Take its share of the round and its own state; its private part goes into the model.

        Raises: TaskMismatchError for another task than the one agreed on.
        """
        start = time.perf_counter()
        if round.fingerprint != self._fingerprint:
            raise TaskMismatchError(
                f"agent {self.agent.name!r} agreed to task {self._fingerprint} and refuses round {round.index} "
                f"with {round.fingerprint}"
            )
        self._turn_to(round.index)
        local = round if self._told is None else replace(round, vectors=self._localised(round.vectors))
        kept = self.memory.kept(assignment.last_round)
        state = self.memory.state(kept) or self._first_state(local.vectors[PARAMS])
        self.model.load_private(state["private"])
        problem = Problem(self.agent.name, self._task, self.model, self._shard, stop)
        return Turn(problem, local, assignment, state, kept, start)

    def finish(self, turn: "Turn", update: Update, learned: State) -> tuple[Update, AgentReport]:
        """Check what was learned, put it through the transforms, and remember what the next round needs.

        Raises: UpdateError for a result that is not finite.
        """
        round, params = turn.round, turn.params
        update = replace(
            update,
            vectors={name: self.memory.own(vector.detach().float()) for name, vector in update.vectors.items()},
            agent=self.agent.name,
            coverage=self._told,
            base_version=round.base_version,
            discount=turn.assignment.discount,
        )
        norm = learned_norm = check_update(update, self.model.spec, round)  # before transforms hide what is not finite
        piped = turn.state["pipeline"]
        if self._pipeline.transforms:
            seed = round.seed_for("agent chain", self.agent.name)
            update, piped = self._pipeline.update(update, piped, params, seed=seed)
            norm = check_update(update, self.model.spec, round)
        if update.withheld:
            update = without_withheld(update, self.model.spec, self._whole)
        memory = {"private": self.model.private(), **self.memory.own({"learner": learned, "pipeline": piped})}
        if self._keeps_updates:
            memory["sent"] = kept_update(update)
        remembers = self._remember(round.index, turn.kept, memory)
        report = turn.report(update, norm, self._shard.num_examples("train"), remembers)
        if self._signer:
            sent = nan if self._hides else norm
            report = replace(report, receipt=self._signer.receipt(update, round, learned=learned_norm, sent=sent))
        return replace(update, changes=()), report

    @property
    def alike(self) -> tuple[Learner, int, int] | None:
        """Agents of which this is equal can learn in the same steps; None if it has to learn by itself."""
        learner = self.agent.learner
        joint = isinstance(learner, JointLearner) and learner.joint and isinstance(self._shard, Shard)
        if not (joint and self._task.tells_losses and self._shards.fixed):
            return None
        return learner, id(self.model), self._shard.num_examples("train")

    def validate(self, vectors: Mapping[str, Tensor], last_round: int, index: int) -> OwnScores:
        """Score the exchanged vectors, with what the agent has for itself, on its validation split and own test set.

        Args:
            vectors: The common ones.
            last_round: The committed round whose private state counts.
            index: The round whose data counts.
        """
        self._turn_to(index)
        local = self._localised(vectors)
        state = self.memory.state(self.memory.kept(last_round))
        self.model.load_private(state["private"] if state else self._handed)
        learned = state["learner"] if state else self.agent.learner.init(local[PARAMS])
        problem = Problem(self.agent.name, self._task, self.model, self._shard, lambda: False)
        on_test = self._test.score if self._test else None
        return scored(problem, local, learned, self.agent.learner.own_model, on_test)

    def _localised(self, vectors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if self._told is None:
            return vectors
        return {name: self._told.of(name).take(vector) for name, vector in vectors.items()}

    def _first_state(self, params: Tensor) -> dict[str, Any]:
        return {
            "private": self._handed,
            "learner": self.agent.learner.init(params),
            "pipeline": self._pipeline.init(params),
        }

    def _remember(self, index: int, kept: int, state: dict[str, Any]) -> bool:
        """Keep the state of this round and of the one that it started from; an agent without any keeps none."""
        if not kept and not has_leaves(state):
            return False
        if not self._remembers:
            raise UpdateError(
                f"agent {self.agent.name!r}: {type(self.agent.learner).__name__} or a transform returns state, but "
                f"says remembers=False: its next round may be on another host; set remembers=True in its class"
            )
        self.memory.keep(index, kept, state)
        return True
