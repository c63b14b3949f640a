"""What every host knows about a run, and the model that all of them begin with."""

import math
from dataclasses import dataclass

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


def build_model(task: Task, exchange: Exchange, seed: int, device: str = "cpu", *, whole: bool = True) -> FlatModel:
    """Build a task's model with the run's initial weights, the same in every process; `whole` is FlatModel's."""
    with seeded(derive_seed(seed, "model")):
        return FlatModel(task.model(), exchange, device, whole=whole)
