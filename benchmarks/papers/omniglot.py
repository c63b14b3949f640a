"""Omniglot, the 8 alphabets that are at hand: five learners, one agent or eight that hold different characters."""

import io
import itertools
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor, nn

import raycollab as rc
from benchmarks.papers.paper import Paper

HELD_OUT = ("Sanskrit", "Tagalog")
NAMES = ("ProtoNet", "MAML", "FOMAML", "ANIL", "Reptile")
LEAST = {"ProtoNet, 5-way 1-shot": 86.0, "ProtoNet, 5-way 5-shot": 95.3, "ProtoNet, 20-way 1-shot": 66.0}
EPISODES = 8  # of an outer step, all agents together


def conv4(channels: int, num_outputs: int, strided: bool = False) -> nn.Module:
    """Four blocks of convolution, BatchNorm by the batch's own statistics and ReLU, then a linear layer.

    Blocks halve the image by pooling, as ProtoNet's; or by strides, with a mean at the end, as in the code of MAML,
    for a quarter of the work.
    """
    layers: list[nn.Module] = []
    for block in range(4):
        norm = nn.BatchNorm2d(channels, track_running_stats=False)
        stride = 2 if strided else 1
        layers += [nn.Conv2d(1 if block == 0 else channels, channels, 3, stride, padding=1), norm, nn.ReLU()]
        layers += [] if strided else [nn.MaxPool2d(2)]
    layers += [nn.AdaptiveAvgPool2d(1)] if strided else []
    head = nn.Linear(channels, num_outputs)
    return nn.Sequential(OrderedDict(body=nn.Sequential(*layers, nn.Flatten()), head=head))


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
def parties(count: int) -> list[rc.Source]:
    """The training characters in parts of one size, alphabet after alphabet, each with all of its drawings and turns.

    Eight agents hold one alphabet each, or neighbouring parts of two.
    """
    columns = drawings(True)
    characters = columns["label"] // 4
    ends = [int(characters.max() + 1) * part // count for part in range(count + 1)]
    return [
        rc.data.Arrays({name: column[mine] for name, column in columns.items()}, f"characters {first} to {end - 1}")
        for first, end in itertools.pairwise(ends)
        for mine in [(characters >= first) & (characters < end)]
    ]


@dataclass(frozen=True)
class Method:
    """How a learner is trained, and judged.

    Args:
        learner: With the tasks that it is trained with.
        judge: Adapts in evaluation.
        steps: Outer steps, each of `EPISODES` episodes.
        rate: Of Adam, which takes them; down a cosine.
        channels: Of the net.
        strided: Whether the net's blocks have strides instead of pooling.
        judged: Episodes of the evaluation.
    """

    learner: rc.MetaLearner
    judge: rc.MetaLearner
    steps: int
    rate: float
    channels: int = 32
    strided: bool = True
    judged: int = 600


def methods(ways: int, shots: int) -> dict[str, Method]:
    """As they are trained for episodes of so many ways and shots; ProtoNet with more ways, Reptile with more shots."""
    few, many, often = rc.FewShot(ways, shots, 5), rc.FewShot(20, shots, 5), rc.FewShot(ways, 10, 1)
    proto, reptile = rc.ProtoNet(tasks=many), rc.Reptile(lr=0.1, steps=5, tasks=often)
    maml, fomaml = rc.MAML(lr=0.4, tasks=few), rc.FOMAML(lr=0.1, steps=4, tasks=few)
    anil = rc.ANIL(lr=0.4, head=("head.*",), tasks=few)
    return {
        "ProtoNet": Method(proto, proto, 150, 2e-3, strided=False),
        "MAML": Method(maml, replace(maml, steps=3), 400, 5e-3),
        "FOMAML": Method(fomaml, replace(fomaml, steps=5), 400, 5e-3),
        "ANIL": Method(anil, replace(anil, steps=3), 400, 5e-3),
        "Reptile": Method(reptile, replace(reptile, steps=10), 150, 5e-3),
    }


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    """Every method for 5 ways, ProtoNet for 20 too, with one agent and with eight."""
    return cells(
        [(5, 1, name) for name in NAMES] + [(5, 5, name) for name in NAMES] + [(20, 1, "ProtoNet")], seed, tiny
    )


def cells(wanted: Sequence[tuple[int, int, str]], seed: int, tiny: bool) -> dict[str, rc.Experiment]:
    """Experiments by name: for each ways, shots and method's name one with one agent and one with eight."""
    made = {}
    for ways, shots, name in wanted:
        method, judged = methods(ways, shots)[name], rc.FewShot(ways, shots, 10 if ways == 5 else 5)
        method = _tiny(method, ways) if tiny else method
        for count in (1, 8):
            cell = f"{name}, {ways}-way {shots}-shot, {count} agent{'s' * (count > 1)}"
            made[cell] = experiment(method, judged, parties(count), drawings(False), seed)
    return made


def _tiny(method: Method, ways: int) -> Method:
    learner = replace(method.learner, tasks=rc.FewShot(ways, 1, 1))
    return replace(method, learner=learner, steps=1, channels=2, judged=4)


def experiment(
    method: Method, judged: rc.FewShot, sources: Sequence[rc.Source], test: Mapping[str, Tensor], seed: int, **run: Any
) -> rc.Experiment:
    """As many outer steps and episodes whoever draws them: the mean of the agents' meta-gradients goes through Adam."""
    outputs = max(judged.ways, method.learner.tasks.ways)  # type: ignore[attr-defined]
    net = rc.models.Module(conv4, {"channels": method.channels, "num_outputs": outputs, "strided": method.strided})
    learner = replace(method.learner, episodes=EPISODES // len(sources), vectorised=False)
    agents = [rc.Agent(f"party-{number}", source, learner, val_fraction=0.0) for number, source in enumerate(sources)]
    return rc.Experiment(
        rc.MetaTask(
            rc.ImageClassification(net, outputs), method.judge, judged, episodes=method.judged, seed=2**20 + seed
        ),
        rc.Parties(tuple(agents)),
        (rc.Mean("uniform"), rc.ServerOptimizer("Adam", {"lr": method.rate}), rc.Scale(rc.Cosine(length=method.steps))),
        rc.data.Arrays(dict(test), "held out"),
        run=rc.RunConfig(**{"num_rounds": method.steps, "eval_every": method.steps, "seed": seed, **run}),
        checkpoint=rc.CheckpointConfig(every=10**6),
    )


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    one, eight, halves = (
        {name.removesuffix(ending): fmean(values) for name, values in figures.items() if name.endswith(ending)}
        for ending in (", 1 agent", ", 8 agents", ", 1 agent, half of its interval")
    )
    reached = {
        f"{name} reaches {least} with one agent": one[name] >= least for name, least in LEAST.items() if name in one
    }
    gains = {name: eight[name] - one[name] for name in one}
    outside = [f"{name}: {gain:+.1f}" for name, gain in gains.items() if abs(gain) > halves[name]]
    all_but = f" but for {'; '.join(outside)}" if outside else ""
    return {**reached, f"8 agents are within the interval of one{all_but}": not outside}


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
