"""The measurement of what fusing costs names every way of fusing, and absent modalities cost less."""

from benchmarks.fusion_speed import FUSIONS, MODALITIES, measure
from raycollab import fusion


def test_every_way_of_fusing_is_measured():
    concrete = {name for name in fusion.__all__ if isinstance(getattr(fusion, name), type)}
    assert {type(each).__name__ for each in FUSIONS} == concrete - {"Fused", "Fusion", "Given"}


def test_a_measurement():
    """Loosely: a sound that nobody has saves its encoder, which is the larger part."""
    found = measure(count=32, repeats=3, scale=1)
    assert set(MODALITIES) < set(found)
    assert found["Gated, no sound"] < 0.7 * found["Gated"]
