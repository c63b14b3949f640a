"""What fusing costs: a step of a fused net beside the steps of its encoders alone, and what absent modalities cost.

    python -m benchmarks.fusion_speed

Prints a Markdown table: milliseconds of a step (forward and backward) on one thread, the median of several.
"""

import argparse
import statistics
import time
from dataclasses import replace

import torch
from torch import Tensor

import raycollab as rc
from raycollab.params import Exchange, FlatModel

WIDTH, CLASSES = 64, 10
MODALITIES = ("image", "sound")
FUSIONS = (
    rc.fusion.Concatenation(WIDTH),
    rc.fusion.Gated(WIDTH),
    rc.fusion.LowRank(WIDTH),
    rc.fusion.TensorProduct(WIDTH),
    rc.fusion.CrossAttention(WIDTH),
    rc.fusion.Bottleneck(WIDTH),
    rc.fusion.FiLM("image", WIDTH),
    rc.fusion.LateLogits(),
    rc.fusion.MixtureOfExperts(WIDTH),
)


def encoders(scale: int = 2) -> dict[str, rc.models.Model]:
    """Small nets for images and for sound; `scale` 2 has the widths that `CNN` has by itself."""
    heard = rc.models.LogMel(8000, mels=32, hop_s=0.025)
    channels = (16 * scale, 32 * scale, 64 * scale)
    return {
        "image": rc.models.CNN(WIDTH, channels=channels[:2], hidden=64 * scale),
        "sound": rc.models.Sequential((heard, rc.models.CNN(WIDTH, size=32, channels=channels, hidden=64 * scale))),
    }


def batch_of(count: int) -> dict[str, Tensor]:
    """Images and waveforms of noise."""
    values = {"image": torch.randn(count, 1, 28, 28), "sound": torch.randn(count, 6400)}
    return {**values, "label": torch.arange(count) % CLASSES}


def measure(count: int = 64, repeats: int = 15, scale: int = 2) -> dict[str, float]:
    """Milliseconds of a step by name: of each encoder with a head alone, of each fused net, and with half of it absent.

    All are measured in turns, so that what else the machine does falls on all alike.

    Args:
        count: Examples of a batch.
        repeats: Turns.
        scale: Of the encoders.
    """
    batch, half = batch_of(count), torch.arange(count) < count // 2
    form = rc.models.Multimodal(encoders(scale), FUSIONS[0], CLASSES)
    whole = {type(fusion).__name__: rc.Multimodal(replace(form, fusion=fusion), CLASSES) for fusion in FUSIONS}
    alone = {name: rc.Multimodal(form, CLASSES).only(name) for name in MODALITIES}
    tasks = {**alone, **whole}
    batches = {name: {k: v for k, v in batch.items() if k in (name, "label")} for name in alone}
    batches |= dict.fromkeys(whole, batch)
    without = {"Gated, no sound": {k: v for k, v in batch.items() if k != "sound"}}
    without["Gated, half of the sound"] = {**batch, "has_sound": half}
    tasks |= dict.fromkeys(without, whole["Gated"])
    batches |= without
    models = {name: FlatModel(task.model(), Exchange()) for name, task in tasks.items()}
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            models[name].zero_grad()
            task.loss(models[name].module.train(), batches[name]).backward()
            taken[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(each[1:]) for name, each in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--scale", type=int, default=2, help="of the encoders' widths")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(arguments.batch, arguments.repeats, arguments.scale)
    both = sum(found[name] for name in MODALITIES)
    print("| step of | ms | of both encoders' |\n|---|---|---|")
    for name, milliseconds in found.items():
        print(f"| {name} | {milliseconds:.2f} | {milliseconds / both:.3f} |")


if __name__ == "__main__":
    main()
