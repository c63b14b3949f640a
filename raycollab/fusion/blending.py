"""Weights of the losses of several modalities, by how much each overfits."""

from collections.abc import Mapping

from raycollab.errors import ConfigError
from raycollab.settings import require

Losses = Mapping[str, tuple[float, float]]  # by name: on training rows, and on validation rows

_LEAST = 1e-3  # nats of overfitting below which nothing can be told apart


def blend(before: Losses, after: Losses) -> dict[str, float]:
    """Weights by gradient blending: what a loss has gained on validation rows, over the square of its overfitting.

    Train with every loss alone, or all of them beside each other, look at the losses twice, and give the weights to
    `rc.tasks.Multimodal(blending=...)`.

    Args:
        before: Losses at one time, of "fused" and of modalities.
        after: The same later.
    Returns: Weights by name, which sum to 1; 0 for what has gained nothing.
    Raises: ConfigError for other names after than before, or if nothing has gained anything.
    Source: Wang et al., CVPR 2020, arXiv 1905.12681, equation 3 (offline), with overfitting of 0.001 at least.
    """
    require(sorted(before) == sorted(after), "blend: after", sorted(after), f"must be losses of {sorted(before)}")
    raw = {}
    for name in sorted(before):
        (train, val), (later_train, later_val) = before[name], after[name]
        overfitting = (later_val - later_train) - (val - train)
        raw[name] = max(val - later_val, 0.0) / max(abs(overfitting), _LEAST) ** 2
    total = sum(raw.values())
    if not total > 0:
        raise ConfigError(f"blend: none of {sorted(before)} has a smaller validation loss than before; train longer")
    return {name: weight / total for name, weight in raw.items()}
