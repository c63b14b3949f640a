"""Several common models, each merged of the updates of those agents that chose it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from torch import Tensor

from raycollab.aggregation.base import Aggregator
from raycollab.aggregation.fedasync import FedAsync
from raycollab.aggregation.mean import Mean
from raycollab.aggregation.partial import Partial
from raycollab.aggregation.product import Product
from raycollab.aggregation.wrapper import Wrapper
from raycollab.errors import UpdateError
from raycollab.rng import derive_seed
from raycollab.settings import require
from raycollab.spec import DELTA, PARAMS
from raycollab.types import Round, State, Update

_FIRST = "first"
CLUSTER = "cluster"  # a scalar of an update: the number of the model that it was learned from


def cluster_vector(index: int) -> str:
    """What a round calls a cluster's parameters: the first model's are "params"."""
    return f"{PARAMS}/{index}" if index else PARAMS


@dataclass(frozen=True)
class PerCluster(Wrapper):
    """Merges the updates of agents that chose the same of several models, by a rule with a state for each model.

    A model that nobody chose in a round stays as it is. Nothing may stand right of it in a chain: that would change the
    first model alone.

    Args:
        rule: Merges those of one model; it may judge no merges on validation data.
    Shapes: updates of [d] -> [d] for each model; memory that of the rule, times models.
    Raises: UpdateError if a model is chosen by fewer agents than the rule needs.
    Source: Ghosh et al., NeurIPS 2020, arXiv 2006.04088, Algorithm 1, the server's lines, with any rule for the mean.
    """

    rule: Aggregator = Mean()  # noqa: RUF009 - frozen

    partial = Product
    several = True
    weighs = False  # each model by the weights of its own agents
    formula = "w_j += rule(delta_i of the agents i that chose j)"

    def __post_init__(self) -> None:
        whole = isinstance(self.rule, Aggregator) and self.rule.partial is not Product
        require(whole, "PerCluster.rule", self.rule, "must be an Aggregator over whole models, such as Mean()")
        at_params = self.rule.validates_on() is not None or isinstance(self.rule, FedAsync)
        require(not at_params, "PerCluster.rule", self.rule, "goes by the parameters, and is given those of one model")

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Which model an update is for, and what the rule needs."""
        return (CLUSTER, *self.rule.needs)

    @property
    def laws(self) -> frozenset[str]:
        """Those of the rule: of each model."""
        return self.rule.laws

    def init(self, params: Tensor) -> State:
        """The state of a model that nobody has chosen yet; each gets its own when it is first chosen."""
        return {_FIRST: self.rule.init(params)}

    def tells(self, state: State) -> dict[str, float]:
        """What the rule tells of each model, and of one that nobody has chosen yet."""
        told = {model: self.rule.tells(kept) for model, kept in state.items()}
        return {f"{model}: {name}": value for model, said in told.items() for name, value in said.items()}

    def collect(self, update: Update, round: Round) -> Partial:
        """The rule's partial, under the number of its model."""
        total, model = Product.of(update), str(int(update.scalars[CLUSTER]))
        told = {**_told(round.scalars, _FIRST), **_told(round.scalars, model)}
        total.parts[model] = self.rule.collect(update, replace(round, scalars={**round.scalars, **told}))
        return total

    def check(self, total: Partial) -> None:
        """Each model that was chosen must have as many updates as the rule needs."""
        for name, part in cast(Product, total).parts.items():
            if part.count < self.rule.min_updates:
                raise UpdateError(
                    f"PerCluster: {part.count} updates are for model {name}, and {type(self.rule).__name__} needs "
                    f"{self.rule.min_updates}"
                )
            self.rule.check(part)

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Let the rule merge each model's updates."""
        self.check(total)
        vectors, after = dict[str, Tensor](), dict(state)
        for name, part in sorted(cast(Product, total).parts.items()):
            before = state.get(name, state[_FIRST])
            merged, after[name] = self.rule.update(part, before, params, seed=derive_seed(seed, name))
            vector = cluster_vector(int(name))
            vectors |= {DELTA if vector == PARAMS else vector: merged.vectors[DELTA]}
        return Update("", float(total.count), vectors), after


def _told(scalars: Mapping[str, float], model: str) -> dict[str, float]:
    start = f"{model}: "
    return {name.removeprefix(start): value for name, value in scalars.items() if name.startswith(start)}
