"""Does an experiment give the same bits whatever it runs on? Run it and see."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace

from raycollab.checkpoint import RunFolder
from raycollab.digests import digest_of
from raycollab.experiment import Experiment
from raycollab.fitting import run_experiment

HOSTS = (1, 2, 4)


@dataclass(frozen=True)
class Verified:
    """What an experiment ended with on so many hosts; the digest is over the bits of all that is committed."""

    num_hosts: int
    rounds: int
    digest: str
    seconds: float


def verify(
    experiment: Experiment, *, address: str | None = None, told: Callable[[Verified], None] = lambda verified: None
) -> list[Verified]:
    """Run an experiment on 1, 2 and 4 hosts, as far as it has blocks for them, in folders that are deleted.

    Args:
        experiment: What to run; its target and patience count.
        address: Ray cluster to use.
        told: Called with each outcome, as it comes.
    """
    experiment = experiment.resolved()
    most = experiment.most_hosts
    outcomes = []
    for hosts in dict.fromkeys(min(count, most) for count in HOSTS):
        with tempfile.TemporaryDirectory(prefix="raycollab-verify-") as folder:
            each = -(-len(experiment.members()) // hosts)
            run = replace(experiment.run, dir=folder, name=f"hosts-{hosts}")
            scaling = replace(experiment.scaling, agents_per_host=each)
            made = replace(experiment, run=run, scaling=scaling)
            result = run_experiment(made, address=address)
            found = digest(RunFolder.open(result.path))
            outcomes.append(Verified(made.num_hosts(num_cpus=1), result.num_rounds, found, result.seconds))
        told(outcomes[-1])
    return outcomes


def digest(folder: RunFolder) -> str:
    """SHA-256 over names, forms and bits of the newest committed vectors of a run."""
    found = folder.latest_checkpoint()
    return digest_of({} if found is None else found[1]["vectors"][str(found[1]["version"])])
