"""Actors that each sum one slice of what all hosts send: agents -> slices -> driver.

The driver then takes in one vector, however many hosts there are. A slice is an object of its own in the store, and
goes straight from its host's node to its actor's.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import ray
from ray.actor import ActorHandle

from raycollab.aggregation import Node, WeightedSum, root, total_of
from raycollab.aggregation.weighted_sum import Terms
from raycollab.runtime.ray_hosts import Gone, ask
from raycollab.runtime.sharing import ShareResult
from raycollab.runtime.slices import Cut, Slice, bring_back, each_cut, elsewhere, squared_norms, sum_of_slices
from raycollab.runtime.wire import ignore_read_only
from raycollab.types import Failure
from raycollab.vectors import use_all_cores

_RETRIES = 3  # of a call and of an actor, which remembers nothing


class SliceActor:
    """Sums one slice."""

    def __init__(self) -> None:
        use_all_cores()

    def squared_norms(self, part: Slice) -> list[float]:
        """Of each of a share's vectors."""
        with ignore_read_only():
            return squared_norms(part)

    def sums(self, terms: Sequence[Terms], *shares: Slice) -> Any:
        """The sum of each tree of terms: of the slices of all shares, in the order of the shares."""
        with ignore_read_only():
            return [sum_of_slices(each, shares) for each in terms]


class Slices:
    """The actors, and the slices of a round that hosts sent.

    Args:
        count: How many slices, and so actors.
        timeout_s: How long they may take.
    """

    def __init__(self, count: int, timeout_s: float):
        self._actors = [_started() for _ in range(count)]
        self._timeout_s = timeout_s

    @property
    def count(self) -> int:
        """How many slices."""
        return len(self._actors)

    def looked_at(self, result: ShareResult, number: int, parts: Sequence[Any]) -> ShareResult | Failure:
        """A share's result with the norm of each vector that was cut; a Failure if a slice is lost.

        Args:
            result: What its host sent.
            number: Of the share, among those whose slices will be summed.
            parts: References to its slices.
        """
        answers = self._asked(lambda actor, part: actor.squared_norms.remote(parts[part]))
        if isinstance(answers, Failure):
            return answers

        def learn(cut: Cut) -> None:
            cut.share = number
            cut.norm = math.sqrt(math.fsum(norms[cut.number] for norms in answers))

        each_cut(result.nodes, learn)
        return result

    def summed(
        self, results: Sequence[ShareResult], present: Sequence[int], shares: Sequence[Sequence[Any]]
    ) -> list[ShareResult]:
        """The results with one sum of all blocks in place of theirs; with failures alone if a slice of it is lost.

        Args:
            results: What hosts sent, looked at.
            present: The numbers of all blocks of the round.
            shares: References to the slices of each share.
        """
        whole = self._whole([node for result in results for node in result.nodes], present, shares)
        if not isinstance(whole, Failure):
            return [replace(result, nodes=() if at else (whole,)) for at, result in enumerate(results)]
        lost = [replace(result, nodes=(), reports=()) for result in results]
        failed = (Failure(report.agent, whole.error, whole.message) for result in results for report in result.reports)
        return [*lost, ShareResult((), (), tuple(failed), (0, 0, 0))]

    def _whole(self, nodes: Sequence[Node], present: Sequence[int], shares: Sequence[Sequence[Any]]) -> Node | Failure:
        """The sum of all blocks, each vector of which is a Cut or short; a Failure if a slice of it is lost."""
        total = total_of(nodes, present)
        if not isinstance(total, WeightedSum):
            return root(total, present)
        held = elsewhere(total)
        trees = list(held.values())
        answers = self._asked(lambda actor, part: actor.sums.remote(trees, *(refs[part] for refs in shares)))
        if isinstance(answers, Failure):
            return answers
        with ignore_read_only():
            bring_back(total, held, answers)
        return root(total, present)

    def close(self) -> None:
        """End the actors."""
        for actor in self._actors:
            ray.kill(actor)

    def _asked(self, call: Callable[[ActorHandle, int], Any]) -> list[Any] | Failure:
        """What each actor answers, or the first failure; of one that is gone for good, the successor is asked."""
        answers = ask({part: call(actor, part) for part, actor in enumerate(self._actors)}, self._timeout_s)
        gone = [part for part, answer in answers.items() if isinstance(answer, Gone)]
        self._actors = [_started() if part in gone else actor for part, actor in enumerate(self._actors)]
        answers |= ask({part: call(self._actors[part], part) for part in gone}, self._timeout_s)
        failure = next((answer for answer in answers.values() if isinstance(answer, Failure)), None)
        return failure or [answers[part] for part in range(self.count)]


def _started() -> ActorHandle:
    kind = ray.remote(num_cpus=0, max_restarts=_RETRIES, max_task_retries=_RETRIES, scheduling_strategy="SPREAD")
    return kind(SliceActor).remote()
