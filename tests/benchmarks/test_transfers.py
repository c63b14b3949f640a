"""The script stays alive, and what it says of spans is right."""

import json

import pytest

from benchmarks.transfers import COPIES, SENDING, STEPS, Lanes, Prepared, drawn, overlap


def test_overlap_is_the_share_beside_which_something_else_was_done():
    assert overlap([(0.0, 2.0), (4.0, 6.0)], [(1.0, 5.0)]) == 0.5
    assert overlap([(0.0, 1.0), (0.5, 2.0)], [(0.0, 1.0), (0.5, 1.5)]) == 0.75  # no second counts twice
    assert overlap([(0.0, 1.0)], []) == 0.0
    assert overlap([], [(0.0, 1.0)]) is None


def test_lanes_are_drawn_to_one_scale():
    first, second = drawn({STEPS: [(0.0, 0.5)], SENDING: [(0.5, 1.0)]}).splitlines()
    assert first == f"{STEPS:>8} |{'#' * 50}{' ' * 50}|"
    assert second == f"{SENDING:>8} |{' ' * 50}{'#' * 50}|"


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_a_tiny_round_both_ways(tmp_path):
    prepared = Prepared("Median", "cpu", str(tmp_path), steps=2, tiny=True)
    for apart in (False, True):
        lanes = prepared.round(apart)
        line = prepared.described(lanes, apart)
        assert (line["agents"], line["seconds_of_copies"], line["overlap_of_copies"]) == (2, 0, None)
        assert line["seconds_of_sending"] <= line["seconds"]
        assert line["overlap_of_sending"] >= 0.0 if apart else line["overlap_of_sending"] == 0.0
    lanes.keep(tmp_path / "timeline.json")
    events = json.loads((tmp_path / "timeline.json").read_text())["traceEvents"]
    assert {event["name"] for event in events} == {STEPS, SENDING}
    assert len(events) == 4


def test_copies_to_the_cpu_are_told_from_kernels():
    """Events are faked: there is no GPU everywhere."""
    from types import SimpleNamespace as Event

    from torch.autograd import DeviceType

    def event(name, start, end, device=DeviceType.CUDA):
        return Event(name=name, device_type=device, time_range=Event(start=start, end=end))

    lanes = Lanes()
    lanes.add_device(
        [
            event("round", 1e6, 9e6, DeviceType.CPU),
            event("gemm", 2e6, 3e6),
            event("Memcpy DtoH (Device -> Pinned)", 4e6, 5e6),
            event("Memcpy HtoD (Pageable -> Device)", 5e6, 6e6),
            event("Memcpy DtoH (Device -> Pageable)", 6e6, 7e6),  # of a number
            event("Memset (Device)", 7e6, 8e6),
        ]
    )
    assert lanes.spans == {"kernels": [(1.0, 2.0)], COPIES: [(3.0, 4.0)]}
