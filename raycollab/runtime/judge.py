"""Candidates for a merge judged on a host, where the experiment lets the validation data leave the driver."""

from collections.abc import Mapping

from torch import Tensor

from raycollab.determinism import fixed_threads
from raycollab.errors import ConfigError
from raycollab.runtime.session import Session, build_model
from raycollab.validation import Validation


class Judge:
    """Scores vectors as the driver would: the same model, rows, batches and number of threads.

    Args:
        session: What is common to the run.
        device: Where it computes.
    Raises: ConfigError if the rule's validation data may not be opened here; DataError if it cannot be.
    """

    def __init__(self, session: Session, device: str):
        rule = session.chain.aggregator
        source = rule.validates_on()
        if source is None or not rule.validates_on_hosts():
            raise ConfigError(f"{type(rule).__name__}: its validation data stays with the driver; set on_hosts=True")
        model = build_model(session.task, session.exchange, session.seed, device, start=session.start)
        self._validation = Validation(source, session.task, model, None, session.seed)
        self._threads = session.threads

    def loss(self, vectors: Mapping[str, Tensor]) -> float:
        """Mean loss at these vectors, on all the data."""
        with fixed_threads(self._threads):
            return self._validation.loss(vectors)
