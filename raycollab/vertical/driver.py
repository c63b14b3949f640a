"""The rounds of a vertical run: find the rows in common, train, evaluate, commit, store."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from raycollab.checkpoint import RunFolder
from raycollab.errors import DataError, Interrupted, RoundStopped
from raycollab.interruption import Interruption
from raycollab.stopping import Stopping
from raycollab.tree import Tree
from raycollab.vertical.alignment import Aligned, align
from raycollab.vertical.experiment import Vertical
from raycollab.vertical.live import Scores, num_looks
from raycollab.vertical.sides import Sides

Row = dict[str, Any]


class VerticalDriver:
    """Runs the rounds. It sees salted hashes, counts, mean losses and metrics.

    Args:
        experiment: What is run.
        sides: The parties.
        folder: Where the run is kept.
        interruption: Looked at between batches.
    """

    def __init__(self, experiment: Vertical, sides: Sides, folder: RunFolder, interruption: Interruption):
        self.experiment, self.folder, self.interruption = experiment, folder, interruption
        self.round = 0
        self.scores = Scores({}, "")
        self.stop_reason = ""
        self._sides = sides
        self._stopping = Stopping(experiment.run, experiment.plan.task.primary)
        self._stored = 0
        self._stored_at = time.monotonic()

    def start(self) -> Aligned:
        """Find the rows in common, and go on from the newest checkpoint if there is one.

        Raises: DataError if there are none, ConfigError if the parties' salts differ; what parties raise.
        """
        self.aligned = align(self._sides, self.experiment.labelled.name)
        found = self.folder.latest_checkpoint()
        if found is not None:
            self._restore(*found)
        self.folder.truncate(self.round)
        if self.round:
            self.stop_reason = self._stopping.reason(self.round, self.scores.metrics)
        return self.aligned

    def rounds(self) -> Iterator[Row]:
        """Run until the end; each round's row, once it is committed.

        Raises: Interrupted if it was asked to stop; the newest committed round is durable then.
        """
        while not self.stop_reason:
            if self.interruption.asked:
                self._store()
                raise Interrupted(f"stopped after round {self.round}, which is kept")
            yield self._run_round(self.round + 1)
        self._store()

    def _run_round(self, index: int) -> Row:
        began, run = time.perf_counter(), self.experiment.run
        size = self.experiment.plan.batch_size
        try:
            loss = self._sides.train(index, -(-self.aligned.num_train // size), self.interruption.overdue)
        except RoundStopped as error:
            raise Interrupted(f"{error}; round {self._stored} is kept") from error
        due = index % run.eval_every == 0 or index >= run.num_rounds
        if due:
            self.scores = self._sides.evaluate(num_looks(self.aligned.num_test))
            self._stopping.observe(self.scores.metrics)
        metrics = self.scores.metrics if due else {}
        self.stop_reason = self._stopping.reason(index, metrics)
        row = {
            "round": index,
            "train_loss": loss,
            "seconds": time.perf_counter() - began,
            "bytes_activations": self.aligned.bytes_a_pass,
            "bytes_gradients": self.aligned.bytes_a_pass,
            **metrics,
            "stop_reason": self.stop_reason,
        }
        self.round = index
        self.folder.append(row)
        if self._is_due(index):
            self._store()
        return row

    def _is_due(self, index: int) -> bool:
        every, every_s = self.experiment.checkpoint.every, self.experiment.checkpoint.every_s
        by_number = every is not None and index % every == 0
        return by_number or (every_s is not None and time.monotonic() - self._stored_at >= every_s)

    def _store(self) -> None:
        """Make the newest round durable, at all parties at once."""
        if self._stored == self.round:
            return
        storage = self.folder.begin_checkpoint(self.round)
        self._sides.save(storage, self.round)
        self.folder.commit_checkpoint(self.round, self._state(), keep=self.experiment.checkpoint.keep)
        self._stored, self._stored_at = self.round, time.monotonic()

    def _state(self) -> Tree:
        return {
            "metrics": dict(self.scores.metrics),
            "text": self.scores.text,
            "stopping": self._stopping.state_dict(),
            "rows": self._counted(),
        }

    def _restore(self, index: int, state: Mapping[str, Any]) -> None:
        if state["rows"] != self._counted():
            raise DataError(
                f"{self.folder.path}: the rows in common have changed since it was stored: {state['rows']} then, "
                f"{self._counted()} now; bring the parties' data and salt back, or start another run"
            )
        self._sides.restore(self.folder.agents_of(index), index)
        self.scores = Scores(state["metrics"], state["text"])
        self._stopping.load_state_dict(state["stopping"])
        self.round = self._stored = index

    def _counted(self) -> dict[str, Any]:
        aligned = self.aligned
        return {"training": aligned.num_train, "held out": aligned.num_test, "digest": aligned.digest}
