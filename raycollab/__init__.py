"""Collaborative training of one foundation model by several parties, on Ray.

Names are imported when they are first used, so that `import raycollab` costs nothing.
"""

from importlib import import_module

__version__ = "0.1.0"

_PLACES = {
    "raycollab.agent": ("Agent",),
    "raycollab.aggregation": (
        "AdaptiveClip", "Aggregator", "AgnosticFL", "Bucketing", "Bulyan", "CenteredClip", "Dare", "FedAsync",
        "FedBuff", "FedDyn", "FedMGDA", "FedNova", "FisherMean", "GeometricMedian", "Krum", "LearnedWeights", "Mean",
        "Median", "NormBound", "Partial", "PerGroup", "Product", "QFedAvg", "RowRule", "Rows", "Slerp", "Stack",
        "TaskArithmetic", "Ties", "Tilted", "TrimmedMean", "WeightedSum",
    ),
    "raycollab.attacks": ("Attack",),
    "raycollab.callbacks": ("Callback", "JsonLines", "Progress"),
    "raycollab.chains": ("Chain", "chain"),
    "raycollab.codecs": ("BFloat16", "Codec", "Quantize", "Sparse"),
    "raycollab.config": ("CheckpointConfig", "FailureConfig", "RunConfig", "ScalingConfig"),
    "raycollab.data": (
        "IID", "ByColumn", "Dirichlet", "DirichletSizes", "Explicit", "LabelMix", "LabelShards", "Partition", "Shard",
        "Source",
    ),
    "raycollab.deploy": ("TrainedModel",),
    "raycollab.driver": ("Driver",),
    "raycollab.errors": (
        "ClusterError", "ConfigError", "DataError", "ModelError", "QuorumError", "RaycollabError", "ResourceError",
        "RunFolderError", "TaskMismatchError", "UpdateError",
    ),
    "raycollab.experiment": ("Experiment",),
    "raycollab.exporting": ("Exported", "export"),
    "raycollab.fitting": ("fit", "run_experiment"),
    "raycollab.learners": (
        "SGD", "Distill", "Dyn", "FedSGD", "Fisher", "Learner", "LocalLearner", "Moon", "Optimizer", "Prox", "Scaffold",
        "StartLoss", "Student",
    ),
    "raycollab.meta": (
        "ANIL", "CAVIA", "FOMAML", "MAML", "Episodes", "FewShot", "FromFunction", "MetaLearner", "MetaSGD", "MetaTask",
        "PartyTask", "PerFedAvg", "ProtoNet", "Reptile", "Sinusoids",
    ),
    "raycollab.modes": (
        "Buffered", "Cyclic", "Durations", "Exponential", "LogNormal", "Mode", "PerAgent", "SemiSynchronous",
        "Synchronous",
    ),
    "raycollab.params": ("Exchange",),
    "raycollab.population": ("Parties", "Population", "Split"),
    "raycollab.result": ("Result",),
    "raycollab.schedules": ("Constant", "Cosine", "Decay", "Schedule"),
    "raycollab.selection": (
        "ByWeight", "Candidate", "LossAware", "PowerOfChoice", "RoundRobin", "Selection", "Uniform",
    ),
    "raycollab.sweeps": ("Search", "Sweep", "resume_search", "search"),
    "raycollab.stages": ("run_stages",),
    "raycollab.task": ("Problem", "Task"),
    "raycollab.tasks": (
        "AudioClassification", "CausalLM", "Classification", "Contrastive", "ImageClassification", "MaskedAutoencoding",
        "MaskedLM", "MultiLabel", "ObjectDetection", "Regression", "SequenceToSequence", "SeriesClassification",
        "SeriesRegression", "SimCLR", "TabularClassification", "TabularRegression", "TextClassification",
        "TokenClassification",
    ),
    "raycollab.transforms": (
        "ClipNorm", "FedAdagrad", "FedAdam", "FedYogi", "GaussianNoise", "Momentum", "RandomK", "Scale",
        "ServerOptimizer", "Sign", "TopK", "Transform",
    ),
    "raycollab.types": ("Assignment", "Batch", "Round", "State", "Update"),
}  # fmt: skip
_NAMES = {name: place for place, names in _PLACES.items() for name in names}
_MODULES = ("attacks", "data", "models", "tasks", "learners", "meta", "aggregation", "transforms", "errors", "metrics")
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
