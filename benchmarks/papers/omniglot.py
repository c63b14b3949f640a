"""Omniglot, the 8 alphabets that are at hand: five learners, one agent or eight that hold different characters."""

import io
import os
from collections.abc import Mapping, Sequence
from functools import cache
from statistics import fmean

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor, nn

import raycollab as rc
from benchmarks.papers.paper import Paper
from raycollab.rng import numpy_generator

HELD_OUT = ("Sanskrit", "Tagalog")
QUERIES = 10


def conv4(channels: int, num_outputs: int) -> nn.Module:
    """Four blocks of convolution, BatchNorm by the batch's own statistics, ReLU and pooling; then a linear layer."""
    layers: list[nn.Module] = []
    for block in range(4):
        norm = nn.BatchNorm2d(channels, track_running_stats=False)
        layers += [nn.Conv2d(1 if block == 0 else channels, channels, 3, padding=1), norm, nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels, num_outputs))


@cache
def drawings(train: bool) -> dict[str, Tensor]:
    """Drawings [n, 1, 28, 28] with ink 1, and their classes: a character by how it is turned is a class."""
    table = pq.read_table(os.path.join(os.environ["RAYCOLLAB_DATA"], "omniglot_background_small.parquet"))
    mine = [row for row in table.to_pylist() if (row["alphabet"] not in HELD_OUT) == train]
    small = [Image.open(io.BytesIO(row["image"])).convert("L").resize((28, 28), Image.Resampling.BOX) for row in mine]
    images = 1 - torch.from_numpy(np.stack([np.asarray(image) for image in small])).float().unsqueeze(1) / 255
    labels = torch.tensor([row["label"] for row in mine]).unique(return_inverse=True)[1]
    turned = torch.cat([images.rot90(turns, (2, 3)) for turns in range(4)])
    return {"image": turned, "label": torch.cat([4 * labels + turns for turns in range(4)])}


@cache
def parties(count: int, seed: int) -> list[rc.Source]:
    """The training characters dealt out, each with all of its drawings and turns."""
    columns = drawings(True)
    characters = columns["label"] // 4
    order = numpy_generator(seed, "characters").permutation(int(characters.max()) + 1)
    return [
        rc.data.Arrays({name: column[rows] for name, column in columns.items()}, f"characters of {part}")
        for part in range(count)
        for rows in [torch.isin(characters, torch.from_numpy(order[part::count].copy()))]
    ]


def learners(ways: int, shots: int, agents: int, tiny: bool) -> dict[str, tuple[rc.MetaLearner, int]]:
    """A learner of each kind and the channels of its net; ProtoNet trains with more ways than it is judged by."""
    outer = rc.Optimizer("Adam", {"lr": 1e-3}, keep_state=True)
    episodes = {"episodes": 4, "outer": outer, "outer_steps": 1 if tiny else 5, "vectorised": False}
    few = rc.FewShot(ways, shots, 3 if tiny else QUERIES)
    inner = {"lr": 0.4, "tasks": few, **episodes}
    many = rc.FewShot(ways if tiny else 20, shots, 3 if tiny else 5)
    channels = 2 if tiny else 32
    return {
        "ProtoNet": (rc.ProtoNet(tasks=many, **{**episodes, "episodes": 1}), 2 if tiny else 64),
        "MAML": (rc.MAML(steps=1, **inner), channels),
        "FOMAML": (rc.FOMAML(steps=1, **inner), channels),
        "ANIL": (rc.ANIL(steps=1, head=("17.*",), **inner), channels),
        "Reptile": (rc.Reptile(steps=5, **{**inner, "lr": 0.05}), channels),
    }


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    made = {}
    for ways, shots in ((5, 1), (5, 5), (20, 1)):
        for count in (1, 8):
            for name, (learner, channels) in learners(ways, shots, count, tiny).items():
                if tiny and (ways, shots) != (5, 1):
                    continue
                made[f"{name}, {ways}-way {shots}-shot, {count} agent{'s' * (count > 1)}"] = _experiment(
                    learner, channels, rc.FewShot(ways, shots, 3 if tiny else QUERIES), count, seed, tiny
                )
    return made


def _experiment(
    learner: rc.MetaLearner, channels: int, judged: rc.FewShot, count: int, seed: int, tiny: bool
) -> rc.Experiment:
    """As many episodes in all whether one agent draws them or eight."""
    outputs = max(judged.ways, learner.tasks.ways)  # type: ignore[attr-defined]
    net = rc.models.Module(conv4, {"channels": channels, "num_outputs": outputs})
    task = rc.ImageClassification(net, outputs)
    rounds = 1 if tiny else 160 // count
    agents = [
        rc.Agent(f"party-{index}", source, learner, val_fraction=0.0)
        for index, source in enumerate(parties(count, seed))
    ]
    return rc.Experiment(
        rc.MetaTask(task, learner, judged, episodes=4 if tiny else 600, seed=2**20 + seed),
        rc.Parties(tuple(agents)),
        (rc.Mean("uniform"),),
        rc.data.Arrays(drawings(False), "Sanskrit and Tagalog"),
        run=rc.RunConfig(num_rounds=rounds, eval_every=rounds),
        checkpoint=rc.CheckpointConfig(every=10**6),
    )


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    cells = {(5, 1): 86.0, (5, 5): 95.3, (20, 1): 66.0}
    reached = {
        f"ProtoNet reaches {least} in {ways}-way {shots}-shot with one agent": fmean(
            figures[f"ProtoNet, {ways}-way {shots}-shot, 1 agent"]
        )
        >= least
        for (ways, shots), least in cells.items()
        if f"ProtoNet, {ways}-way {shots}-shot, 1 agent" in figures
    }
    alone = {name: fmean(values) for name, values in figures.items() if name.endswith("1 agent")}
    shared = {name: fmean(figures[name.replace("1 agent", "8 agents")]) for name in alone}
    widths = {name: 2 * fmean(figures[f"{name}, half of its interval"]) for name in alone}
    within = {name: abs(alone[name] - shared[name]) <= widths[name] for name in alone}
    return {**reached, "8 agents are within the interval of one": all(within.values())}


PAPER = Paper(
    title="Omniglot, 6 alphabets and their turns to train, Sanskrit and Tagalog to test, 600 episodes",
    source="Snell et al., NeurIPS 2017; Finn et al., ICML 2017; Nichol et al., 2018, on the full set of 50 alphabets",
    kind="reduced",
    experiments=experiments,
    figure=lambda result: 100 * result.metrics["accuracy"],
    unit="accuracy, %",
    published={
        f"{name}, {cell}, {agents}": figure
        for name, figures in {
            "ProtoNet": ("98.2", "99.4", "95.8"),
            "MAML": ("98.1", "99.8", "91.6"),
            "FOMAML": ("95.5", "99.5", "92.2"),
            "Reptile": ("-", "99.5 (reproduction)", "-"),
        }.items()
        for cell, figure in zip(("5-way 1-shot", "5-way 5-shot", "20-way 1-shot"), figures, strict=True)
        for agents in ("1 agent", "8 agents")
    },
    claims=claims,
    columns={"half of its interval": lambda result: 100 * result.metrics["accuracy_half"]},
)
