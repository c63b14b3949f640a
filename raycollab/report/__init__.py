"""Plain-text and rich views of a run: what a person reads, computed from what the run recorded."""

from raycollab.report.agents import DRIFTS, SPENT, agent_table, drifting, flag_drift
from raycollab.report.card import model_card, private_note
from raycollab.report.changes import changed, grown
from raycollab.report.classification import classification_report
from raycollab.report.comparison import Compared, compared, comparison
from raycollab.report.failures import first, listed, rejoined, start_error
from raycollab.report.forgetting import AccuracyMatrix, forgetting_line
from raycollab.report.left_out import left_out
from raycollab.report.modalities import added_by_modality, modality_grid, modality_report
from raycollab.report.modality_pictures import modality_pictures
from raycollab.report.round_notes import round_notes
from raycollab.report.spread import SPLITS, spread
from raycollab.report.unevenness import gini, unevenness

__all__ = [
    "DRIFTS",
    "SPENT",
    "SPLITS",
    "AccuracyMatrix",
    "Compared",
    "added_by_modality",
    "agent_table",
    "changed",
    "classification_report",
    "compared",
    "comparison",
    "drifting",
    "first",
    "flag_drift",
    "forgetting_line",
    "gini",
    "grown",
    "left_out",
    "listed",
    "modality_grid",
    "modality_pictures",
    "modality_report",
    "model_card",
    "private_note",
    "rejoined",
    "round_notes",
    "spread",
    "start_error",
    "unevenness",
]
