"""One experiment after another, each from the model of the one before: pretrain, fine-tune, transfer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from raycollab.callbacks import Callback
from raycollab.checkpoint import RunFolder
from raycollab.continuation import changed_settings
from raycollab.errors import RunFolderError
from raycollab.experiment import Experiment
from raycollab.experiment_file import STAGES, check_stage_names
from raycollab.fitting import run_experiment
from raycollab.result import Result
from raycollab.settings import require
from raycollab.storage import Storage


@dataclass(frozen=True)
class StagesResult:
    """What stages ended with.

    Args:
        path: The folder of all of them; each has its run folder in it.
        results: By the stage's name, in order.
    """

    path: str
    results: Mapping[str, Result]

    @property
    def last(self) -> Result:
        """What the last stage ended with."""
        return list(self.results.values())[-1]

    def report(self) -> str:
        """A line for each stage: rounds, bytes that crossed up and down, seconds, bytes of the model, metrics."""
        lines = []
        for name, result in self.results.items():
            up, down = (sum(row[column] for row in result.history) for column in ("bytes_up", "bytes_down"))
            size = len(Storage(result.path).read_bytes("model/model.safetensors"))
            metrics = "  ".join(f"{metric} {value:.4f}" for metric, value in result.metrics.items())
            lines.append(
                f"{name}: {result.num_rounds} rounds  {up:,} bytes up  {down:,} down  {result.seconds:.1f} s  "
                f"model {size:,} bytes  {metrics}"
            )
        return "\n".join(lines)


def run_stages(
    stages: Mapping[str, Experiment],
    *,
    callbacks: Sequence[Callback] = (),
    address: str | None = None,
    resume: str | None = None,
) -> StagesResult:
    """Run experiments one after another, each from the model that the one before saved.

    What has the same name and shape is taken over, also into layers that have adapters now, and the rest is fresh; a
    note of the stage's first round says which. Agents of the same name begin from what they had for themselves, where
    names and shapes are equal. A stage with a RunConfig.start of its own begins from that.

    Args:
        stages: By name, in order; the first one's RunConfig.dir and name are those of the folder of all, in which each
            has its run folder: runs/NAME/1-pretrain.
        callbacks: What watches the runs.
        address: As for `fit`.
        resume: The folder of stages to go on with, in the stage that was under way.
    Raises: ConfigError for names that do not fit; ModelError for a stage whose model shares nothing with the last one;
        RunFolderError for stages that are not those of the folder; whatever `fit` raises.
    """
    check_stage_names(list(stages), "stages")
    first = next(iter(stages.values())).run
    whole = {name: experiment.to_plain() for name, experiment in stages.items()}
    folder = RunFolder.create(first.dir, first.name) if resume is None else _resumed(resume, whole)
    if resume is None:
        plain = [{"name": name, **settings} for name, settings in whole.items()]
        folder.write_text(STAGES, yaml.safe_dump({"stages": plain}, sort_keys=False))
    results: dict[str, Result] = {}
    try:
        for number, (name, experiment) in enumerate(stages.items(), start=1):
            before = list(results.values())[-1].path if results else None
            place = f"{number}-{name}"
            start = experiment.run.start or before
            run = replace(experiment.run, dir=folder.path, name=place, start=start)
            there = f"{folder.path}/{place}" if folder.storage.exists(f"{place}/experiment.yaml") else None
            if there is None:
                folder.storage.delete(place)  # of one that was killed before it began
            results[name] = run_experiment(
                replace(experiment, run=run), callbacks=callbacks, address=address, resume=there
            )
    except BaseException as error:
        error.add_note(f"the stages go on with `raycollab resume {folder.path}`")
        raise
    return StagesResult(folder.path, results)


def _resumed(path: str, whole: Mapping[str, dict[str, Any]]) -> RunFolder:
    """The folder of stages, if they are the same ones."""
    folder = RunFolder(Storage(path))
    require(folder.storage.exists(STAGES), "resume", path, f"must be a folder of stages, which holds {STAGES}")
    before = {each.pop("name"): each for each in yaml.safe_load(folder.read_text(STAGES))["stages"]}
    changes = [] if list(before) == list(whole) else [f"stages: {', '.join(before)} -> {', '.join(whole)}"]
    for name in before if not changes else ():
        changes += [f"{name}.{change}" for change in changed_settings(before[name], whole[name])]
    if changes:
        listed = "\n".join(f"  {change}" for change in changes)
        raise RunFolderError(f"{path}: its stages are others:\n{listed}\nResume them as they were, or start anew")
    return folder
