"""Collaborative training of one foundation model by several parties, on Ray.

Names are imported when they are first used, so that `import raycollab` costs nothing.
"""

from importlib import import_module

__version__ = "0.1.0"

_PLACES = {
    "raycollab.adapt": (
        "EWC", "AdaptiveProx", "AdaptiveSteps", "BalancedSteps", "LwF", "OnDrift", "Plateau", "Replay", "Watch",
    ),
    "raycollab.agent": ("Agent",),
    "raycollab.aggregation": (
        "AdaptiveClip", "Aggregator", "AgnosticFL", "Bucketing", "Bulyan", "CenteredClip", "Contributions", "Dare",
        "FedAsync", "FedBuff", "FedDyn", "FedMGDA", "FedNova", "FisherMean", "GeometricMedian", "Krum",
        "LearnedWeights", "LoRAProduct", "Mean", "Median", "NormBound", "Partial", "PerCluster", "PerGroup",
        "PrivateAdaptiveMean", "PrivateMean", "Product", "QFedAvg", "RowRule", "Rows", "Slerp", "Stack",
        "TaskArithmetic", "Ties", "Tilted", "TrimmedMean", "WeightedSum",
    ),
    "raycollab.alone": ("local_only",),
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
        "BudgetError", "ClusterError", "ConfigError", "DataError", "ModelError", "QuorumError", "RaycollabError",
        "ResourceError", "RunFolderError", "TaskMismatchError", "UpdateError",
    ),
    "raycollab.experiment": ("Experiment",),
    "raycollab.exporting": ("Exported", "export"),
    "raycollab.fitting": ("fit", "run_experiment"),
    "raycollab.growth": ("Growth",),
    "raycollab.keys": ("Key",),
    "raycollab.learners": (
        "DPSGD", "SGD", "Distill", "Dyn", "FedSGD", "Fisher", "GroupRates", "Learner", "LocalLearner",
        "ModalityCounts", "Moon", "Optimizer", "Prox", "Scaffold", "StartLoss", "Student",
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
    "raycollab.personal": ("APFL", "IFCA", "Ditto", "FedALA", "FedBABU", "FedRep", "FineTune", "PFedMe"),
    "raycollab.population": ("Parties", "Population", "Split"),
    "raycollab.privacy": ("PrivacyBudget",),
    "raycollab.result": ("Result",),
    "raycollab.schedules": ("Constant", "Cosine", "Decay", "Schedule"),
    "raycollab.secure": ("SecureSum",),
    "raycollab.selection": (
        "ByWeight", "Candidate", "LossAware", "PowerOfChoice", "RoundRobin", "Selection", "Uniform",
    ),
    "raycollab.sweeps": ("Search", "Sweep", "resume_search", "search"),
    "raycollab.stages": ("run_stages",),
    "raycollab.task": ("Problem", "Task"),
    "raycollab.tasks": (
        "AudioClassification", "CausalLM", "Classification", "Contrastive", "ImageClassification", "MaskedAutoencoding",
        "MaskedLM", "MultiLabel", "Multimodal", "ObjectDetection", "Regression", "SequenceToSequence",
        "SeriesClassification", "SeriesRegression", "SimCLR", "TabularClassification", "TabularRegression",
        "TextClassification", "TokenClassification",
    ),
    "raycollab.transforms": (
        "ClipNorm", "FedAdagrad", "FedAdam", "FedYogi", "GaussianNoise", "Momentum", "NoiseShare", "Prune", "RandomK",
        "Scale", "ServerOptimizer", "Sign", "TopK", "Transform",
    ),
    "raycollab.types": ("Assignment", "Batch", "Round", "State", "Update"),
}  # fmt: skip
_NAMES = {name: place for place, names in _PLACES.items() for name in names}
_MODULES = (
    "adapt", "attacks", "data", "fusion", "models", "tasks", "learners", "meta", "personal", "aggregation",
    "transforms", "privacy", "errors", "metrics", "vertical", "growth",
)  # fmt: skip
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
