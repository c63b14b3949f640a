"""Agents that misbehave, for testing a rule: one kind a file."""

from raycollab.attacks.alie import LittleIsEnough
from raycollab.attacks.attack import Attack
from raycollab.attacks.base import Collusion, LocalAttack
from raycollab.attacks.free_rider import FreeRider
from raycollab.attacks.gaussian import Gaussian
from raycollab.attacks.ipm import InnerProduct
from raycollab.attacks.label_flip import LabelFlip
from raycollab.attacks.mimic import Mimic
from raycollab.attacks.nan import NotANumber
from raycollab.attacks.sign_flip import SignFlip

__all__ = [
    "Attack",
    "Collusion",
    "FreeRider",
    "Gaussian",
    "InnerProduct",
    "LabelFlip",
    "LittleIsEnough",
    "LocalAttack",
    "Mimic",
    "NotANumber",
    "SignFlip",
]
