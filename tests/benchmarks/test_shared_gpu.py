"""The script stays alive: a tiny run on the CPU, and the same on a GPU where there is one."""

import pytest
import torch

from benchmarks.shared_gpu import pooled, run


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_tiny_run_compares_both(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    line = run(1, device, 8)
    assert line["images_a_second"] > 0
    assert line["pooled"] > 0
    assert line["ratio"] == pytest.approx(line["images_a_second"] / line["pooled"], rel=0.2)


def test_one_process_alone():
    assert pooled(1, "cpu", 4) > 0
