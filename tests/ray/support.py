"""Parties that misbehave in a given round, and a driver in this process whose hosts are actors."""

import os
import time
from dataclasses import dataclass, replace

import ray
import torch

from raycollab.agent import Agent
from raycollab.aggregation import Mean
from raycollab.checkpoint import RunFolder
from raycollab.codecs import BFloat16
from raycollab.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from raycollab.data import IID, Digits
from raycollab.driver import Driver
from raycollab.errors import RoundStopped
from raycollab.experiment import Experiment
from raycollab.learners import SGD
from raycollab.models import MLP
from raycollab.modes import Synchronous
from raycollab.population import Parties
from raycollab.runtime.placement import place
from raycollab.runtime.pool import LocalPool
from raycollab.runtime.ray_hosts import HostSpecs
from raycollab.runtime.ray_pool import RayPool
from raycollab.tasks import ImageClassification
from raycollab.transforms import Momentum

STATEFUL = SGD(lr=0.1, momentum=0.9, keep_momentum=True)


@dataclass(frozen=True)
class Moody(SGD):
    """SGD that in one round, or with 0 in every one, does something else than learn.

    Its mood: "raise", "die", "dawdle" until it is told to stop, "sleep" through that, or "hang" for ever.
    """

    mood: str = "raise"
    in_round: int = 2

    def update(self, problem, params, state, round):
        if self.in_round in (0, round.index):
            self._misbehave(problem)
        return super().update(problem, params, state, round)

    def _misbehave(self, problem):
        if self.mood == "die":
            os._exit(1)
        time.sleep({"sleep": 6, "hang": 3600}.get(self.mood, 0))
        while self.mood == "dawdle" and not problem.stop():
            time.sleep(0.02)
        raise RoundStopped(f"agent {problem.agent!r} is in a mood")


@dataclass(frozen=True)
class Deadly(Synchronous):
    """Ends its process, the driver's, when it plans what comes after a version: each time, or once if given a mark."""

    version: int = 1
    mark: str = ""

    def assign(self, selected, state, *, version, seed):
        if version == self.version and not (self.mark and os.path.exists(self.mark)):
            if self.mark:
                open(self.mark, "x").close()
            os._exit(1)
        return super().assign(selected, state, version=version, seed=seed)


@dataclass(frozen=True)
class Marking(BFloat16):
    """A codec that leaves a file when it begins."""

    mark: str = ""

    def encode(self, vector, *, seed):
        open(self.mark, "a").close()
        return super().encode(vector, seed=seed)


@dataclass(frozen=True)
class Awaits(SGD):
    """SGD by an agent that does not begin before such a file is there."""

    mark: str = ""

    def update(self, problem, params, state, round):
        deadline = time.monotonic() + 30
        while not os.path.exists(self.mark):
            if time.monotonic() > deadline:
                raise RoundStopped(f"agent {problem.agent!r} has waited for {self.mark}")
            time.sleep(0.02)
        return super().update(problem, params, state, round)


class Occupant:
    """Takes up what its actor reserves."""

    def ready(self):
        return True


@dataclass(frozen=True)
class Witness(SGD):
    """Reports where it runs: the process as its number of examples, the threads as its loss."""

    def update(self, problem, params, state, round):
        update, state = super().update(problem, params, state, round)
        return replace(update, scalars={"counted": os.getpid(), "loss": torch.get_num_threads()}), state


def moody(mood, in_round=2):
    """A stateful learner with a mood."""
    return Moody(lr=0.1, momentum=0.9, keep_momentum=True, mood=mood, in_round=in_round)


def experiment(
    *learners, round_timeout_s=60.0, start_timeout_s=120.0, on_agent_failure="replace", failure=None, **scaling
):
    """One agent per learner on a third of digits or less, Momentum on the driver, a checkpoint every round."""
    shards = Digits("train").split(IID(num_parts=max(3, len(learners))))
    agents = tuple(Agent(f"agent-{i}", shards[i], learner) for i, learner in enumerate(learners))
    task = ImageClassification(MLP(num_features=64, num_outputs=10, hidden=(16,)), num_classes=10)
    return Experiment(
        task,
        Parties(agents),
        (Mean(), Momentum(0.9)),
        Digits("test"),
        run=RunConfig(num_rounds=4),
        scaling=ScalingConfig(**scaling),
        failure=FailureConfig(
            round_timeout_s=round_timeout_s,
            start_timeout_s=start_timeout_s,
            on_agent_failure=on_agent_failure,
            **(failure or {}),
        ),
        checkpoint=CheckpointConfig(every=1),
    ).resolved()


class OnRay:
    """A driver in this process with its hosts in actors, so that a test can reach both; as a context it ends them."""

    def __init__(self, experiment, folder):
        layout = experiment.layout(num_cpus=8)
        placement = place(replace(experiment.scaling, cpus_per_host=0.25), layout.num_hosts)
        specs = HostSpecs.put(layout, placement, experiment.session(), experiment.members())
        self.handles = [specs.start(host) for host in range(layout.num_hosts)]
        policy = experiment.failure
        self.pool = RayPool(specs, self.handles, policy)
        self.driver = Driver(experiment.plan(), self.pool, RunFolder.create(str(folder), "on-ray"))

    def __enter__(self):
        self.driver.start()
        return self

    def __exit__(self, *_):
        self.pool.close()

    def kill(self, host):
        """Kill the actor that the host started with, and wait until Ray has noticed."""
        ray.kill(self.handles[host])
        ray.wait([self.handles[host].stop.remote(0, 0, 0)], timeout=30)


def locally(experiment, folder):
    """The same driver with its hosts in this process, started."""
    pool = LocalPool(experiment.session(), experiment.members(), experiment.layout(num_cpus=1))
    driver = Driver(experiment.plan(), pool, RunFolder.create(str(folder), "locally"))
    driver.start()
    return driver
