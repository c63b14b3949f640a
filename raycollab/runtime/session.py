"""What every host knows about a run, and the model that all of them begin with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from raycollab.beginning import take_over
from raycollab.chains import Chain
from raycollab.codecs import Codec
from raycollab.determinism import seeded
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
