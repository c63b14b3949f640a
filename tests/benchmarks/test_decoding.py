import os

import pytest

from benchmarks.decoding import decoding, streaming

needs_data = pytest.mark.skipif(
    not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the folder of the real data sets"
)


@needs_data
@pytest.mark.long
def test_the_figures_are_there():
    """Every image once, and the second time none; a file of 20 MB in place of 1 GB."""
    line = decoding("cifar10_test.parquet")
    assert line["images"] == 10_000
    assert line["second_read_s"] < 0.1
    small = streaming("cifar10_test.parquet", 0.02)
    assert small["gigabytes"] >= 0.02
    assert 0 < small["opened_s"] <= small["first_batch_s"]
