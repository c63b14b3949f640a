"""The script stays alive: small nets, and a line for each."""

from benchmarks.meta_speed import measure


def test_a_line_for_each_net():
    lines = measure(1, tiny=True)
    assert [line["net"] for line in lines] == ["40-40", "256-128-64-64", "4 x 64 channels"]
    assert all(line["ratio"] > 0 and line["threads"] >= 1 for line in lines)
