"""What every host knows about a run, and the model that all of them begin with."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from raycollab.agent import Agent
from raycollab.beginning import take_over
from raycollab.chains import Chain
from raycollab.codecs import Codec
from raycollab.determinism import seeded
from raycollab.errors import ModelError
from raycollab.growth import Forms, Growth, tasks_of
from raycollab.params import Exchange, FlatModel
from raycollab.rng import derive_seed
from raycollab.task import Task


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
    simulated: bool = False  # whether any host can read any agent's data
    slices: int = 0  # actors that sum what hosts send; 0 leaves it to the driver
    start: str | None = None  # where the saved model is that the run begins from
    keys: Mapping[str, str] = field(default_factory=dict)  # public ones, by agent; empty where nobody signs
    growth: Growth | None = None  # of the common model

    def forms(self, agent: Agent, model_of: Callable[[Task], FlatModel]) -> Forms:
        """The forms of an agent's model; of one with a task of its own there is one, which is in use in all of them.

        Raises: ModelError if such a task's net is larger than the first form of the common one.
        """
        task = agent.task or self.task
        if self.growth is None or task == self.task:
            tells = self.growth is not None and self.growth.when.looks_at_labels
            return Forms(tasks_of(task, self.growth), model_of, self.seed, tells)
        common = Forms(tasks_of(self.task, self.growth), model_of, self.seed)
        try:
            common.model(0).spec.coverage(model_of(task).spec)
        except ModelError as error:
            raise ModelError(
                f"the model grows, and the net of the agent's own task must lie in its first form: {error}"
            ) from error
        return Forms((task,), model_of, self.seed)


def build_model(
    task: Task, exchange: Exchange, seed: int, device: str = "cpu", *, whole: bool = True, start: str | None = None
) -> FlatModel:
    """Build a task's model with the run's initial weights, the same in every process.

    Args:
        task: Builds the module.
        exchange: Which parameters travel.
        seed: The run's.
        device: Where it computes.
        whole: FlatModel's.
        start: The run's RunConfig.start.
    """
    with seeded(derive_seed(seed, "model")):
        module = task.model()
        if start is not None:
            take_over(module, start)
        return FlatModel(module, exchange, device, whole=whole)
