"""What leaves parties beside what noise covers, in words."""

from collections.abc import Iterable, Mapping
from typing import Any

from raycollab.aggregation import PrivateMean
from raycollab.by_name import listed
from raycollab.chains import Chain
from raycollab.growth import Growth
from raycollab.learners import DPSGD, Learner
from raycollab.transforms import NoiseShare


def exposures(
    chain: Chain, learners: Mapping[str, Learner], validating: Iterable[str], growth: Growth | None = None
) -> list[str]:
    """A warning each for noise that others can foretell, and for what is told of examples beside noisy updates.

    Args:
        chain: What is done to updates.
        learners: By agent.
        validating: Agents that keep rows for validation.
        growth: When the model grows, for which agents may say what labels they hold.
    """
    counted = {name for name, learner in learners.items() if isinstance(learner, DPSGD)}
    noisy: list[tuple[str, Any]] = [(f"Agent({name!r}).learner", learners[name]) for name in sorted(counted)]
    noisy += [("chain", step) for step in chain.steps if isinstance(step, PrivateMean | NoiseShare)]
    open_noise = [f"{place} ({type(step).__name__})" for place, step in noisy if not step.noise_key]
    scored = sorted(counted & set(validating))
    found = []
    if open_noise:
        found.append(
            f"noise comes from the run's seed, and whoever knows that can take it off: set noise_key, unless this is a "
            f"simulation: {listed(open_noise)}"
        )
    if scored:
        found.append(
            f"scores on validation rows are exact, and outside epsilon: set Agent.val_fraction=0 where those rows are "
            f"to be protected, too: {listed(scored)}"
        )
    if noisy and growth is not None and growth.when.looks_at_labels:
        found.append(
            f"with Growth.when={type(growth.when).__name__} agents tell the largest label that they hold, outside "
            f"epsilon: set Growth.when=AtRounds(...) where that is to be protected, too"
        )
    return found
