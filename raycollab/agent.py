"""One party: its shard of data, its learner, and what it remembers. Plain Python."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from raycollab.chains import Chain
from raycollab.checks import check_update
from raycollab.config import Settings, require
from raycollab.data import Shard, Source
from raycollab.errors import ConfigError, DataError, TaskMismatchError, UpdateError
from raycollab.learners import JointLearner, Learner
from raycollab.metrics import Statistics
from raycollab.params import FlatModel
from raycollab.quality.opening import check_quality, open_shard
from raycollab.rng import derive_seed
from raycollab.shared_set import SharedSet, check_form
from raycollab.spec import BUFFERS, PARAMS, ParamSpec
from raycollab.task import Fingerprint, Problem, Task
from raycollab.tree import has_leaves, map_leaves
from raycollab.turn import Turn
from raycollab.types import AgentCard, AgentReport, Assignment, OwnScores, Round, State, Update


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
    """

    name: str
    shard: Source
    learner: Learner
    task: Task | None = None
    val_fraction: float = 0.1
    approves: str = ""
    quality: str = "keep"
    test: Source | None = None

    def __post_init__(self) -> None:
        require(bool(self.name), "Agent.name", self.name, "must not be empty")
        require(0 <= self.val_fraction < 1, "Agent.val_fraction", self.val_fraction, "must be in [0, 1)")
        check_quality("Agent.quality", self.quality)
        for name, kind in (("shard", Source), ("learner", Learner)):
            if not isinstance(getattr(self, name), kind):
                raise ConfigError(f"Agent({self.name!r}).{name}={getattr(self, name)!r}: must be a {kind.__name__}")
        if not isinstance(self.test, Source | None):
            raise ConfigError(f"Agent({self.name!r}).test={self.test!r}: must be a Source, or None for no test set")
        shared = self.shard.overlap() if self.val_fraction else ""
        require(not shared, f"Agent({self.name!r}).val_fraction", self.val_fraction, f"must be 0: {shared}")


@dataclass(frozen=True)
class Offer:
    """What the driver asks a party to agree to before round 1: the task and what is exchanged."""

    fingerprint: Fingerprint
    spec: ParamSpec


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
        self._seed = seed
        self._handed = handed
        self._states: dict[int, State] = {}  # by the round that made them; the last two
        self._fingerprint = ""
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
            own.check_offer(offered, name)
        coverage = offer.spec.coverage(self.model.spec)
        self._pipeline = self._pipeline.bind(self.model.spec)
        self._told = None if coverage.params.full and coverage.buffers.full else coverage
        self._fingerprint = digest

    def open(self) -> AgentCard:
        """Open the shard, check it, and say what is in it.

        Raises: DataError naming the agent, what is wrong and where; ModelError if a task of its own does not fit.
        """
        agent = self.agent
        where = f"agent {agent.name!r}: {agent.shard.describe()}"
        seed = derive_seed(self._seed, "validation", agent.name)
        try:
            opened = open_shard(
                agent.shard,
                self._task,
                where=where,
                val_fraction=agent.val_fraction,
                seed=seed,
                device=self.model.device,
                quality=agent.quality,
            )
        except DataError as error:
            message = str(error)
            raise DataError(message if message.startswith(where) else f"agent {agent.name!r}: {message}") from error
        self._shard = opened.shard
        where_test, device = f"agent {agent.name!r}: its test set", self.model.device
        self._test = SharedSet(agent.test, self._task, device, where_test) if agent.test is not None else None
        if agent.task is not None:
            check_form(self._task, self.model.module, next(self._shard.batches("train", 2, seed=None)), where)
        examples, learner = self._shard.num_examples("train"), type(agent.learner).__name__
        summary = opened.summary + (", with its private part of the last run" if self._handed else "")
        return AgentCard(agent.name, examples, summary, learner, self._remembers)

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
        local = round if self._told is None else replace(round, vectors=self._localised(round.vectors))
        kept = self.kept(assignment.last_round)
        state = self.state(kept) or self._first_state(local.vectors[PARAMS])
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
            vectors={name: self._own(vector.detach().float()) for name, vector in update.vectors.items()},
            agent=self.agent.name,
            coverage=self._told,
            base_version=round.base_version,
            discount=turn.assignment.discount,
        )
        norm = check_update(update, self.model.spec, round)  # already here: transforms may hide what is not finite
        piped = turn.state["pipeline"]
        if self._pipeline.transforms:
            seed = round.seed_for("agent chain", self.agent.name)
            update, piped = self._pipeline.update(update, piped, params, seed=seed)
            norm = check_update(update, self.model.spec, round)
        memory = {"private": self.model.private(), "learner": self._kept(learned), "pipeline": self._kept(piped)}
        remembers = self._remember(round.index, turn.kept, memory)
        report = AgentReport(
            agent=self.agent.name,
            examples=int(update.scalars.get("counted", self._shard.num_examples("train"))),
            loss=update.scalars.get("loss", float("nan")),
            seconds=time.perf_counter() - turn.started,
            num_bytes=sum(vector.numel() * vector.element_size() for vector in update.vectors.values()),
            norm=norm,
            weight=update.weight * update.discount,
            fresh=turn.kept != turn.assignment.last_round,
            remembers=remembers,
        )
        return update, report

    @property
    def alike(self) -> tuple[Learner, int, int] | None:
        """Agents of which this is equal can learn in the same steps; None if it has to learn by itself."""
        learner = self.agent.learner
        joint = isinstance(learner, JointLearner) and learner.joint and isinstance(self._shard, Shard)
        if not (joint and self._task.tells_losses):
            return None
        return learner, id(self.model), self._shard.num_examples("train")

    def validate(self, vectors: Mapping[str, Tensor], last_round: int) -> OwnScores:
        """Score the exchanged vectors, with the agent's private part, on its validation split and its own test set."""
        local = self._localised(vectors)
        state = self.state(self.kept(last_round))
        self.model.load_private(state["private"] if state else self._handed)
        self.model.load(local[PARAMS], local.get(BUFFERS))
        validation = self._task.evaluate(self.model.module, self._shard.batches("val", 1024, seed=None))
        return OwnScores(validation, self._test.score(self.model.module) if self._test else Statistics.empty())

    def kept(self, last_round: int) -> int:
        """The newest round up to a committed one that it remembers; an earlier one if its node was lost since, or 0."""
        return max((index for index in self._states if index <= last_round), default=0)

    def state(self, kept: int) -> State | None:
        """What it remembers of a round; None if that is nothing."""
        return self._states.get(kept)

    def restore(self, last_round: int, state: State) -> None:
        """Remember this of a committed round; its vectors are moved to where the agent computes."""
        device = self.model.device
        self._states = {last_round: map_leaves(lambda leaf: leaf.to(device) if _is_vector(leaf) else leaf, state)}

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
        self._states = {**({kept: self._states[kept]} if kept else {}), index: state}
        return True

    def _kept(self, tree: Any) -> Any:
        """The tree with copies of what lies in the model's memory, which the next agent overwrites."""
        return map_leaves(lambda leaf: self._own(leaf) if isinstance(leaf, Tensor) else leaf, tree)

    def _own(self, vector: Tensor) -> Tensor:
        return vector.clone() if self.model.is_scratch(vector) else vector


def _is_vector(leaf: Any) -> bool:
    """Whether a leaf is a tensor with elements; optimizers keep their step counts, which are not, on the CPU."""
    return isinstance(leaf, Tensor) and leaf.ndim > 0
