"""Secure sums: what agents send is added up under masks, and nobody sees a single update."""

from raycollab.secure.fixed_point import Form
from raycollab.secure.masked_sum import MaskedSum
from raycollab.secure.residues import Residues
from raycollab.secure.secure_sum import SecureSum

__all__ = ["Form", "MaskedSum", "Residues", "SecureSum"]
