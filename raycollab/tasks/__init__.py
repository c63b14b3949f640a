"""A task for each kind of data."""

from raycollab.tasks.classification import Classification, ImageClassification

__all__ = ["Classification", "ImageClassification"]
