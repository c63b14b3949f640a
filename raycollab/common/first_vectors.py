"""The vectors that the first round brings."""

import torch

from raycollab.evaluation import Vectors
from raycollab.experiment import Plan
from raycollab.params import FlatModel
from raycollab.rng import derive_seed
from raycollab.runtime.session import build_model
from raycollab.spec import BUFFERS, PARAMS


def first_vectors(plan: Plan, model: FlatModel) -> Vectors:
    """Those of the initial model, and what learners need beside them.

    Args:
        plan: What they need.
        model: The initial model.
    Returns: Zeros under the names that are needed, and the parameters of another initial model under each further one.
    """
    params = model.read().cpu()
    vectors = {PARAMS: params, BUFFERS: model.read_buffers().cpu()}
    vectors |= {name: torch.zeros_like(params) for name in plan.needs}
    for name in plan.models:
        other = build_model(plan.task, plan.exchange, derive_seed(plan.run.seed, name), start=plan.run.start)
        vectors[name] = other.read()
    return vectors
