"""When the common model grows, and when that is taken back."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from raycollab.common.model import CommonModel
from raycollab.evaluation import Vectors
from raycollab.growth import Growth, News
from raycollab.metrics import Statistics
from raycollab.params import FlatModel
from raycollab.shared_set import SharedSet
from raycollab.task import Task
from raycollab.types import Change, RoundReport

Grown = tuple[
    RoundReport, Vectors, Statistics, Any
]  # what was done, what the next round starts from, its scores, the chain's


class Growing:
    """Looks after each round whether the next one begins with the next form, or with the one before.

    Args:
        growth: The setting; None never grows.
        primary: The metric that a step is judged by, and whether higher is better.
        common: The model in its forms.
    """

    def __init__(self, growth: Growth | None, primary: tuple[str, bool], common: CommonModel):
        self._growth = growth
        self._metric, self._higher_is_better = primary
        self._common = common
        self.form = 0
        self._of_version: dict[int, int] = {0: 0}
        self._ended = growth is None  # there is no further step
        self._seen: Mapping[str, Any] = growth.when.init() if growth else {}
        self._trial: dict[str, Any] | None = None  # of the newest step, as long as it may be taken back

    @property
    def task(self) -> Task:
        """What is learned in the present form."""
        return self._common.forms.task(self.form)

    @property
    def model(self) -> FlatModel:
        """The present form: scratch space."""
        return self._common.forms.model(self.form)

    @property
    def num_params(self) -> int:
        """Exchanged parameters that are in use."""
        return self.model.spec.num_params

    @property
    def private(self) -> tuple[str, ...]:
        """Names of the parameters and buffers that stay with each agent."""
        return tuple(self.model.private())

    def module(self, vectors: Vectors) -> nn.Module:
        """The present form with these vectors."""
        return self._common.module(self.form, vectors)

    def score(self, shared: SharedSet, vectors: Vectors) -> Statistics:
        """Statistics of the present form with these vectors."""
        return shared.score(self.module(vectors), task=self.task)

    def form_of(self, version: int) -> int:
        """The form that a version of the vectors is in."""
        return self._of_version.get(version, 0)

    def committed(self, version: int, kept: Collection[int]) -> None:
        """Take note of a version, and of those that can still be started from."""
        forms = {**self._of_version, version: self.form}
        self._of_version = {each: forms.get(each, 0) for each in kept}

    def after(
        self, report: RoundReport, vectors: Vectors, shared: SharedSet, statistics: Statistics, chain: Any
    ) -> Grown:
        """Take the newest step back, or the next one, if it is time; else all stays as it is.

        Args:
            report: Of the round that was committed.
            vectors: What it was committed with.
            shared: By which steps are judged.
            statistics: Of the newest evaluation.
            chain: What the chain remembers, which goes back with a step.
        """
        if self._growth is None:
            return report, vectors, statistics, chain
        score = report.metrics.get(self._metric)
        if score is not None and (before := self._taken_back(score, self._growth)) is not None:
            cause = f"{self._metric} got worse, from {before['score']:.4g} to {score:.4g}"
            return *self._moved(report, -1, before["vectors"], "rolled back", cause, shared, score), before["chain"]
        if report.stop_reason or self._ended or not (cause := self._cause(self._growth, report, score)):
            return report, vectors, statistics, chain
        found = self._score(self.score(shared, vectors)) if score is None else score
        self._trial = (
            {"vectors": vectors, "chain": chain, "score": found, "evaluations": 0, "falls": 0}
            if self._growth.probation
            else None
        )
        self._ended = self.form + 1 == self._common.last
        grown = self._common.grown(self.form, vectors)
        return *self._moved(report, 1, grown, "taken", cause, shared, found), chain

    def state_dict(self) -> dict[str, Any]:
        """What it remembers."""
        return {
            "form": self.form,
            "of_version": {str(version): form for version, form in self._of_version.items()},
            "ended": self._ended,
            "seen": dict(self._seen),
            "trial": self._trial,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember this instead."""
        self.form, self._ended = state["form"], state["ended"]
        self._of_version = {int(version): form for version, form in state["of_version"].items()}
        self._seen, self._trial = state["seen"], state["trial"]

    def _cause(self, growth: Growth, report: RoundReport, score: float | None) -> str:
        sign = 1.0 if self._higher_is_better else -1.0
        news = News(
            next_round=report.index + 1,
            score=None if score is None else sign * score,
            outputs=self._common.forms.outputs(self.form),
            labels=max((agent.labels for agent in report.agents), default=0),
            asking=sum(agent.asks for agent in report.agents),
            agents=len(report.agents),
        )
        cause, self._seen = growth.when.cause(news, self._seen)
        return cause

    def _taken_back(self, score: float, growth: Growth) -> dict[str, Any] | None:
        """What there was before the newest step, if the score has been lower for long enough since."""
        trial = self._trial
        if trial is None:
            return None
        fall = trial["score"] - score if self._higher_is_better else score - trial["score"]
        falls = 0 if fall <= growth.tolerance else trial["falls"] + 1  # nan fell, too
        evaluations, back = trial["evaluations"] + 1, falls >= growth.patience
        over = back or evaluations >= growth.probation
        self._trial = None if over else {**trial, "evaluations": evaluations, "falls": falls}
        self._ended = self._ended or back
        return trial if back else None

    def _moved(
        self, report: RoundReport, by: int, vectors: Vectors, outcome: str, cause: str, shared: SharedSet, before: float
    ) -> tuple[RoundReport, Vectors, Statistics]:
        """Go on from these vectors in the form after or before the present one."""
        was, size = self.form, self.num_params
        self.form = self._of_version[report.index] = was + by
        self._seen = self._growth.when.init() if self._growth else {}
        statistics = self.score(shared, vectors)
        after = self._score(statistics)
        detail = f"form {was} -> {self.form}: {size:,} -> {self.num_params:,} parameters"
        note = f"Grow {outcome}: {cause}: {detail}; {self._metric} {before:.4f} -> {after:.4f}"
        note += "; what agents remember that has the size of the model begins anew"
        change = Change("Grow", outcome, cause, detail, before, after)
        return replace(report, changes=(change,), notes=(*report.notes, note)), vectors, statistics

    def _score(self, statistics: Statistics) -> float:
        return statistics.compute()[self._metric]
