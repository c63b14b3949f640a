"""What a round makes of the common vectors, and how good the agents find them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from raycollab.by_name import listed
from raycollab.config import RunConfig
from raycollab.errors import UpdateError
from raycollab.norms import is_finite
from raycollab.spec import DELTA, PARAMS
from raycollab.types import Failure, OwnScores, RoundReport, Update
from raycollab.vectors import plus

Vectors = dict[str, Tensor]


def merged(vectors: Vectors, aggregate: Update, index: int) -> Vectors:
    """The next vectors: each plus what the aggregate of a round brings for it, in new memory.

    Raises: UpdateError if the result is not finite.
    """
    brought = {PARAMS if name == DELTA else name: vector for name, vector in aggregate.vectors.items()}
    changed = {name: plus(vector, brought[name]) for name, vector in vectors.items() if name in brought}
    for name, vector in changed.items():
        if not is_finite(vector):
            raise UpdateError(f"round {index}: the merged {name!r} is not finite; the round is not committed")
    return {**vectors, **changed}


def own_scores(report: RoundReport, outcomes: Mapping[str, OwnScores | Failure]) -> RoundReport:
    """The report of a round with what its agents score on their own data, and a note on each that could not."""
    scores = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, OwnScores)}
    lost = [(name, outcome) for name, outcome in outcomes.items() if isinstance(outcome, Failure)]
    failed = [f"{name}: not scored on its own data: {outcome.message}" for name, outcome in lost]
    return replace(
        report,
        own_metrics={name: each.validation.compute() for name, each in scores.items()},
        own_test={name: each.test.compute() for name, each in scores.items()},
        personal_metrics={name: each.personal_validation.compute() for name, each in scores.items()},
        personal_test={name: each.personal_test.compute() for name, each in scores.items()},
        notes=(*report.notes, *failed),
    )


def unshared(private: Sequence[str], run: RunConfig, models: Sequence[str] = ()) -> list[str]:
    """What the scores on the shared test set are not worth where parameters are private, or models are several.

    Args:
        private: Names of what is not exchanged.
        run: What goes by those scores.
        models: Further common models, beside the first.
    """
    several = [
        f"{len(models) + 1} common models: the scores on the shared test set, and the saved model, are the first one; "
        f"each agent's own scores are those of the one that it chose"
    ]
    if not private:
        return several if models else []
    watched = [f"run.{name}" for name in ("target", "patience") if getattr(run, name) is not None]
    too = f", and {' and '.join(watched)} go by them" if watched else ""
    return [
        *(several if models else []),
        f"not exchanged: {listed(private)}: the scores on the shared test set are with their initial values, which "
        f"nobody trains{too}; see the agents' own, on their validation rows and test sets (Agent.test)",
    ]
