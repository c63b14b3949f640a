"""When a run ends: at its target, when it no longer gets better, or after num_rounds."""

import math
from collections.abc import Mapping
from typing import Any

from raycollab.config import RunConfig, Target
from raycollab.types import SCORE


class Stopping:
    """Watches the scores on the shared set.

    Args:
        run: Target, patience and num_rounds.
        primary: The metric that patience looks at, and whether higher is better.
    """

    def __init__(self, run: RunConfig, primary: tuple[str, bool]):
        self._run = run
        self._metric, self._higher_is_better = primary
        self._best: float | None = None
        self._evaluations_since_best = 0
        self._newest = -math.inf

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Take note of an evaluation; a score that is nan is worse than any other."""
        score = metrics[self._metric] * (1 if self._higher_is_better else -1)
        score = self._newest = -math.inf if math.isnan(score) else score
        if self._best is None or score > self._best:
            self._best, self._evaluations_since_best = score, 0
        else:
            self._evaluations_since_best += 1

    def reason(self, version: int, metrics: Mapping[str, float]) -> str:
        """Why the run ends after this round; empty if it goes on.

        Args:
            version: Rounds committed.
            metrics: Of the newest evaluation; empty if there was none.
        """
        run = self._run
        if run.target is not None and metrics and Target.parse(run.target).reached(dict(metrics)):
            return f"target {run.target}"
        if run.patience is not None and self._evaluations_since_best >= run.patience:
            return f"no better {self._metric} in {run.patience} evaluations"
        return f"num_rounds={run.num_rounds}" if version >= run.num_rounds else ""

    def tells(self) -> dict[str, float]:
        """The newest score, higher is better, as a scalar of the next round; nothing before there is one."""
        return {SCORE: self._newest} if math.isfinite(self._newest) else {}

    def state_dict(self) -> dict[str, Any]:
        """What it remembers."""
        since = self._evaluations_since_best
        return {"best": self._best, "evaluations_since_best": since, "newest": self._newest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember this instead."""
        self._best, self._evaluations_since_best = state["best"], state["evaluations_since_best"]
        self._newest = state.get("newest", -math.inf)
