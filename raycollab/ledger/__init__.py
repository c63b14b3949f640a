"""The record of a run that only grows, and what parties sign in it."""

from raycollab.ledger.ledger import LEDGER, Ledger
from raycollab.ledger.lines import Finding, Line, read_lines
from raycollab.ledger.sent import kept_update, update_of
from raycollab.ledger.signed import Notary, Signer

__all__ = ["LEDGER", "Finding", "Ledger", "Line", "Notary", "Signer", "kept_update", "read_lines", "update_of"]
