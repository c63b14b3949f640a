"""Plain-text and rich views of a run: what a person reads, computed from what the run recorded."""

from raycollab.report.agents import agent_table, flag_drift
from raycollab.report.card import model_card
from raycollab.report.classification import classification_report

__all__ = ["agent_table", "classification_report", "flag_drift", "model_card"]
