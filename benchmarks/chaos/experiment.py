"""The small run that faults happen to: agents with a memory of their own, and a driver with one."""

from dataclasses import replace

from benchmarks.chaos.faults import AGENTS, SEVERAL_NODES
from benchmarks.chaos.planting import Seeds
from raycollab.agent import Agent
from raycollab.aggregation import Mean
from raycollab.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from raycollab.data import IID, Digits
from raycollab.experiment import Experiment
from raycollab.learners import SGD
from raycollab.models import MLP
from raycollab.population import Parties
from raycollab.tasks import ImageClassification
from raycollab.transforms import Momentum

LEARNER = SGD(lr=0.05, momentum=0.9, keep_momentum=True, steps=12, batch_size=16)
HIDDEN = 512  # so many that an update is an object of the store, and not part of a message
ROUND_TIMEOUT_S = 4.0
ENDLESS = 1_000_000  # rounds


def made(scene: str, seed: int, every: int, ledger: str, dir: str) -> Experiment:
    """The experiment of a run.

    Args:
        scene: Where it runs.
        seed: Of the run.
        every: Rounds between checkpoints.
        ledger: The folder of its ledger.
        dir: Where its folder is made.
    """
    count = AGENTS[scene]
    shards = Digits("train").split(IID(num_parts=count))
    return Experiment(
        ImageClassification(MLP(num_features=64, num_outputs=10, hidden=(HIDDEN,)), num_classes=10),
        Parties(tuple(Agent(f"agent-{index}", shards[index], LEARNER) for index in range(count))),
        (Mean(), Momentum(0.5), Seeds(ledger)),
        Digits("test"),
        run=RunConfig(name="run", dir=dir, num_rounds=ENDLESS, eval_every=5, seed=seed),
        scaling=ScalingConfig(agents_per_host=1, cpus_per_host=1.0 if scene == SEVERAL_NODES else 0.25),
        failure=FailureConfig(round_timeout_s=ROUND_TIMEOUT_S),
        checkpoint=CheckpointConfig(every=every),
    ).resolved()


def resumed(experiment: Experiment, version: int) -> Experiment:
    """The same for one round more, in one process."""
    run = replace(experiment.run, num_rounds=version + 1)
    return replace(experiment, run=run, scaling=replace(experiment.scaling, pool="local"))
