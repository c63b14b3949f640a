"""What may watch a run."""

from raycollab.result import Result
from raycollab.types import Begun, Notice, RoundReport, Started


class Callback:
    """Watches a run from the process that started it; override what is of interest."""

    def on_begin(self, begun: Begun) -> None:
        """The settings are checked and the run folder is there; nothing is started yet."""

    def on_start(self, started: Started) -> None:
        """All agents are ready."""

    def on_notice(self, notice: Notice) -> None:
        """Something went wrong with the run as a whole, such as the driver's death; rounds may be reported again."""

    def on_round(self, report: RoundReport) -> None:
        """A round was committed."""

    def on_end(self, result: Result) -> None:
        """The run has ended and its folder is complete."""
