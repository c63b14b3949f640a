"""Plain-text and rich views of a run: what a person reads, computed from what the run recorded."""

from raycollab.report.agents import DRIFTS, agent_table, drifting, flag_drift
from raycollab.report.card import model_card, private_note
from raycollab.report.classification import classification_report

__all__ = ["DRIFTS", "agent_table", "classification_report", "drifting", "flag_drift", "model_card", "private_note"]
