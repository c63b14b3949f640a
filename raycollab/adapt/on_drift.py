"""A learner that watches its data, acts once it has drifted, and takes back what did harm."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor, nn

from raycollab.adapt.action import Acting, Scene, own_tensors
from raycollab.adapt.detector import Verdict
from raycollab.adapt.signals import observed
from raycollab.adapt.watch import Watch
from raycollab.learners import Learner
from raycollab.learners.wrapper import LearnerWrapper
from raycollab.own_model import OWN
from raycollab.settings import require
from raycollab.spec import BUFFERS, PARAMS
from raycollab.task import Problem
from raycollab.types import SCORE, Batch, Change, Round, State, Update

DRIFT = "drift"  # the scalar that an update carries: the strongest of a round's verdicts, in thresholds


@dataclass(frozen=True)
class OnDrift(LearnerWrapper):
    """Compares the newest examples with those of an earlier round before each round's steps, and acts on drift.

    Watches are asked in order, and the first that alarms acts. Examples stay with the agent, in its private state: what
    leaves is one number, "drift", and what was done in words. While an action is young, a fall of the score on the
    shared set takes it back, and the next action of its watch takes its place. Every action taken, ended or rolled back
    is a row in changes.parquet.

    Args:
        learner: Takes the steps.
        watches: What is watched, and what is done.
        window: Examples that are compared, drawn anew in each round; no more than the shard has.
        warmup: Rounds in which the agent only learns: a model that knows nothing yet tells nothing.
        cooldown: Rounds after an alarm in which nothing is watched, while the reference is drawn anew.
        tolerance: Fall of the score on the shared set, in units of the primary metric, that counts against an action.
        patience: Rounds in a row with such a fall that roll it back; more than lie between evaluations.
        probation: Rounds after an action in which they count; later a fall has other reasons.
    Raises: ConfigError for a window larger than the shard; ModelError for an action on what the model has not.
    Source: Gama et al., ACM Computing Surveys 2014 (detect, then adapt); actions name their own.
    """

    watches: tuple[Watch, ...]
    window: int = 128
    warmup: int = 3
    cooldown: int = 3
    tolerance: float = 0.05
    patience: int = 2
    probation: int = 5

    adds = (DRIFT,)
    remembers: ClassVar[bool] = True  # type: ignore[misc]
    formula = "drift = max over watches of statistic / threshold;  above 1: the watch's action"

    def __post_init__(self) -> None:
        object.__setattr__(self, "watches", tuple(self.watches))
        require(isinstance(self.learner, Learner), "OnDrift.learner", self.learner, "must be a Learner, such as SGD")
        good = bool(self.watches) and all(isinstance(watch, Watch) for watch in self.watches)
        require(good, "OnDrift.watches", self.watches, "must be one Watch or more")
        require(self.window >= 8, "OnDrift.window", self.window, "must be >= 8 examples: fewer tell nothing")
        for name in ("warmup", "patience", "probation"):
            require(getattr(self, name) >= 1, f"OnDrift.{name}", getattr(self, name), "must be >= 1 round")
        require(self.cooldown >= 0, "OnDrift.cooldown", self.cooldown, "must be >= 0 rounds")
        require(self.tolerance >= 0, "OnDrift.tolerance", self.tolerance, "must be >= 0")
        for action in (action for watch in self.watches for action in watch.actions):
            action.check(self.learner)

    @property
    def withholds(self) -> bool:  # type: ignore[override]
        """Whether an action or the learner may."""
        return self.learner.withholds or any(action.withholds for watch in self.watches for action in watch.actions)

    def check(self, num_examples: int) -> None:
        """Raise ConfigError for a window larger than the shard."""
        accepted = f"must be <= {num_examples}, the shard's training examples"
        require(self.window <= num_examples, "OnDrift.window", self.window, accepted)
        super().check(num_examples)

    def check_model(self, module: nn.Module) -> None:
        """Raise ModelError for an action on what the model has not."""
        for action in (action for watch in self.watches for action in watch.actions):
            action.check_model(module)
        super().check_model(module)

    def init(self, params: Tensor) -> State:
        """Nothing seen, no action."""
        detectors = [watch.detector.init() for watch in self.watches]
        watching = {"reference": None, "detectors": detectors, "warm": self.warmup, "active": [], "barred": []}
        return {"learner": self.learner.init(params), OWN: None, **watching}

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Take back, look, act, learn."""
        if not problem.shard.num_examples("train"):  # all its rows wait for a model with more outputs
            update, state = self._learned(state, problem, params, round)
            return replace(update, scalars={**update.scalars, DRIFT: 0.0}), state
        newest = next(iter(problem.shard.batches("train", self.window, seed=round.seed_for("window", problem.agent))))
        vectors = {PARAMS: params, BUFFERS: round.vectors.get(BUFFERS)}
        changes: list[Change] = []
        self._use(problem, vectors, state)
        before = _loss(problem, newest)
        state = self._reviewed(state, problem, vectors, round, changes)
        state, drift = self._looked(state, problem, round, newest, changes)
        update, state = self._learned(state, problem, params, round)
        if changes:
            self._use(problem, {name: _moved(vector, update, name) for name, vector in vectors.items()}, state)
            after = _loss(problem, newest)
            changes = [replace(change, before=before, after=after) for change in changes]
        scalars = {**update.scalars, DRIFT: drift}
        return replace(update, scalars=scalars, changes=(*update.changes, *changes)), state

    def own_model(self, problem: Problem, vectors: Mapping[str, Tensor], state: State) -> dict[str, Tensor] | None:
        """The common model with what actions have made the agent's own; the learner's own model where it has one."""
        own = self.learner.own_model(problem, vectors, state["learner"])
        if own is not None or not state[OWN]:
            return own
        self._use(problem, vectors, state)
        return problem.model.whole()

    def _use(self, problem: Problem, vectors: Mapping[str, Tensor | None], state: State) -> None:
        """Put what the agent uses now into its model, which `_looked` and actions find there."""
        problem.model.load(vectors[PARAMS], vectors.get(BUFFERS))  # type: ignore[arg-type]
        problem.model.load_whole(state[OWN] or {})

    def _reviewed(
        self, state: State, problem: Problem, vectors: Mapping[str, Any], round: Round, changes: list[Change]
    ) -> State:
        """Without the actions that have had their time, or after which the score on the shared set fell."""
        score = round.scalars.get(SCORE)
        state = _with_active(state, [self._judged_by(score, each) for each in state["active"]])
        for active in state["active"]:
            watch = self.watches[active["watch"]]
            action = watch.actions[active["action"]]
            name, detail = type(action).__name__, action.detail(active["own"])
            left = [each for each in state["active"] if each is not active]
            if action.rounds is not None and active["rounds"] >= action.rounds:
                state = _with_active(state, left)
                changes.append(Change(name, "ended", f"after {action.rounds} rounds", detail))
            elif active["falls"] >= self.patience:
                cause = f"the score on the shared set fell from {active['score']:.4g} to {score:.4g}"
                changes.append(Change(name, "rolled back", cause, detail))
                barred = [*state["barred"], [active["watch"], active["action"]]]
                state = {**_with_active(state, left), "learner": active["before"], "barred": barred}
                self._use(problem, vectors, state)
                state = self._acted(state, active["watch"], f"{name} was rolled back", problem, round, changes)
        self._use(problem, vectors, state)
        return state

    def _judged_by(self, score: float | None, active: dict[str, Any]) -> dict[str, Any]:
        """An active action with the rounds in a row, of its first ones, after which the shared score fell."""
        before = active["score"]
        fell = score is not None and before is not None and score < before - self.tolerance
        return {**active, "falls": active["falls"] + 1 if fell and active["rounds"] <= self.probation else 0}

    def _looked(
        self, state: State, problem: Problem, round: Round, newest: Batch, changes: list[Change]
    ) -> tuple[State, float]:
        """Ask the watches; act on the first alarm. Returns the strongest verdict too, 0 where none was asked for."""
        if state["reference"] is None:  # what cannot be watched is an error of the first round
            for watch in self.watches:
                observed(watch.signal, problem.task, problem.model.module, newest)
        if state["warm"] > 0 or state["reference"] is None:
            reference = {name: column.clone() for name, column in newest.items()}
            return {**state, "warm": state["warm"] - 1, "reference": reference}, 0.0
        strongest, detectors, alarm = 0.0, list[State](), None
        for place, watch in enumerate(self.watches):
            verdict, memory = self._judged(place, watch, state, problem, round, newest)
            detectors.append(memory)
            strongest = max(strongest, verdict.ratio)
            alarm = (place, verdict) if alarm is None and verdict.drifted else alarm
        state = {**state, "detectors": detectors}
        if alarm is None:
            return state, strongest
        place, verdict = alarm
        watch = self.watches[place]
        kind = type(watch.detector).__name__
        cause = f"{watch.signal} drifted: {kind} {verdict.statistic:.4g} > {verdict.threshold:.4g}"
        state = self._acted(state, place, cause, problem, round, changes)
        fresh = [each.detector.init() for each in self.watches]
        reference = {name: column.clone() for name, column in newest.items()}
        return {**state, "detectors": fresh, "reference": reference, "warm": self.cooldown}, strongest

    def _judged(
        self, place: int, watch: Watch, state: State, problem: Problem, round: Round, newest: Batch
    ) -> tuple[Verdict, State]:
        values, reference = (
            observed(watch.signal, problem.task, problem.model.module, batch) for batch in (newest, state["reference"])
        )
        seed = round.seed_for("watch", problem.agent, place)
        return watch.detector.update(values, reference, state["detectors"][place], seed=seed)

    def _acted(
        self, state: State, place: int, cause: str, problem: Problem, round: Round, changes: list[Change]
    ) -> State:
        """With the first action of a watch that was not rolled back and is not active."""
        taken = [*state["barred"], *([each["watch"], each["action"]] for each in state["active"])]
        left = [number for number in range(len(self.watches[place].actions)) if [place, number] not in taken]
        if not left:
            changes.append(Change("drift", "reported", cause))
            return state
        action = self.watches[place].actions[left[0]]
        own = action.begin(Scene(problem, round, state["reference"]))
        changes.append(Change(type(action).__name__, "taken", cause, action.detail(own)))
        begun = {"watch": place, "action": left[0], "own": own, "rounds": 0, "before": state["learner"]}
        begun |= {"score": round.scalars.get(SCORE), "falls": 0}
        return _with_active(state, [*state["active"], begun])

    def _learned(self, state: State, problem: Problem, params: Tensor, round: Round) -> tuple[Update, State]:
        """Let the learner work under all active actions, the newest outermost."""
        learner, memory = self.learner, state["learner"]
        for active in state["active"]:
            learner = Acting(learner, self.watches[active["watch"]].actions[active["action"]])
            memory = {"own": active["own"], "learner": memory}
        update, memory = learner.update(problem, params, memory, round)
        actives = []
        for active in reversed(state["active"]):
            actives.append({**active, "own": memory["own"], "rounds": active["rounds"] + 1})
            memory = memory["learner"]
        return update, {**_with_active(state, actives[::-1]), "learner": memory}


def _with_active(state: State, active: list[dict[str, Any]]) -> State:
    """With other active actions, and what the agent uses of its own under them."""
    return {**state, "active": active, OWN: own_tensors([each["own"] for each in active]) or None}


def _loss(problem: Problem, batch: Batch) -> float:
    """The model's mean loss over examples, in evaluation mode."""
    return float(observed("loss", problem.task, problem.model.module, batch).mean())


def _moved(vector: Tensor | None, update: Update, name: str) -> Tensor | None:
    """A vector after the agent's own steps."""
    change = update.vectors.get("delta" if name == PARAMS else name)
    return vector if vector is None or change is None else vector + change
