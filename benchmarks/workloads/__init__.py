"""What every system is given: models, data, batches and numbers. It imports torch and nothing of raycollab."""

from benchmarks.workloads.examples import accuracy, examples, held_out
from benchmarks.workloads.outcome import Outcome, parse_task
from benchmarks.workloads.workload import WORKLOADS, Workload

__all__ = ["WORKLOADS", "Outcome", "Workload", "accuracy", "examples", "held_out", "parse_task"]
