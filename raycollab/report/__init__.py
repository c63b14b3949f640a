"""Plain-text and rich views of a run: what a person reads, computed from what the run recorded."""

from raycollab.report.agents import DRIFTS, agent_table, drifting, flag_drift
from raycollab.report.card import model_card, private_note
from raycollab.report.classification import classification_report
from raycollab.report.failures import first, listed, rejoined, start_error
from raycollab.report.spread import spread

__all__ = [
    "DRIFTS",
    "agent_table",
    "classification_report",
    "drifting",
    "first",
    "flag_drift",
    "listed",
    "model_card",
    "private_note",
    "rejoined",
    "spread",
    "start_error",
]
