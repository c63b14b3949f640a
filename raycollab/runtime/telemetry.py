"""A run in numbers for Prometheus, through Ray: `ray_raycollab_...` series on the metrics port of the driver's node."""

from typing import Any

from ray.util.metrics import Counter, Gauge, Histogram

from raycollab.types import RoundReport

_SECONDS = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0]
_ALIVE = ("run",)


class Telemetry:
    """What a driver's process tells of its rounds. Tags have few values: never a round, an agent or a message.

    Args:
        run: Name of the run folder, the tag `run` of each series.
    """

    def __init__(self, run: str):
        self._tags = {"run": run}
        self._rounds = Counter("raycollab_rounds", "Committed rounds.", _ALIVE)
        self._seconds = Histogram("raycollab_round_seconds", "Seconds a round.", _SECONDS, _ALIVE)
        self._bytes = Counter("raycollab_bytes", "Bytes between hosts and driver.", ("run", "direction"))
        self._failures = Counter("raycollab_failures", "Agents that failed in a round.", ("run", "error"))
        self._agents = Gauge("raycollab_agents", "Agents that took part in the newest round.", _ALIVE)
        self._loss = Gauge("raycollab_train_loss", "Their mean training loss.", _ALIVE)
        self._score = Gauge("raycollab_score", "The model on the shared test set.", ("run", "metric"))

    def note(self, event: Any) -> None:
        """Count a round; other events are passed over."""
        if not isinstance(event, RoundReport):
            return
        self._rounds.inc(1, self._tags)
        self._seconds.observe(event.seconds, self._tags)
        for direction, amount in (("up", event.bytes_up), ("down", event.bytes_down)):
            if amount:
                self._bytes.inc(amount, {**self._tags, "direction": direction})
        for failure in (*event.retried, *event.failures):
            self._failures.inc(1, {**self._tags, "error": failure.error})
        self._agents.set(len(event.agents), self._tags)
        self._loss.set(event.train_loss, self._tags)
        for name, value in event.metrics.items():
            self._score.set(value, {**self._tags, "metric": name})
