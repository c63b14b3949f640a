"""Gradient inversion: images worked out of one update, of a party alone and of a sum, with and without noise.

The attacker knows the model before the round, the learning rate and the labels, as the literature grants it, and looks
for images whose gradient points the same way as the update.

Source: Geiping et al., NeurIPS 2020, arXiv 2003.14053, equation 4 (cosine distance, total variation, Adam on signs).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional

import raycollab as rc
from raycollab.data import Shard
from raycollab.determinism import seeded
from raycollab.params import Exchange, FlatModel
from raycollab.rng import numpy_generator
from raycollab.task import Problem

TEST = rc.data.Parquet("mnist_test10k.parquet", shapes={"image": (1, 28, 28)})  # pixels in 0..1
LR = 0.1
_C1, _C2 = 0.01**2, 0.03**2  # constants of SSIM for values in 0..1


@dataclass(frozen=True)
class SmoothNet(rc.models.Model):
    """Two convolutions with sigmoids, as the first papers attacked; 11,000 parameters or so."""

    def build(self) -> nn.Module:
        """Make the module."""
        return nn.Sequential(
            *(nn.Conv2d(1, 12, 5, stride=2, padding=2), nn.Sigmoid()),
            *(nn.Conv2d(12, 12, 5, stride=2, padding=2), nn.Sigmoid()),
            *(nn.Flatten(), nn.Linear(12 * 7 * 7, 10)),
        )


TASK = rc.ImageClassification(SmoothNet(), num_classes=10)


@dataclass(frozen=True)
class Case:
    """What the attacker gets to see.

    Args:
        batch_size: Images of a party's one step.
        parties: Whose updates are added up before anybody sees them.
        noise: Of DPSGD, over a clipping norm of 1; 0 is plain SGD.
    """

    batch_size: int
    parties: int = 1
    noise: float = 0.0


CASES = {
    "one image": Case(1),
    "4 images": Case(4),
    "16 images": Case(16),
    "secure sum of 4 parties, one image each": Case(1, parties=4),
    "secure sum of 16 parties, one image each": Case(1, parties=16),
    "one image, DP-SGD with noise 0.01": Case(1, noise=0.01),
    "one image, DP-SGD with noise 0.1": Case(1, noise=0.1),
    "one image, DP-SGD with noise 1.3": Case(1, noise=1.3),
}


def attack(case: Case, seed: int, *, trials: int, steps: int) -> dict[str, float]:
    """Means over trials of how near the attacker comes: PSNR in dB, SSIM, and the share of images recognised."""
    scores = [_scores(*_attacked(case, seed, trial, steps)) for trial in range(trials)]
    names = ("PSNR, dB", "SSIM", "recognised")
    return dict(zip(names, np.mean(scores, axis=0).tolist(), strict=True))


def _attacked(case: Case, seed: int, trial: int, steps: int) -> tuple[Tensor, Tensor]:
    """The images, and what the attacker makes of the update [b, 1, 28, 28]."""
    count = case.batch_size * case.parties
    rows = numpy_generator(seed, "images", trial).choice(10_000, count, replace=False)
    columns = {name: column for name, column in TEST.open(rows).columns.items() if name in ("image", "label")}
    with seeded(seed * 1000 + trial):
        model = FlatModel(TASK.model(), Exchange())
        for flat in model.flats:
            flat.uniform_(-0.5, 0.5)  # as the first papers did, so that sigmoids let something through
        params = model.read()
        update = torch.stack([_update(case, model, params, part) for part in _parts(columns, case)]).sum(0)
        model.load(params)
        found = _inverted(model, update / -LR, columns["label"], steps)
    return columns["image"], found


def _parts(columns: dict[str, Tensor], case: Case) -> Iterator[dict[str, Tensor]]:
    for party in range(case.parties):
        rows = slice(party * case.batch_size, (party + 1) * case.batch_size)
        yield {name: column[rows] for name, column in columns.items()}


def _update(case: Case, model: FlatModel, params: Tensor, columns: dict[str, Tensor]) -> Tensor:
    """What a party sends after one step."""
    size = case.batch_size
    learner: rc.Learner = rc.SGD(lr=LR, steps=1, batch_size=size)
    if case.noise:
        budget = rc.PrivacyBudget(delta=0.1 / size)
        learner = rc.DPSGD(noise=case.noise, max_grad_norm=1.0, lr=LR, steps=1, batch_size=size, budget=budget)
    problem = Problem("party", TASK, model, Shard(columns, val_fraction=0.0, seed=0), lambda: False)
    round = rc.Round(1, 0, 0, {"params": params})
    return learner.update(problem, params, learner.init(params), round)[0].vectors["delta"]


def _inverted(model: FlatModel, target: Tensor, labels: Tensor, steps: int) -> Tensor:
    """Images whose gradient points as the target does, beginning from noise."""
    parameters = list(model.module.parameters())
    guess = torch.rand(len(labels), 1, 28, 28, requires_grad=True)
    optimizer = torch.optim.Adam([guess], lr=0.1)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [steps * 3 // 8, steps * 5 // 8, steps * 7 // 8], 0.1)
    for _ in range(steps):
        loss = functional.cross_entropy(model.module(guess), labels.long())
        grads = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, create_graph=True)])
        rough = (guess[..., 1:, :] - guess[..., :-1, :]).abs().mean() + (guess[..., 1:] - guess[..., :-1]).abs().mean()
        distance = 1 - functional.cosine_similarity(grads, target, dim=0) + 1e-3 * rough
        guess.grad = torch.autograd.grad(distance, guess)[0].sign()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            guess.clamp_(0, 1)
    return guess.detach()


def _scores(images: Tensor, found: Tensor) -> tuple[float, float, float]:
    """PSNR, SSIM, and the share of images that are the likeliest among 1,000 for what was found of them.

    Images of a batch are matched such that the squared errors are least.
    """
    errors = (images[:, None] - found[None]).square().flatten(2).mean(2)  # [b, b]
    ones, others = linear_sum_assignment(errors.numpy())
    matched = found[others]
    psnr = float((-10 * torch.log10(errors[ones, others].clamp(min=1e-10))).mean())
    crowd = torch.cat([images, TEST.open(np.arange(1000)).columns["image"]])
    nearest = torch.cdist(matched.flatten(1), crowd.flatten(1)).argmin(1)
    same = (crowd[nearest] == images[ones]).flatten(1).all(1).float().mean()
    return psnr, float(_ssim(images[ones], matched).mean()), float(same)


def _ssim(ones: Tensor, others: Tensor) -> Tensor:
    """Structural similarity of [b, 1, h, w], by windows of 7 x 7 [b]. Source: Wang et al., 2004, equation 13."""

    def mean(values: Tensor) -> Tensor:
        return functional.avg_pool2d(values, 7, stride=1)

    a, b = mean(ones), mean(others)
    variances = mean(ones.square()) - a.square(), mean(others.square()) - b.square()
    covariance = mean(ones * others) - a * b
    top = (2 * a * b + _C1) * (2 * covariance + _C2)
    return (top / ((a.square() + b.square() + _C1) * (sum(variances) + _C2))).mean((1, 2, 3))


def measure(seed: int, *, tiny: bool) -> dict[str, dict[str, float]]:
    """Every case's figures."""
    trials, steps = (1, 3) if tiny else (4, 600)
    cases = {name: case for name, case in CASES.items() if not tiny or case.batch_size * case.parties <= 4}
    return {name: attack(case, seed, trials=trials, steps=steps) for name, case in cases.items()}
