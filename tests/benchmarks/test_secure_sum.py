"""The script stays alive: a small net, and a line for each way to sum."""

from benchmarks.secure_sum import measure


def test_a_line_for_each_sum():
    lines = measure(1, epochs=1, hidden=(32,))
    assert [line["sum"] for line in lines] == ["mean", "secure 32", "secure 64"]
    assert lines[0]["bytes_over_mean"] == 1.0
    assert lines[2]["bytes_over_mean"] > lines[1]["bytes_over_mean"] > 1.0
