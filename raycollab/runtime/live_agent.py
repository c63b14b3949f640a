"""An agent at work on its host: it opens its data, takes part in rounds, and remembers what the next one needs."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from math import nan
from typing import Any

from torch import Tensor

from raycollab.agent import Agent
from raycollab.chains import Chain
from raycollab.checks import check_update
from raycollab.data import Current, Shard, Source, StreamedShard
from raycollab.errors import DataError, TaskMismatchError
from raycollab.growth import Forms, Renewal, Waiting
from raycollab.learners import JointLearner, Learner
from raycollab.ledger import Signer, kept_update
from raycollab.memory import Memory
from raycollab.offer import Offer
from raycollab.own_scores import scored
from raycollab.params import FlatModel
from raycollab.quality.opening import OpenedShard, open_shard
from raycollab.rng import derive_seed
from raycollab.shared_set import SharedSet, check_form
from raycollab.spec import PARAMS
from raycollab.task import Problem, Task
from raycollab.turn import Turn
from raycollab.types import LABELS, AgentCard, AgentReport, Assignment, OwnScores, Round, State, Update
from raycollab.withholding import without_withheld

_NOTHING = 1e-6  # what an update counts that learned from no example: alone it is still a mean


class LiveAgent:
    """An agent at work on its host.

    Args:
        agent: What the party brings.
        task: Its task, its own or the experiment's.
        model: Scratch space, shared with the other agents of the host that have the same task.
        chain: The transforms left of the aggregator run here.
        seed: The run's seed.
        handed: Its private part as it begins, from the run that this one starts from; None for the model's initial one.
        forms: Of a model that grows, `model` the last of them; None for one that stays.
    """

    def __init__(
        self,
        agent: Agent,
        task: Task,
        model: FlatModel,
        chain: Chain,
        seed: int,
        handed: dict[str, Tensor] | None = None,
        forms: Forms | None = None,
    ):
        self.agent = agent
        self._task = task
        self.model = model
        self._steps = chain.on_agent
        self._form = -1  # none, before it has agreed
        self._forms = forms or Forms((task,), lambda task: model, seed)
        self._waiting = Waiting(task)
        self._hides, self._weighed = chain.aggregator.hides_updates, chain.aggregator.weighed
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
        offer.check(own, name, self.agent.approves, own_task=self.agent.task is not None)
        self._whole, self._fingerprint = offer.spec, offer.fingerprint.digest()
        self._signer = Signer(name, self.agent.key, offer.run, self._fingerprint) if offer.run else None
        self._keeps_updates = offer.updates
        self._remembers |= offer.updates
        self.take_form(0)

    def take_form(self, form: int) -> None:
        """Go on with a form of the model; one that has a task of its own stays as it is.

        Raises: ModelError if the exchanged parameters do not fit.
        """
        form = min(form, self._forms.last)
        if form != self._form:
            self.model = self.memory.model = self._forms.model(form)
            coverage = self._whole.coverage(self.model.spec)
            self._told = None if coverage.full else coverage
            self._pipeline = self._steps.bind(self.model.spec)
            self._form = form

    def open(self) -> AgentCard:
        """Open the shard, check it, and say what is in it.

        Raises: DataError naming the agent, what is wrong and where; ModelError if a task of its own does not fit.
        """
        agent = self.agent
        self._turn_to(0)
        self._ready()  # for what cannot be known later
        examples, learner = self._shard.num_examples("train"), type(agent.learner).__name__
        agent.learner.check(examples)
        agent.learner.check_model(self.model.module)
        handed = ["with its private part of the last run"] if self._handed else []
        told = [note.removeprefix(f"agent {agent.name!r}: ") for note in (self._test.notes if self._test else ())]
        summary = ", ".join([self._data.summary, *told, *handed])
        card = AgentCard(agent.name, examples, summary, learner, self._remembers)
        return self._signer.approved(card) if self._signer else card

    def _turn_to(self, round: int) -> None:
        """Have the data at hand that there is in a round.

        Raises: As for `open`.
        """
        self._data = self._shards.at(round)
        self._test = self._tests.at(round) if self._tests else None

    @property
    def _shard(self) -> Shard | StreamedShard:
        return self._data.shard

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
        local = round if self._told is None else replace(round, vectors=self._told.take(round.vectors))
        kept = self.memory.kept(assignment.last_round)
        state = self._state(kept, local.vectors[PARAMS])
        self.model.load_private(state["private"])
        problem = Problem(self.agent.name, self._forms.task(self._form), self.model, self._ready(), stop)
        return Turn(problem, local, assignment, state, kept, start)

    def finish(self, turn: "Turn", update: Update, learned: State) -> tuple[Update, AgentReport]:
        """Check what was learned, put it through the transforms, and remember what the next round needs.

        Raises: UpdateError for a result that is not finite.
        """
        round, params, examples = turn.round, turn.params, turn.problem.shard.num_examples("train")
        told = {LABELS: float(self._waiting.labels(self._shard))} if self._forms.tells_labels else {}
        update = replace(
            update,
            scalars={**update.scalars, **told},
            vectors={name: self.memory.own(vector.detach().float()) for name, vector in update.vectors.items()},
            agent=self.agent.name,
            coverage=self._told,
            base_version=round.base_version,
            weight=update.weight if examples else 1.0,
            discount=turn.assignment.discount * (1.0 if examples else _NOTHING),
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
        who = f"agent {self.agent.name!r}: {type(self.agent.learner).__name__} or a transform"
        remembers = self.memory.remember(round.index, turn.kept, memory, form=self._form, who=who, may=self._remembers)
        report = turn.report(self._weighed(update), norm, examples, remembers, self._form, self._data.rejected)
        if self._signer:
            sent = nan if self._hides else norm
            report = replace(report, receipt=self._signer.receipt(update, round, learned=learned_norm, sent=sent))
        return replace(update, changes=()), report

    @property
    def alike(self) -> tuple[Learner, int, int] | None:
        """Agents of which this is equal can learn in the same steps; None if it has to learn by itself."""
        learner = self.agent.learner
        joint = isinstance(learner, JointLearner) and learner.joint and isinstance(self._shard, Shard)
        if not (joint and self._ready().num_examples("train") and self._task.tells_losses and self._shards.fixed):
            return None
        return learner, id(self.model), self._ready().num_examples("train")

    def validate(self, vectors: Mapping[str, Tensor], last_round: int, index: int) -> OwnScores:
        """Score the exchanged vectors, with what the agent has for itself, on its validation split and own test set.

        Args:
            vectors: The common ones.
            last_round: The committed round whose private state counts.
            index: The round whose data counts.
        """
        self._turn_to(index)
        local = vectors if self._told is None else self._told.take(vectors)
        state = self._state(self.memory.kept(last_round), local[PARAMS])
        self.model.load_private(state["private"])
        task = self._forms.task(self._form)
        problem = Problem(self.agent.name, task, self.model, self._shard, lambda: False)
        on_test = partial(self._test.score, task=task) if self._test else None
        return scored(problem, local, state["learner"], self.agent.learner.own_model, on_test)

    def _ready(self) -> Shard | StreamedShard:
        """The rows that it can learn from now."""
        return self._waiting.ready(self._shard, self._forms.outputs(self._form))

    def _state(self, kept: int, params: Tensor) -> dict[str, Any]:
        """What it remembers of a round, or begins with, as the present form of the model needs it."""
        state = self.memory.state(kept)
        was = state.get("form", 0) if state else self._form if self._handed is None else 0
        if was == self._form:
            return state or self._first_state(params)
        state = state or self._first_state(params)
        return Renewal(self._forms, was, self._form).all(state, self._first_state(params), self.model)

    def _first_state(self, params: Tensor) -> dict[str, Any]:
        learner, pipeline = self.agent.learner.init(params), self._pipeline.init(params)
        return {"private": self._handed, "learner": learner, "pipeline": pipeline}
