"""Gradient blending's weights, by hand."""

import pytest

from raycollab.errors import ConfigError
from raycollab.fusion import blend


def test_weights_by_hand():
    """Image gains 0.4 and overfits by 0.2: 0.4 / 0.04 = 10. Audio gains 0.2 and overfits by 0.1: 20. Text is worse."""
    before = {"image": (2.0, 2.0), "audio": (2.0, 2.0), "text": (2.0, 2.0)}
    after = {"image": (1.4, 1.6), "audio": (1.7, 1.8), "text": (1.0, 2.5)}
    found = blend(before, after)
    assert found == pytest.approx({"image": 1 / 3, "audio": 2 / 3, "text": 0.0})


def test_one_that_does_not_overfit_has_a_finite_weight():
    found = blend({"a": (2.0, 2.0), "b": (2.0, 2.0)}, {"a": (1.0, 1.0), "b": (1.0, 1.5)})
    assert found["b"] == pytest.approx(2.0 / (1e6 + 2.0))


def test_what_is_refused():
    with pytest.raises(ConfigError, match=r"blend: after=\['b'\]: must be losses of \['a'\]"):
        blend({"a": (1.0, 1.0)}, {"b": (1.0, 1.0)})
    with pytest.raises(ConfigError, match=r"none of .* has a smaller validation loss"):
        blend({"a": (1.0, 1.0)}, {"a": (0.5, 1.0)})
