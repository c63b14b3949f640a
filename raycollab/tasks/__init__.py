"""A task for each kind of data."""

from raycollab.tasks.classification import Classification, ImageClassification
from raycollab.tasks.language import CausalLM

__all__ = ["CausalLM", "Classification", "ImageClassification"]
