"""Three agents that share one GPU beside one process that trains on all of their data: images a second.

    python -m benchmarks.shared_gpu --rounds 5

A ResNet-18 of torchvision for 10 classes, on generated images of 32x32x3 in batches of 128, autocast to bfloat16 and
with channels last. Each agent has its own actor on a third of the GPU. Prints one JSON line; seconds are of whole
rounds, the first left out. `--device cpu --tiny` is to see that it works.
"""

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet18

import raycollab as rc
from raycollab.data import Columns
from raycollab.types import RoundReport

AGENTS, BATCH, LR = 3, 128, 0.05


@dataclass(frozen=True)
class Images(rc.Source):
    """Generated images and labels."""

    count: int
    seed: int

    def read(self) -> Columns:
        """Make the rows."""
        generator = torch.Generator().manual_seed(self.seed)
        images = torch.randn(self.count, 3, 32, 32, generator=generator).contiguous(memory_format=torch.channels_last)
        return {"image": images, "label": torch.randint(10, (self.count,), generator=generator)}

    def describe(self) -> str:
        """Return one short line for people."""
        return f"{self.count} generated images"


def net() -> nn.Module:
    """The model, channels last."""
    return resnet18(num_classes=10).to(memory_format=torch.channels_last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.rounds, arguments.device, 8 if arguments.tiny else 16_384)))


def run(rounds: int, device: str, images: int) -> dict:
    """Images a second of both, and the ratio."""
    gpu = torch.cuda.get_device_name() if device == "cuda" else "none"
    shared = together(rounds, device, images)
    alone = pooled(rounds, device, images)
    return {"gpu": gpu, "images_a_second": round(shared), "pooled": round(alone), "ratio": round(shared / alone, 3)}


def together(rounds: int, device: str, images: int) -> float:
    """Images a second of the agents."""
    learner = rc.SGD(lr=LR, momentum=0.9, batch_size=BATCH, autocast=True)
    ended: list[float] = []

    class Watch(rc.Callback):
        def on_round(self, report: RoundReport) -> None:
            del report
            ended.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        rc.fit(
            [rc.Agent(f"agent-{i}", Images(images, i), learner, val_fraction=0.0) for i in range(AGENTS)],
            rc.Mean(),
            task=rc.ImageClassification(rc.models.Module("benchmarks.shared_gpu:net"), num_classes=10),
            test=Images(8, AGENTS),
            run=rc.RunConfig(dir=folder, num_rounds=rounds + 1, eval_every=rounds + 1),
            scaling=rc.ScalingConfig(gpus_per_host=round(1 / AGENTS, 3) if device == "cuda" else 0.0),
            checkpoint=rc.CheckpointConfig(every=10**6),
            callbacks=[Watch()],
        )
    return AGENTS * images / statistics.median(after - before for before, after in pairwise(ended))


def pooled(rounds: int, device: str, images: int) -> float:
    """Images a second of one process with all of the data."""
    module, columns = net().to(device), [Images(images, i).read() for i in range(AGENTS)]
    data = torch.cat([each["image"] for each in columns]).to(device)
    labels = torch.cat([each["label"] for each in columns]).to(device)
    optimizer = torch.optim.SGD(module.parameters(), lr=LR, momentum=0.9)
    return len(data) / statistics.median([_passed(module, optimizer, data, labels) for _ in range(rounds + 1)][1:])


def _passed(module: nn.Module, optimizer: torch.optim.Optimizer, data: Tensor, labels: Tensor) -> float:
    """Seconds of one pass."""
    start = time.perf_counter()
    for rows in torch.randperm(len(data)).to(data.device).split(BATCH):
        with torch.autocast(data.device.type, torch.bfloat16):
            loss = functional.cross_entropy(module(data[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if data.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
