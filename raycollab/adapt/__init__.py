"""Adapting: learners whose settings follow progress, drift and what is done about it, sequences of tasks, test time."""

from raycollab.adapt.action import Action, Scene
from raycollab.adapt.adapted import Adapted
from raycollab.adapt.adaptive_prox import AdaptiveProx
from raycollab.adapt.adaptive_steps import AdaptiveSteps
from raycollab.adapt.adwin import ADWIN
from raycollab.adapt.at_test import AtTest
from raycollab.adapt.balanced_steps import BalancedSteps, measured_speeds
from raycollab.adapt.batch_statistics import BatchStatistics
from raycollab.adapt.branch import Branch
from raycollab.adapt.buffer import Buffer
from raycollab.adapt.by_group import ByGroup
from raycollab.adapt.detector import Detector, Verdict
from raycollab.adapt.ewc import EWC
from raycollab.adapt.grow import Grow
from raycollab.adapt.keeping import Keeping
from raycollab.adapt.kolmogorov_smirnov import KolmogorovSmirnov
from raycollab.adapt.lwf import LwF
from raycollab.adapt.mmd import MMD
from raycollab.adapt.on_drift import OnDrift
from raycollab.adapt.page_hinkley import PageHinkley
from raycollab.adapt.plateau import Plateau
from raycollab.adapt.raise_rate import RaiseRate
from raycollab.adapt.refresh_norm import RefreshNorm
from raycollab.adapt.rehearse import Rehearse
from raycollab.adapt.replay import Replay
from raycollab.adapt.reweight import Reweight
from raycollab.adapt.tent import Tent
from raycollab.adapt.watch import Watch
from raycollab.report import AccuracyMatrix

__all__ = [
    "ADWIN",
    "EWC",
    "MMD",
    "AccuracyMatrix",
    "Action",
    "Adapted",
    "AdaptiveProx",
    "AdaptiveSteps",
    "AtTest",
    "BalancedSteps",
    "BatchStatistics",
    "Branch",
    "Buffer",
    "ByGroup",
    "Detector",
    "Grow",
    "Keeping",
    "KolmogorovSmirnov",
    "LwF",
    "OnDrift",
    "PageHinkley",
    "Plateau",
    "RaiseRate",
    "RefreshNorm",
    "Rehearse",
    "Replay",
    "Reweight",
    "Scene",
    "Tent",
    "Verdict",
    "Watch",
    "measured_speeds",
]
