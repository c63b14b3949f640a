"""Faults at random points of real runs on Ray, and whether anything is lost by them: `python -m benchmarks.chaos`."""
