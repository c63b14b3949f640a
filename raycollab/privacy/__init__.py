"""Differential privacy: what was spent, what may be spent, and noise that nobody else can foretell."""

from raycollab.privacy.accountant import Accountant, History, spent_more
from raycollab.privacy.budget import PrivacyBudget
from raycollab.privacy.no_buffers import check_no_buffers
from raycollab.privacy.noise import Noise, read_key
from raycollab.privacy.party_level import party_level
from raycollab.privacy.prv import PRV
from raycollab.privacy.rdp import RDP

__all__ = [
    "PRV",
    "RDP",
    "Accountant",
    "History",
    "Noise",
    "PrivacyBudget",
    "check_no_buffers",
    "party_level",
    "read_key",
    "spent_more",
]
