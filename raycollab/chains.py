"""A chain: transforms left of the aggregator run on each agent, those right of it on the driver."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from raycollab.aggregation import Aggregator, Objective, Partial
from raycollab.errors import ConfigError
from raycollab.rng import derive_seed
from raycollab.spec import DELTA, ParamSpec
from raycollab.transforms import Transform
from raycollab.types import State, Step, Update


@dataclass(frozen=True)
class Chain:
    """Steps in order, exactly one of them an aggregator; make one with `chain(...)`."""

    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        strange = [step for step in self.steps if not isinstance(step, Aggregator | Transform)]
        if strange:
            raise ConfigError(
                f"chain: {strange[0]!r} is neither a Transform nor an Aggregator; give instances such as Mean()"
            )
        found = [type(step).__name__ for step in self.steps if isinstance(step, Aggregator)]
        if len(found) != 1:
            raise ConfigError(
                f"chain: {len(found)} aggregators {found}; give exactly one, such as chain(ClipNorm(10.0), Mean())"
            )
        right = self.on_driver.transforms
        if right and self.aggregator.several:
            raise ConfigError(
                f"chain: {type(self.aggregator).__name__} merges several models, and {right[0]!r} right of it would "
                f"change the first alone; leave it out, or put it on the left"
            )

        if right and self.aggregator.remakes:
            raise ConfigError(
                f"chain: {type(self.aggregator).__name__} makes factors anew, of which a delta is no direction, and "
                f"{right[0]!r} right of it would change that; leave it out, or put it on the left"
            )
        early = next((step for step in self.steps[:-1] if isinstance(step, Transform) and step.last), None)
        if early is not None:
            raise ConfigError(f"chain: {early!r} has the last word on the common model: it belongs at the end")
        alone = next((step for step in self.on_driver.transforms if step.together), None)
        if alone is not None:
            raise ConfigError(f"chain: {alone!r} is what agents do together: it belongs on the left of the aggregator")
        shared = next((step for step in self.on_agent.transforms if step.together), None)
        if shared is not None and not self.aggregator.weighs_equally:
            raise ConfigError(
                f"chain: {type(shared).__name__} counts on every update to weigh the same, and {self.aggregator!r} "
                f"weighs them otherwise, or looks at single ones: take Mean('uniform') or a secure sum"
            )

    def bind(self, spec: ParamSpec) -> "Chain":
        """The chain for vectors of this form."""
        return Chain(tuple(step.bind(spec) for step in self.steps if isinstance(step, Aggregator | Transform)))

    def judged(self, objective: Objective) -> "Chain":
        """The chain with a way to judge merges, at the vectors of one round."""
        return Chain(tuple(step.judged(objective) if isinstance(step, Aggregator) else step for step in self.steps))

    @property
    def aggregator(self) -> Aggregator:
        """The one aggregator."""
        return next(step for step in self.steps if isinstance(step, Aggregator))

    @property
    def on_agent(self) -> "Pipeline":
        """The transforms left of the aggregator."""
        return Pipeline(self.steps[: self.steps.index(self.aggregator)])  # type: ignore[arg-type]

    @property
    def on_driver(self) -> "Pipeline":
        """The transforms right of the aggregator."""
        return Pipeline(self.steps[self.steps.index(self.aggregator) + 1 :])  # type: ignore[arg-type]

    def init(self, params: Tensor) -> State:
        """The driver's state before the first round."""
        return {"aggregator": self.aggregator.init(params), "pipeline": self.on_driver.init(params)}

    def tells(self, state: State) -> Mapping[str, float]:
        """Scalars that the aggregator sends with the next round."""
        return self.aggregator.tells(state["aggregator"])

    def ended(self, state: State) -> str:
        """Why the aggregator may merge no further round; empty if it may."""
        return self.aggregator.ended(state["aggregator"])

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Turn the total of a round into the update that the driver adds."""
        aggregate, aggregator = self.aggregator.update(
            total, state["aggregator"], params, seed=derive_seed(seed, "aggregate")
        )
        aggregate, pipeline = self.on_driver.update(
            aggregate, state["pipeline"], params, seed=derive_seed(seed, "driver")
        )
        return aggregate, {"aggregator": aggregator, "pipeline": pipeline}


@dataclass(frozen=True)
class Pipeline:
    """Transforms one after another, on an update's delta."""

    transforms: Sequence[Transform]

    def bind(self, spec: ParamSpec) -> "Pipeline":
        """The transforms for vectors of this form."""
        return Pipeline([transform.bind(spec) for transform in self.transforms])

    def init(self, params: Tensor) -> State:
        """One state a transform."""
        return [transform.init(params) for transform in self.transforms]

    def update(self, update: Update, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Apply each in order."""
        if not self.transforms:
            return update, state
        delta, states, told = update.vectors[DELTA], [], dict(update.scalars)
        for index, transform in enumerate(self.transforms):
            delta, after = transform.update(delta, state[index], params, seed=derive_seed(seed, index))
            states.append(after)
            told |= {name: max(value, told.get(name, value)) for name, value in transform.tells(after).items()}
        return replace(update.with_vectors(**{DELTA: delta}), scalars=told), states


def as_chain(steps: Chain | Step | Iterable[Step]) -> Chain:
    """A chain as it is, of a single step, or of several.

    Raises: ConfigError unless exactly one step is an aggregator.
    """
    if isinstance(steps, Chain):
        return steps
    return Chain((steps,) if isinstance(steps, Step | type) or not isinstance(steps, Iterable) else tuple(steps))


def chain(*steps: Step) -> Chain:
    """Put steps in a row: `chain(ClipNorm(10.0), Mean(), Momentum(0.9))`.

    Raises: ConfigError unless exactly one step is an aggregator.
    """
    return Chain(steps)
