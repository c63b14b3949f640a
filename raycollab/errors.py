"""What can go wrong, as a tree.

    RaycollabError
    |-- ConfigError          a setting is not accepted (also a ValueError)
    |-- DataError            a shard cannot be opened or holds what the task does not accept
    |   `-- RowError         a row of it, which whoever knows its file says by file and number there
    |-- ModelError           a model does not fit its task, its stored weights or the exchange
    |-- TaskMismatchError    a party was offered a task that it did not approve
    |-- UpdateError          an update failed its checks and was kept out of the sum
    |-- BudgetError          a privacy budget does not suffice for what was asked
    |-- RoundStopped         an agent was told to stop in the middle of its local steps
    |-- QuorumError          fewer agents answered than a round needs, or with nothing that can be merged
    |-- ResourceError        the cluster lacks what ScalingConfig asks for
    |-- ClusterError         the Ray cluster cannot be reached
    |-- Interrupted          a run was asked to stop; what it committed is kept
    `-- RunFolderError       a run folder is missing, in the way, damaged or of another experiment

Every class takes one message, so each survives pickling between processes.
"""


class RaycollabError(Exception):
    """Base of every error that raycollab raises on purpose."""


class ConfigError(RaycollabError, ValueError):
    """A setting is not accepted."""


class DataError(RaycollabError):
    """A shard cannot be opened or holds what the task does not accept."""


class RowError(DataError):
    """A row holds what the task does not accept.

    Attributes:
        where: What the rows are called that were checked.
        row: Its number among them, from 0.
        what: What is said of it, right behind its number.
    """

    where = ""
    row = 0
    what = ""

    @classmethod
    def of(cls, where: str, row: int, what: str) -> "RowError":
        """An error that says all three."""
        error = cls(f"{where}: row {row}{what}")
        error.where, error.row, error.what = where, row, what
        return error

    def at(self, file: str, row: int) -> "RowError":
        """The same, said of a row of a file, which is named unless `where` ends with it."""
        named = self.where == file or self.where.endswith(f": {file}")
        return RowError.of(self.where if named else f"{self.where}: {file}", row, self.what)


class ModelError(RaycollabError):
    """A model does not fit its task, its stored weights or the exchange."""


class TaskMismatchError(RaycollabError):
    """A party was offered a task that it did not approve."""


class UpdateError(RaycollabError):
    """An update failed its checks and was kept out of the sum."""


class BudgetError(RaycollabError):
    """A privacy budget does not suffice for what was asked."""


class RoundStopped(RaycollabError):
    """An agent was told to stop in the middle of its local steps."""


class QuorumError(RaycollabError):
    """Fewer agents answered than the failure policy requires, or the aggregator cannot merge what they sent."""


class ResourceError(RaycollabError):
    """The cluster lacks what the scaling settings ask for."""


class ClusterError(RaycollabError):
    """The Ray cluster cannot be reached."""


class Interrupted(RaycollabError):
    """A run was asked to stop before its end; what it committed is kept and can be resumed."""


class RunFolderError(RaycollabError):
    """A run folder is missing, in the way, damaged or of another experiment."""
