"""Sweeps: an experiment tried at many settings by Ray Tune, each trial a run of its own."""

from raycollab.sweeps.files import read_sweep
from raycollab.sweeps.settings import Search
from raycollab.sweeps.sweep import Sweep, resume_search, search

__all__ = ["Search", "Sweep", "read_sweep", "resume_search", "search"]
