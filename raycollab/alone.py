"""What each agent would have learned alone: the same steps on its own data, and nothing exchanged."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from raycollab.agent import Agent
from raycollab.aggregation import Mean
from raycollab.attacks import Attack
from raycollab.experiment import Experiment
from raycollab.learners.wrapper import LearnerWrapper
from raycollab.own_model import OWN
from raycollab.population import Population
from raycollab.spec import BUFFERS, DELTA, PARAMS
from raycollab.task import Problem
from raycollab.types import Round, State, Update

FOLDER = "local-only"  # where a run folder holds the run that it is compared with


@dataclass(frozen=True)
class Alone(LearnerWrapper):
    """Goes on each time from where another learner ended on this agent, as if nobody else took part; sends no vector.

    Its own model is what it learned, or what the learner makes of that: fine-tuned, for one that is tuned at the end.

    Args:
        learner: Learns.
    """

    remembers: ClassVar[bool] = True  # type: ignore[misc]
    withholds: ClassVar[bool] = False  # type: ignore[misc]

    def check(self, num_examples: int) -> None:
        """As the learner does, whatever it counts: nothing is told beside that."""
        self.learner.check(num_examples)

    def init(self, params: Tensor) -> State:
        """Nothing learned yet."""
        return {OWN: None, "vectors": None, "learner": self.learner.init(params)}

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Learn from where it ended; all that the learner would send is added to its own vectors at once."""
        vectors = state["vectors"] or dict(round.vectors)
        mine = replace(round, vectors=vectors, scalars={**round.scalars, "participation": 1.0})
        update, learned = self.learner.update(problem, vectors[PARAMS], state["learner"], mine)
        brought = {PARAMS if name == DELTA else name: vector for name, vector in update.vectors.items()}
        vectors = {name: vector + brought[name] if name in brought else vector for name, vector in vectors.items()}
        problem.model.load(vectors[PARAMS], vectors.get(BUFFERS))
        after = {OWN: problem.model.whole(), "vectors": vectors, "learner": learned}
        return replace(update, vectors={}), after

    def own_model(self, problem: Problem, vectors: Mapping[str, Tensor], state: State) -> dict[str, Tensor] | None:
        """What it learned; None before its first round."""
        if state[OWN] is None:
            return None
        return self.learner.own_model(problem, state["vectors"], state["learner"]) or dict(state[OWN])


@dataclass(frozen=True)
class LocalOnly(Population):
    """The agents of another population, each by itself.

    Args:
        of: The other population.
    """

    of: Population

    @property
    def simulated(self) -> bool:  # type: ignore[override]
        """As the other population."""
        return self.of.simulated

    def agents(self) -> list[Agent]:
        """The same agents, which learn alone."""
        return [replace(agent, learner=Alone(agent.learner)) for agent in self.of.agents()]


def local_only(experiment: Experiment) -> Experiment:
    """The same experiment with nothing exchanged: as many rounds, the same agents selected, the same batches.

    Its model is the initial one. What agents score with what they learned are the columns `personal_...` of its
    agents.parquet, and `rc.load(run, agent=...)` is an agent's model.

    Args:
        experiment: What they do together. Whom it attacks learns honestly, nothing is coded or cut up on its way, and a
            net that grows has its last form throughout.
    """
    return replace(
        experiment,
        agents=LocalOnly(experiment.agents),
        chain=(Mean("uniform"),),
        upload=None,
        attack=Attack(),
        growth=None,
        scaling=replace(experiment.scaling, slices=0),
        run=replace(experiment.run, name="", target=None, patience=None, eval_every=experiment.run.num_rounds),
    )
