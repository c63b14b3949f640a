"""What can go wrong, as a tree.

    RaycollabError
    |-- ConfigError          a setting is not accepted (also a ValueError)
    |-- DataError            a shard cannot be opened or holds what the task does not accept
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
