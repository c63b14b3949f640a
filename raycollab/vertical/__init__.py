"""Parties with different columns of the same people: one net, split over them, and columns and labels that stay."""

from raycollab.vertical.alignment import Aligned, Card
from raycollab.vertical.fitting import fit
from raycollab.vertical.part import Part, load_part
from raycollab.vertical.party import Party
from raycollab.vertical.result import VerticalResult
from raycollab.vertical.rows import HeldOut
from raycollab.vertical.salt import new_salt

__all__ = ["Aligned", "Card", "HeldOut", "Part", "Party", "VerticalResult", "fit", "load_part", "new_salt"]
