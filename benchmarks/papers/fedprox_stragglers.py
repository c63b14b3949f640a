"""FedProx: nine in ten agents have no time for all their epochs; drop them, or take what they have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
from torch import Tensor

import raycollab as rc
from benchmarks.papers.mnist import TEST, TRAIN, task
from benchmarks.papers.paper import Paper, final_accuracy, gains
from raycollab.errors import RoundStopped
from raycollab.rng import numpy_generator

EPOCHS, STRAGGLERS = 10, 0.9


@dataclass(frozen=True)
class PowerLaw(rc.Partition):
    """Two neighbouring digits a party, five examples of each and a log-normal number more: FedProx's own split."""

    num_parts: int = 1000
    seed: int = 0

    def assign(self, columns: Any) -> list[np.ndarray]:
        """Return the row numbers of each part."""
        generator = numpy_generator(self.seed, "power law")
        labels = columns["label"].numpy()
        rows = [generator.permutation(np.flatnonzero(labels == digit)) for digit in range(10)]
        used = np.zeros(10, dtype=int)
        parts: list[list[np.ndarray]] = [[] for _ in range(self.num_parts)]

        def deal(part: int, digit: int, count: int) -> None:
            parts[part].append(rows[digit][used[digit] : used[digit] + count])
            used[digit] += count

        for part in range(self.num_parts):
            for digit in (part % 10, (part + 1) % 10):
                deal(part, digit, 5)
        draws = generator.lognormal(0.0, 2.0, (10, self.num_parts // 10, 2))
        shares = draws / draws.sum((1, 2), keepdims=True)  # of what is left of each digit
        left = np.array([len(rows[digit]) - used[digit] for digit in range(10)])
        for part in range(self.num_parts):
            for place, digit in enumerate((part % 10, (part + 1) % 10)):
                deal(part, digit, int(left[digit] * shares[digit, part // 10, place]))
        return [np.sort(np.concatenate(held)) for held in parts]


@dataclass(frozen=True)
class Straggling(rc.Learner):
    """Some of a round's agents have time for fewer epochs only: 1 to all but one of them, each as likely.

    Args:
        learner: Prox over SGD with all epochs.
        share: Of a round's agents without enough time.
        drop: Whether they deliver nothing then; otherwise what they have.
    """

    learner: rc.Prox
    share: float
    drop: bool

    @property
    def sends(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the learner sends."""
        return self.learner.sends

    def init(self, params: Tensor) -> Any:
        """The learner's."""
        return self.learner.init(params)

    def update(self, problem: rc.Problem, params: Tensor, state: Any, round: rc.Round) -> tuple[rc.Update, Any]:
        """Learn as long as there is time."""
        in_time = round_half_up(len(round.agents) * (1 - self.share))
        chosen = numpy_generator(round.seed, "in time", round.index).choice(round.agents, in_time, replace=False)
        late = problem.agent not in chosen
        epochs = int(numpy_generator(round.seed, "epochs", round.index, problem.agent).integers(1, EPOCHS))
        if late and self.drop:
            raise RoundStopped(f"agent {problem.agent!r} had no time for {EPOCHS} epochs")
        inner = replace(self.learner.learner, epochs=epochs if late else EPOCHS)
        return replace(self.learner, learner=inner).update(problem, params, state, round)


def round_half_up(value: float) -> int:
    """The nearest whole number."""
    return int(value + 0.5)


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    def experiment(mu: float, drop: bool) -> rc.Experiment:
        sgd = rc.SGD(lr=0.03, batch_size=10, epochs=EPOCHS)
        learner = Straggling(rc.Prox(sgd, mu=mu), STRAGGLERS, drop)
        return rc.Experiment(
            task(rc.models.MLP(784, 10, hidden=())),
            rc.Split(TRAIN, PowerLaw(seed=seed), (learner,), val_fraction=0.0),
            (rc.Mean(),),
            TEST,
            run=rc.RunConfig(num_rounds=1 if tiny else 100, agents_per_round=10),
            checkpoint=rc.CheckpointConfig(every=10**6),
        )

    return {
        "FedAvg, stragglers dropped": experiment(0.0, True),
        "mu = 0": experiment(0.0, False),
        "mu = 2": experiment(2.0, False),
    }


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    gain = gains(figures, "mu = 2", "FedAvg, stragglers dropped")
    return {"mu = 2 beats dropping FedAvg by at least 12 points on average": fmean(gain) >= 12}


PAPER = Paper(
    title="FedProx with 90 % stragglers, MNIST, logistic regression, 1,000 agents with 2 digits each",
    source="Li et al., MLSys 2020, Figure 1 (read off the plot)",
    kind="full run",
    experiments=experiments,
    figure=final_accuracy,
    unit="accuracy after 100 rounds, %",
    published={"FedAvg, stragglers dropped": "64", "mu = 0": "75", "mu = 2": "85"},
    claims=claims,
)
