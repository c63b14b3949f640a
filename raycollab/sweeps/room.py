"""What a trial takes of the cluster, how many fit at once, and what is said while others hold all of it."""

import math
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray
from ray import tune

from raycollab.control import drivers
from raycollab.experiment import Experiment
from raycollab.runtime.placement import Placement, available, num_cpus, place, wait_for_resources
from raycollab.sweeps.trial import run_trial

_FREED_S = 5.0  # that Ray may take to count what has just been given back
_SILENCE_S = 60.0  # without a trial, after which it is said why


@dataclass(frozen=True)
class Room:
    """What a trial takes of the cluster, and how many of them fit at once.

    Args:
        placement: What its hosts' actors reserve; None where its agents run in its own process.
        bundles: Of its placement group; its own process is in the first.
        at_once: How many fit, if nobody else holds anything.
    """

    placement: Placement | None
    bundles: tuple[Mapping[str, float], ...]
    at_once: int

    @classmethod
    def of(cls, experiment: Experiment) -> "Room":
        """From the settings that the trial's actors are made of.

        Raises: ResourceError, with what one trial needs and what there is, if not even one fits.
        """
        scaling = experiment.scaling
        if scaling.pool == "local":
            gpus = max(scaling.gpus_per_host, scaling.gpus_for_driver)
            needs = Placement(1, float(scaling.threads_per_host), gpus, 0.0)
            wait_for_resources(needs, 0.0)
            return cls(None, (_bundle(needs.cpus_per_host, gpus),), _most(needs))
        placement = place(scaling, experiment.num_hosts(num_cpus()))
        wait_for_resources(placement, 0.0)
        host = _bundle(placement.cpus_per_host, placement.gpus_per_host)
        head = _bundle(0.0, placement.gpus_for_driver)
        hosts = (host,) * placement.num_hosts if host else ()
        return cls(placement, (head, *hosts), _most(placement))

    def trainable(self, text: str) -> Any:
        """The trial with its placement group: all of it is there, or the trial waits."""
        device = "cuda" if self.placement is None and self.bundles[0].get("GPU") else "cpu"
        group = tune.PlacementGroupFactory([dict(bundle) for bundle in self.bundles])
        return tune.with_resources(partial(run_trial, text, self.placement, device, os.getcwd()), group)

    def lack(self) -> str:
        """Why no trial can begin now, though the cluster is large enough; empty if one can."""
        needs = {name: sum(bundle.get(name, 0.0) for bundle in self.bundles) for name in ("CPU", "GPU")}
        there = ray.available_resources()
        if all(there.get(name, 0.0) + 1e-9 >= amount for name, amount in needs.items()):
            return ""
        asked = ", ".join(f"{amount:g} {name}" for name, amount in needs.items() if amount)
        return (
            f"no trial can begin: each needs {asked}, and {available()} of the cluster are free. The sweep waits for "
            f"those that hold the rest; runs of raycollab there: {', '.join(drivers()) or 'none'}, and other sweeps, "
            f"actors and placement groups: see `ray status`"
        )

    def look(self) -> None:
        """Warn if no trial can begin now."""
        deadline = time.monotonic() + _FREED_S
        while (lack := self.lack()) and time.monotonic() < deadline:
            time.sleep(0.1)
        if lack:
            warnings.warn(lack, stacklevel=2)


class Watch(tune.Callback):
    """Warns, while a sweep is under way, each time that no trial has run for a while because others hold its room."""

    def __init__(self, room: Room, silence_s: float = _SILENCE_S):
        self._room = room
        self._silence_s = silence_s
        self._since: float | None = None

    def on_step_begin(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:
        """Ray Tune looks after its trials: several times a second while it waits."""
        del iteration, info
        now = time.monotonic()
        if self._since is None or any(trial.status == "RUNNING" for trial in trials):
            self._since = now
        elif now - self._since >= self._silence_s:
            self._since = now
            if lack := self._room.lack():
                warnings.warn(lack, stacklevel=2)


def _bundle(cpus: float, gpus: float) -> dict[str, float]:
    return {name: amount for name, amount in (("CPU", cpus), ("GPU", gpus)) if amount}


def _most(placement: Placement) -> int:
    """How many times there is what these actors need together, which is there once."""
    has = ray.cluster_resources()
    shares = [has.get(name, 0.0) / amount for name, amount in placement.needs().items() if amount]
    return math.floor(min(shares, default=float(num_cpus())) + 1e-9)
