"""pfl-research: its simulated backend in one or more processes, which torchrun starts and all-reduce joins.

Local training is pfl's own loop over a module's `loss`; users' data is in memory, on the GPU if there is one, and
batches are taken in order, as pfl does it. Where a workload is scored on the way, pfl's own callback does so on the
shared set: before the first round, and then as often as other systems.
"""

import os
import time

import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByDatapoints
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.callback.central_evaluation import CentralEvaluationCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam.base import NNEvalHyperParams, NNTrainHyperParams
from pfl.internal.ops import pytorch_ops
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.workloads import Outcome, Workload, accuracy, examples, held_out, parse_task


def main() -> None:
    arguments, workload = parse_task()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = Scored(workload.build())
    model = PyTorchModel(module, torch.optim.SGD, torch.optim.SGD(module.parameters(), lr=1.0))
    watch = Watch()
    algorithm = NNAlgorithmParams(
        central_num_iterations=workload.rounds,
        evaluation_frequency=workload.rounds + 1,
        train_cohort_size=workload.agents_per_round,
        val_cohort_size=0,
    )
    training = NNTrainHyperParams(
        local_num_epochs=1, local_learning_rate=workload.lr, local_batch_size=workload.batch_size
    )
    evaluation = NNEvalHyperParams(local_batch_size=None)
    callbacks = [*scoring(workload, evaluation), watch]  # a round has ended once it is scored
    FederatedAveraging().run(algorithm, backend_of(workload), model, training, evaluation, callbacks=callbacks)
    processes = pytorch_ops.distributed.world_size
    if pytorch_ops.distributed.global_rank == 0:
        moved = 2 * 4 * workload.num_params * (processes - 1) * workload.rounds  # sums there and back
        Outcome(watch.ended, accuracy(workload, module.net), moved).write(arguments.folder, "pfl", "torch", "numpy")
    if processes > 1:
        torch.distributed.destroy_process_group()
    os._exit(0)  # gloo's threads make the interpreter abort at times while it shuts down; nothing is left to do


class Scored(nn.Module):
    """A net with the loss and the metrics that pfl asks of a module."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def loss(self, features: Tensor, label: Tensor) -> Tensor:
        """Mean cross-entropy."""
        self.train()
        return functional.cross_entropy(self.net(features), label)

    @torch.no_grad()
    def metrics(self, features: Tensor, label: Tensor, shared: bool = False) -> dict:
        """Loss and accuracy on the shared set; of users' own data none."""
        if not shared:
            return {}
        self.eval()
        outputs = self.net(features)
        loss = functional.cross_entropy(outputs, label, reduction="sum").item()
        right = (outputs.argmax(1) == label).sum().item()
        return {"loss": Weighted(loss, len(label)), "accuracy": Weighted(right, len(label))}


class Watch(TrainingProcessCallback):
    """Notes when each round has ended."""

    def __init__(self) -> None:
        self.ended: list[float] = []

    def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):
        """A round has ended."""
        del aggregate_metrics, model, central_iteration
        self.ended.append(time.time())
        return False, Metrics()


def scoring(workload: Workload, evaluation: NNEvalHyperParams) -> list[TrainingProcessCallback]:
    """What scores the shared set on the way, if anything is to."""
    if workload.eval_every is None:
        return []
    shared = Dataset(on_device(held_out(workload)), eval_kwargs={"shared": True})
    return [CentralEvaluationCallback(shared, evaluation, frequency=workload.eval_every)]


def on_device(columns: dict[str, Tensor]) -> list[Tensor]:
    """Features and labels where pfl computes: sent there once, and not batch by batch in every round."""
    return [pytorch_ops.to_tensor(columns[name]) for name in ("features", "label")]


def backend_of(workload: Workload) -> SimulatedBackend:
    """All users' data in memory, sampled as pfl recommends."""
    users = {agent: Dataset(on_device(examples(workload, agent)), user_id=agent) for agent in range(workload.agents)}
    sampler = get_user_sampler("minimize_reuse", list(users))
    dataset = FederatedDataset(users.__getitem__, sampler)
    return SimulatedBackend(training_data=dataset, val_data=dataset, postprocessors=[WeightByDatapoints()])


if __name__ == "__main__":
    main()
