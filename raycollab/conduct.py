"""One run from its start to its last file."""

import platform
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from raycollab.checkpoint import RunFolder
from raycollab.commands import Commands
from raycollab.deploy import save_model
from raycollab.driver import Driver
from raycollab.errors import Interrupted
from raycollab.experiment import Plan
from raycollab.interruption import Interruption
from raycollab.journal import Tables
from raycollab.models.origin import origin
from raycollab.recipe import to_plain
from raycollab.report import modality_pictures, model_card
from raycollab.result import Result, full_report
from raycollab.runtime.packed_host import device
from raycollab.runtime.ray_hosts import HostSpecs
from raycollab.runtime.ray_pool import RayPool
from raycollab.spec import PARAMS
from raycollab.types import AgentCard, Notice, RoundReport, Started
from raycollab.vectors import use_all_cores

Event = Notice | Started | RoundReport | Result


def driver_on_ray(
    plan: Plan, specs: HostSpecs, handles: Sequence[Any], folder: RunFolder, interruption: Interruption
) -> Driver:
    """A driver whose hosts are these actors; called inside the driver's own actor."""
    pool = RayPool(specs, handles, plan.failure)
    return Driver(plan, pool, folder, device(specs.placement.gpus_for_driver), interruption)


def conduct(driver: Driver, began: float, commands: Commands | None = None) -> Iterator[Event]:
    """Start, run all rounds, and write what is left to write into the run folder.

    Args:
        driver: The driver.
        began: When the run was asked for, in seconds since the epoch.
        commands: What others want done between rounds.
    Raises: Interrupted if the driver was asked to stop; what it had committed is durable then.
    """
    use_all_cores()
    cards = driver.start()
    yield Started(
        path=driver.folder.path,
        fingerprint=driver.offer.fingerprint.digest(),
        num_params=driver.growing.num_params,
        num_rounds=driver.plan.run.num_rounds,
        version=driver.version,
        cards=tuple(cards),
        seconds=time.time() - began,
    )
    commands = commands or Commands()
    try:
        for report in driver.rounds():
            yield report
            commands.carry_out(driver)
    finally:
        commands.close()
    notes = driver.close()
    if not driver.stop_reason:
        more = "".join(f"; {note}" for note in notes)
        raise Interrupted(f"stopped after round {driver.version}, which is kept{more}")
    yield _finish(driver, cards, began)


def status(driver: Driver | None) -> dict[str, Any]:
    """Where a run is, as plain data; None is a driver that is still being made."""
    if driver is None:
        return {"round": 0, "state": "starting"}
    return {
        "round": driver.version,
        "num_rounds": driver.plan.run.num_rounds,
        "state": "stopping" if driver.interruption.asked else "running",
        "agents": driver.roster.size,
        "quarantined": driver.roster.quarantined(driver.version + 1),
        "metrics": driver.statistics.compute(),
        "durable": driver.durable,
        "parameters": driver.growing.num_params,
        "form": driver.growing.form,
    }


def _finish(driver: Driver, cards: Sequence[AgentCard], began: float) -> Result:
    folder, plan = driver.folder, driver.plan
    tables = Tables.of(folder.rows())
    history, agents, changes = tables.rounds, tables.agents, tables.changes
    metrics = driver.statistics.compute()
    seconds = time.time() - began
    report = full_report(driver.statistics, agents, plan.task.primary, history, changes)
    nonzero = int(driver.vectors[PARAMS].count_nonzero())
    card = model_card(
        name=folder.name,
        task=type(plan.task).__name__,
        num_params=driver.growing.num_params,
        metrics=metrics,
        cards=cards,
        rounds=len(history),
        report=report,
        private=driver.growing.private,
        base=origin(getattr(plan.task, "net", None)),
        num_nonzero=nonzero,
    )
    facts = {
        "versions": versions(),
        "metrics": metrics,
        "fingerprint": driver.offer.fingerprint.digest(),
        "private": list(driver.growing.private),
        "reader": to_plain(driver.shared_set.reader()),
    }
    save_model(folder.storage.child("model"), driver.growing.task, driver.module(), card=card, facts=facts)
    folder.write_tables(rounds=history, agents=agents, **({"changes": changes} if changes else {}))
    folder.write_text("report.txt", report + "\n")
    for picture, content in modality_pictures(driver.statistics, agents).items():
        folder.storage.write_bytes(picture, content)
    summary = {
        "metrics": metrics,
        "seconds": seconds,
        "rounds": len(history),
        "versions": versions(),
        "seed": plan.run.seed,
        "nonzero": nonzero,
        "rejoined_fresh": driver.roster.rejoined,
        **({"form": driver.growing.form} if plan.growth else {}),
    }
    driver.books.ended(driver.stop_reason)
    folder.write_json("result.json", {**summary, "stop_reason": driver.stop_reason})
    return Result(
        folder.path,
        metrics,
        history,
        agents,
        driver.statistics,
        plan.task.primary,
        driver.stop_reason,
        seconds,
        driver.growing.private,
        changes,
    )


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    packages = ("raycollab", "ray", "torch", "numpy", "pyarrow")
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for package in packages:
        try:
            found.setdefault(package, version(package))
        except PackageNotFoundError:  # run from a checkout that was not installed
            found.setdefault(package, "unknown")
    return found
