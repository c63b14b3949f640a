"""Membership inference: was this image among those that the model was trained on?

Several parties train one model on random halves of a pool of images; the attacker sees the model, and tells members
from the others by their loss alone, or by LiRA: how the loss of each image compares with that of models that were
trained with it and without it.

Source: Yeom et al., CSF 2018, arXiv 1709.01604 (threshold); Carlini et al., S&P 2022, arXiv 2112.03570 (LiRA, online).
"""

import tempfile
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

import raycollab as rc
from benchmarks.papers.cifar import HalfSize, images
from raycollab.data import Arrays
from raycollab.rng import numpy_generator

POOL, MODELS, PARTIES, ROUNDS, BATCH = 1600, 8, 4, 30, 32
DELTA = 1e-4
TASK = rc.ImageClassification(
    HalfSize(rc.models.CNN(10, in_channels=3, size=16, channels=(16, 32), hidden=64)), num_classes=10
)
PLAIN = rc.SGD(lr=0.05, momentum=0.9, epochs=1, batch_size=BATCH)


def private(epsilon: float, noise: float) -> rc.DPSGD:
    """DP-SGD that spends at most this in all rounds."""
    budget = rc.PrivacyBudget(epsilon, DELTA)
    return rc.DPSGD(noise=noise, max_grad_norm=1.0, lr=0.1, epochs=1, batch_size=BATCH, budget=budget)


LEARNERS: Mapping[str, rc.Learner] = {
    "SGD": PLAIN,
    "DP-SGD, epsilon 8": private(8.0, 1.57),
    "DP-SGD, epsilon 2": private(2.0, 4.55),
}


def measure(seed: int, *, tiny: bool) -> dict[str, dict[str, float]]:
    """Every learner's figures: means over the models, each attacked with the help of the others."""
    size, models, rounds = (160, 3, 1) if tiny else (POOL, MODELS, ROUNDS)
    pool = images(size, seed, tiny=tiny).read()
    tested = images(200 if tiny else 2000, seed + 1, tiny=True).read()
    learners = {"SGD": PLAIN, "DP-SGD": replace(private(50.0, 1.0), batch_size=8)} if tiny else LEARNERS
    return {name: _measured(learner, pool, tested, seed, models, rounds) for name, learner in learners.items()}


def _measured(
    learner: rc.Learner, pool: Mapping[str, Tensor], tested: Mapping[str, Tensor], seed: int, models: int, rounds: int
) -> dict[str, float]:
    size = len(pool["label"])
    member = np.stack([_half(size, seed, index) for index in range(models)])  # [m, n]
    confidence, accuracies, epsilons = [], [], []
    for index in range(models):
        rows = torch.from_numpy(np.flatnonzero(member[index]))
        mine = {name: column[rows] for name, column in pool.items()}
        model, epsilon = _trained(learner, mine, seed + 100 * index, rounds)
        confidence.append(_confidence(model, pool))
        accuracies.append((_accuracy(model, mine), _accuracy(model, tested)))
        epsilons.append(epsilon)
    scores = np.stack(confidence)  # [m, n]
    by_loss = [roc_auc_score(member[i], scores[i]) for i in range(models)]
    by_lira = [roc_auc_score(member[i], _lira(scores, member, i)) for i in range(models)]
    train, test = np.mean(accuracies, axis=0)
    return {
        "epsilon": max(epsilons),
        "accuracy on members": float(train),
        "accuracy on others": float(test),
        "AUC, loss": float(np.mean(by_loss)),
        "AUC, LiRA": float(np.mean(by_lira)),
    }


def _half(size: int, seed: int, index: int) -> np.ndarray:
    """Which rows of the pool a model is trained on: half of them."""
    chosen = numpy_generator(seed, "half", index).permutation(size)[: size // 2]
    return np.isin(np.arange(size), chosen)


def _trained(learner: rc.Learner, columns: dict[str, Tensor], seed: int, rounds: int) -> tuple[nn.Module, float]:
    """The parties' common model, and the most that was spent on any party's examples."""
    agents = [
        rc.Agent(f"party-{party}", Arrays({name: column[party::PARTIES] for name, column in columns.items()}), learner,
                 val_fraction=0.0)
        for party in range(PARTIES)
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        result = rc.fit(
            agents,
            rc.Mean(),
            task=TASK,
            test=Arrays({name: column[:8] for name, column in columns.items()}),
            run=rc.RunConfig(num_rounds=rounds, eval_every=rounds, seed=seed, dir=folder),
            scaling=rc.ScalingConfig(pool="local"),
            checkpoint=rc.CheckpointConfig(every=10**6),
        )
        told = [row["epsilon"] for row in result.agents if row.get("epsilon") is not None]
        return result.model(TASK).module.eval(), max(told, default=float("inf"))


def _confidence(model: nn.Module, pool: Mapping[str, Tensor]) -> np.ndarray:
    """log(p / (1 - p)) of the right label [n], which is nearly normal over models."""
    with torch.no_grad():
        logits = model(pool["image"]).double()
    right = functional.cross_entropy(logits, pool["label"].long(), reduction="none").neg()  # log p
    wrong = torch.log(-torch.expm1(right.clamp(max=-1e-12)))
    return (right - wrong).numpy()


def _accuracy(model: nn.Module, columns: Mapping[str, Tensor]) -> float:
    with torch.no_grad():
        return float((model(columns["image"]).argmax(1) == columns["label"]).float().mean())


def _lira(scores: np.ndarray, member: np.ndarray, target: int) -> np.ndarray:
    """Log likelihood ratio of the target's scores [n], given those of the other models.

    Means are by image, of models that saw it and of those that did not; the standard deviation is one for all, as there
    are few models.
    """
    others = np.arange(len(scores)) != target
    known, seen = scores[others], member[others]  # [m - 1, n]
    inside, outside = _means(known, seen), _means(known, ~seen)
    variance = float(np.square(known - np.where(seen, inside, outside)).mean())
    own = scores[target]
    return (np.square(own - outside) - np.square(own - inside)) / (2 * variance)


def _means(scores: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Mean over these models by image [n]; over all images where there is none."""
    count = of.sum(0)
    return np.where(count > 0, (scores * of).sum(0) / np.maximum(count, 1), scores[of].mean())
