"""What the side-by-side runs are to reach, as ratios between systems."""

from dataclasses import dataclass

ROUND, FIRST, IN_ALL = "seconds_a_round", "seconds_to_first_round", "seconds_in_all"


@dataclass(frozen=True)
class Goal:
    """What a ratio to another system is to be.

    Args:
        workload: Empty for all of them.
        other: The system that it is compared with, without settings.
        figure: Of which the ratio is taken.
        limit: The ratio may be at most this.
        vectorised: Whether it is for agents that train in common steps, for those that do not, or for both (None).
        system: For whom.
    """

    workload: str
    other: str
    figure: str
    limit: float
    vectorised: bool | None = None
    system: str = "raycollab"


GOALS = (
    Goal("W1", "floor", ROUND, 1.05, vectorised=False),
    Goal("W1", "floor", ROUND, 0.6, vectorised=True),
    Goal("W1", "floor-fused", ROUND, 1.15, vectorised=True),
    Goal("W1", "flower", ROUND, 1 / 12, vectorised=True),
    Goal("W1", "pfl", ROUND, 1 / 2, vectorised=True),
    Goal("W2", "floor", ROUND, 1.05),
    Goal("W3", "floor", ROUND, 1.3),
    Goal("", "flower", FIRST, 0.7),
    Goal("", "flower", FIRST, 0.25, system="raycollab-local"),
)
SECONDS_IN_ALL = {"G1": 15.0}  # from the start of the process to the end of the last round, on one H200
SHARE_OF_LIMIT = 0.8  # of raycollab's sum, W4
BESIDE = {  # what is no ratio of two systems' figures
    "W3": "To reach: peak memory <= the floor's + that of Ray when it is idle (benchmarks.memory) + 2 vectors, 800 MB.",
    "W5": "To reach: the driver's memory flat in the number of agents, seconds a round linear in those that take part.",
}


def goal(workload: str, ours: str, other: str, figure: str) -> float | None:
    """The largest ratio of our figure to another system's that will do, if one is asked for."""
    vectorised = settings_of(ours).get("scaling.agents_at_once", "0") != "0"
    for each in GOALS:
        same = each.workload in ("", workload) and (each.other, each.figure) == (other, figure)
        if same and each.system == system_of(ours) and each.vectorised in (None, vectorised):
            return each.limit
    return None


def system_of(spec: str) -> str:
    """The system without its settings."""
    return spec.partition(":")[0]


def settings_of(spec: str) -> dict[str, str]:
    """The settings that a system carries."""
    parts = [part for part in spec.partition(":")[2].split(",") if part]
    return {part.partition("=")[0]: part.partition("=")[2] for part in parts}
