"""Whether the common model harms a party, and what is done about it."""

import math
from collections.abc import Mapping
from typing import Any

from raycollab.config import RunConfig

_STEP = 2.0  # factor on a harmed agent's weight, each evaluation
_MOST = 16.0


class Guard:
    """Watches each agent's own score, on its validation rows.

    An agent is harmed while its score is worse than its best one so far by more than `RunConfig.max_harm`. With
    on_harm="stop" the run ends then. With "reweigh" its weight is doubled at each evaluation until it is harmed no
    more, up to 16 times, and then halved again until it is what it was.

    Args:
        run: max_harm and on_harm.
        primary: The metric, and whether higher is better.
    """

    def __init__(self, run: RunConfig, primary: tuple[str, bool]):
        self._run = run
        self._metric, self._higher_is_better = primary
        self._best: dict[str, float] = {}
        self._factors: dict[str, float] = {}
        self._harmed: dict[str, float] = {}  # by how much, at the newest evaluation

    def observe(self, own: Mapping[str, Mapping[str, float]]) -> list[str]:
        """Take note of the scores that agents have; returns a line on those that are harmed."""
        if self._run.max_harm is None:
            return []
        sign = 1.0 if self._higher_is_better else -1.0
        for agent, metrics in own.items():
            score = sign * metrics.get(self._metric, math.nan)
            if math.isnan(score):
                continue
            best = self._best[agent] = max(self._best.get(agent, -math.inf), score)
            self._harmed.pop(agent, None)
            if best - score > self._run.max_harm:
                self._harmed[agent] = best - score
            self._reweigh(agent)
        return self._notes()

    def factor(self, agent: str) -> float:
        """What its weight is multiplied by in the next round."""
        return self._factors.get(agent, 1.0) if self._run.on_harm == "reweigh" else 1.0

    def reason(self) -> str:
        """Why the run ends; empty if it goes on."""
        asked = self._run.max_harm is not None and self._run.on_harm == "stop"
        return f"harm to {self._listed()}" if asked and self._harmed else ""

    def state_dict(self) -> dict[str, Any]:
        """What it remembers."""
        return {"best": dict(self._best), "factors": dict(self._factors), "harmed": dict(self._harmed)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember this instead."""
        self._best, self._factors = dict(state["best"]), dict(state["factors"])
        self._harmed = dict(state["harmed"])

    def _reweigh(self, agent: str) -> None:
        step = _STEP if agent in self._harmed else 1 / _STEP
        self._factors[agent] = min(max(self._factors.get(agent, 1.0) * step, 1.0), _MOST)

    def _notes(self) -> list[str]:
        if not self._harmed:
            return []
        done = "the run ends" if self._run.on_harm == "stop" else "their weights are doubled until they are not"
        return [f"harmed: {self._listed()}, more than max_harm={self._run.max_harm:g} below their best; {done}"]

    def _listed(self) -> str:
        return ", ".join(f"{agent} ({self._metric} worse by {by:.3g})" for agent, by in sorted(self._harmed.items()))
