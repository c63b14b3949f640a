"""Learning to learn: agents look for parameters from which a few examples are enough."""

from raycollab.meta.anil import ANIL
from raycollab.meta.base import MetaLearner
from raycollab.meta.cavia import CAVIA
from raycollab.meta.curves import curve, curve_picture, curve_table
from raycollab.meta.episodes import Episode, Episodes, FewShot, PartyTask, split_classes
from raycollab.meta.evaluation import Interval, OverEpisodes, few_shot
from raycollab.meta.fomaml import FOMAML
from raycollab.meta.functional import Functional
from raycollab.meta.functions import FromFunction, Sinusoids
from raycollab.meta.maml import MAML
from raycollab.meta.meta_sgd import MetaSGD
from raycollab.meta.meta_task import MetaTask
from raycollab.meta.per_fedavg import PerFedAvg
from raycollab.meta.protonet import ProtoNet
from raycollab.meta.reptile import Reptile

__all__ = [
    "ANIL",
    "CAVIA",
    "FOMAML",
    "MAML",
    "Episode",
    "Episodes",
    "FewShot",
    "FromFunction",
    "Functional",
    "Interval",
    "MetaLearner",
    "MetaSGD",
    "MetaTask",
    "OverEpisodes",
    "PartyTask",
    "PerFedAvg",
    "ProtoNet",
    "Reptile",
    "Sinusoids",
    "curve",
    "curve_picture",
    "curve_table",
    "few_shot",
    "split_classes",
]
