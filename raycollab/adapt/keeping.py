"""Actions that make parts of the exchanged model an agent's own."""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from raycollab.adapt.action import Action, Scene
from raycollab.learners import Learner
from raycollab.own_model import OWN
from raycollab.spec import BUFFERS, DELTA, PARAMS, Entry
from raycollab.task import Problem
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class Keeping(Action):
    """Keeps parameters and buffers to the agent: it goes on from its own, and sends nothing of them."""

    withholds: ClassVar[bool] = True

    @abstractmethod
    def names(self, scene: Scene) -> Collection[str]:
        """Which exchanged parameters and buffers.

        Raises: ModelError if there are none.
        """

    def begin(self, scene: Scene) -> State:
        """Its own are what the agent uses now."""
        names, tensors = self.names(scene), scene.problem.model.whole()
        return {OWN: {name: tensors[name].float() for name in names}}

    def learn(
        self, learner: Learner, problem: Problem, params: Tensor, state: State, own: State, round: Round
    ) -> tuple[Update, State, State]:
        """Let the learner start from its own, and withhold them."""
        spec, mine = problem.model.spec, own[OWN]
        start = _put(params, spec.params, mine)
        vectors = {**round.vectors, PARAMS: start}
        if BUFFERS in vectors:
            vectors[BUFFERS] = _put(vectors[BUFFERS], spec.buffers, mine)
        update, state = learner.update(problem, start, state, replace(round, vectors=vectors))
        after = {
            name: mine[name] + _moved(update, entry, vector).to(mine[name].device)
            for entries, vector in ((spec.params, DELTA), (spec.buffers, BUFFERS))
            for entry in entries
            if (name := entry.name) in mine
        }
        return replace(update, withheld=tuple(dict.fromkeys((*update.withheld, *mine)))), state, {OWN: after}

    def detail(self, own: State) -> str:
        """What it keeps."""
        return f"keeps its own {', '.join(own[OWN])}"


def _put(vector: Tensor, entries: Iterable[Entry], tensors: Mapping[str, Tensor]) -> Tensor:
    """A vector with the elements of some entries replaced, in new memory."""
    vector = vector.clone()
    for entry in entries:
        if entry.name in tensors:
            vector[entry.offset : entry.stop] = tensors[entry.name].reshape(-1)
    return vector


def _moved(update: Update, entry: Entry, vector: str) -> Tensor:
    """How far an update moves one entry, in its shape; 0 where the update has no such vector."""
    found = update.vectors.get(vector)
    if found is None:
        return update.vectors[DELTA].new_zeros(entry.shape)
    return found[entry.offset : entry.stop].reshape(entry.shape).float()
