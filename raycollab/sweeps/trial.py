"""One trial of a sweep: a run whose rounds are reported to Ray Tune, with the run's folder as its checkpoint."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import tune

from raycollab.checkpoint import RunFolder
from raycollab.conduct import driver_on_ray
from raycollab.config import CheckpointConfig
from raycollab.driver import Driver
from raycollab.episode_speed import singly
from raycollab.experiment import Experiment
from raycollab.experiment_file import parse_experiment
from raycollab.interruption import Interruption
from raycollab.runtime.placement import Placement
from raycollab.runtime.pool import LocalPool
from raycollab.runtime.ray_hosts import HostSpecs
from raycollab.sweeps.report import cost
from raycollab.sweeps.settings import paths

_PATIENCE = "TUNE_FUNCTION_THREAD_TIMEOUT_S"  # that Tune has with a trial that ends, before another takes its process


def at(text: str, settings: Mapping[str, Any]) -> Experiment:
    """An experiment's YAML with settings by their paths; what is no text is written as JSON, which YAML reads.

    What can be measured was, before; episodes of a learner that settings bring are worked through singly if it is open.
    """
    written = {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
    changes = [f"--{path}={value}" for name, value in written.items() for path in paths(name)]
    return singly(parse_experiment(text, "the search space", changes))


def run_trial(text: str, placement: Placement | None, device: str, here: str, config: Mapping[str, Any]) -> None:
    """Run an experiment at some settings to its end, from the trial's checkpoint if it has one.

    Args:
        text: The experiment as YAML, with the validation set in the place of the test set.
        placement: What the hosts' actors reserve; None runs the agents in this process.
        device: Where the agents in this process compute.
        here: Folder that relative paths start from, if there is one of this name.
        config: Settings by their paths.
    """
    os.environ.setdefault(_PATIENCE, "60")
    experiment = replace(at(text, config).resolved(), checkpoint=CheckpointConfig(every=1))
    place = Path(tempfile.mkdtemp(dir=os.getcwd()))  # in Tune's folder: a process that it stops cleans up nothing
    if os.path.isdir(here):
        os.chdir(here)
    try:
        found = tune.get_checkpoint()
        if found is not None:
            with found.as_directory() as kept:
                shutil.copytree(kept, place / "run")
        folder = RunFolder.open(str(place / "run")) if found is not None else RunFolder.create(str(place), "run")
        folder.write_text("experiment.yaml", text)
        with _driver(experiment, folder, placement, device) as driver:
            driver.start()
            while not driver.stop_reason:
                report = driver.step()
                if report.metrics:
                    spent = cost(agent for row in folder.rows() for agent in row["agent_rows"])
                    metrics = {**report.metrics, **spent, "round": report.index}
                    metrics["done"] = bool(report.stop_reason)  # so that no scheduler changes what has ended
                    tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(str(place / "run")))
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _driver(experiment: Experiment, folder: RunFolder, placement: Placement | None, device: str) -> Iterator[Driver]:
    """A driver in this process; its hosts' actors stand in the trial's own placement group, and end with it."""
    if placement is None:
        pool = LocalPool(experiment.session(), experiment.members(), experiment.layout(num_cpus=1), device)
        yield Driver(experiment.plan(), pool, folder, device)
        return
    layout = replace(experiment.layout(num_cpus=1), num_hosts=placement.num_hosts)
    specs = HostSpecs.put(layout, placement, experiment.session(), experiment.members())
    handles = [specs.start(host) for host in range(placement.num_hosts)]
    try:
        yield driver_on_ray(experiment.plan(), specs, handles, folder, Interruption())
    finally:
        for handle in handles:
            ray.kill(handle)
