"""FedNova against FedAvg where every agent has time for another number of epochs in every round."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

import raycollab as rc
from benchmarks.papers.cifar import TASK, TEST, images
from benchmarks.papers.paper import Paper, final_accuracy, positive_gain
from raycollab.rng import numpy_generator


@dataclass(frozen=True)
class DrawnEpochs(rc.Learner):
    """A learner with as many epochs as an agent has time for in a round: low to high, each as likely."""

    learner: rc.SGD
    low: int = 2
    high: int = 5

    @property
    def sends(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the learner sends."""
        return self.learner.sends

    def update(self, problem: rc.Problem, params: Tensor, state: Any, round: rc.Round) -> tuple[rc.Update, Any]:
        """Learn for this round's number of epochs."""
        drawn = numpy_generator(round.seed, "epochs", round.index, problem.agent).integers(self.low, self.high + 1)
        return replace(self.learner, epochs=int(drawn)).update(problem, params, state, round)


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    rules = {"FedAvg": rc.Mean(), "FedNova": rc.FedNova()}
    learner = DrawnEpochs(rc.SGD(lr=0.05, batch_size=32))
    return {
        name: rc.Experiment(
            TASK,
            rc.Split(
                images(400 if tiny else 5_000, seed, tiny=tiny),
                rc.Dirichlet(0.1, num_parts=8, seed=seed),
                (learner,),
                val_fraction=0.0,
            ),
            (rule,),
            TEST,
            run=rc.RunConfig(num_rounds=1 if tiny else 40, eval_every=10),
            checkpoint=rc.CheckpointConfig(every=10**6),
        )
        for name, rule in rules.items()
    }


PAPER = Paper(
    title="FedNova - FedAvg on CIFAR-10, 5,000 images, 8 agents, Dirichlet 0.1, 2 to 5 epochs, small CNN, 40 rounds",
    source="beside Wang et al., NeurIPS 2020, Table 1: VGG-11, 16 agents: 64.30 and 70.54",
    kind="reduced",
    experiments=experiments,
    figure=final_accuracy,
    unit="accuracy, %",
    published={},
    claims=positive_gain("FedNova", "FedAvg"),
)
