"""Parties on a line of quadratics: with one full step of SGD each delta is known by hand."""

import torch

import raycollab as rc

from ..contracts.support import full_batch, gradient, quadratics, train

LR = 0.1
LEARNER = rc.SGD(**full_batch(LR, 1))


def one_round(attack, *chain, sizes=(3, 3, 3), learner=LEARNER):
    """One round of quadratics under an attack, and what each agent's delta would have been by hand."""
    experiment, columns = quadratics(sizes, learner, *(chain or (rc.Mean("uniform"),)), rounds=1, attack=attack)
    deltas = torch.stack([-LR * gradient(held, torch.zeros(4)) for held in columns])
    return train(experiment), deltas


def rows(*values):
    """Vectors of one or more elements as the rows of honest agents."""
    return rc.Rows(tuple(torch.tensor(value, dtype=torch.float32) for value in values))
