"""Collaborative training of one foundation model by several parties, on Ray.

Names are imported when they are first used, so that `import raycollab` costs nothing.
"""

from importlib import import_module

__version__ = "0.1.0"

_PLACES = {
    "raycollab.agent": ("Agent",),
    "raycollab.aggregation": (
        "Aggregator", "FedNova", "Mean", "Median", "Partial", "RowRule", "Rows", "Stack", "WeightedSum",
    ),
    "raycollab.callbacks": ("Callback", "Progress"),
    "raycollab.chains": ("Chain", "chain"),
    "raycollab.codecs": ("Codec",),
    "raycollab.config": ("CheckpointConfig", "FailureConfig", "RunConfig", "ScalingConfig"),
    "raycollab.data": (
        "IID", "ByColumn", "Dirichlet", "DirichletSizes", "Explicit", "LabelShards", "Partition", "Shard", "Source",
    ),
    "raycollab.deploy": ("TrainedModel",),
    "raycollab.driver": ("Driver",),
    "raycollab.errors": (
        "ClusterError", "ConfigError", "DataError", "ModelError", "QuorumError", "RaycollabError", "ResourceError",
        "RunFolderError", "TaskMismatchError", "UpdateError",
    ),
    "raycollab.experiment": ("Experiment",),
    "raycollab.fitting": ("fit", "run_experiment"),
    "raycollab.learners": ("SGD", "Learner", "LocalLearner", "Optimizer", "Prox", "Scaffold"),
    "raycollab.modes": ("Mode", "Synchronous"),
    "raycollab.params": ("Exchange",),
    "raycollab.population": ("Parties", "Population", "Split"),
    "raycollab.result": ("Result",),
    "raycollab.schedules": ("Constant", "Cosine", "Decay", "Schedule"),
    "raycollab.selection": ("Candidate", "Selection", "Uniform"),
    "raycollab.task": ("Problem", "Task"),
    "raycollab.tasks": ("Classification", "ImageClassification"),
    "raycollab.transforms": ("ClipNorm", "Momentum", "Transform"),
    "raycollab.types": ("Assignment", "Batch", "Round", "State", "Update"),
}  # fmt: skip
_NAMES = {name: place for place, names in _PLACES.items() for name in names}
_MODULES = ("data", "models", "tasks", "learners", "aggregation", "transforms", "errors", "metrics")
__all__ = [*_NAMES, "load", *_MODULES]


def __getattr__(name: str) -> object:
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    if name == "load":
        return import_module("raycollab.deploy").load_model
    if name in _MODULES:
        return import_module(f"raycollab.{name}")
    raise AttributeError(f"module 'raycollab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
