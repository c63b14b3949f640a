"""Flower's simulation runtime: one actor a process, FedAvg, and clients that keep data and module in memory.

A client's work is what Flower's own PyTorch tutorial does: load the arrays, torch.optim.SGD, send all of them back. The
server evaluates once, after the last round.
"""

import time
from functools import cache

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from torch import nn
from torch.nn import functional

from benchmarks.workloads import Outcome, Workload, accuracy, examples, parse_task

held = cache(examples)


def main() -> None:
    arguments, workload = parse_task()
    torch.set_num_threads(1)
    run_simulation(
        server_app(workload, arguments.folder),
        client_app(workload),
        num_supernodes=workload.agents,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"num_cpus": arguments.processes},
        },
    )


def client_app(workload: Workload) -> ClientApp:
    """What every client runs."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        from benchmarks.peers import flower_app  # in the actor this function is a copy, and so would its caches be

        columns = flower_app.held(workload, context.node_config["partition-id"])
        module = flower_app.module_of(workload)
        module.load_state_dict(message.content["arrays"].to_torch_state_dict())
        flower_app.learn(workload, module, columns)
        metrics = MetricRecord({"num-examples": len(columns["label"])})
        content = RecordDict({"arrays": ArrayRecord(module.state_dict()), "metrics": metrics})
        return Message(content=content, reply_to=message)

    return app


@cache
def module_of(workload: Workload) -> nn.Module:
    """This process's module."""
    torch.set_num_threads(1)
    return workload.build()


def learn(workload: Workload, module: nn.Module, columns: dict[str, torch.Tensor]) -> None:
    """One pass of SGD."""
    optimizer = torch.optim.SGD(module.parameters(), lr=workload.lr)
    for rows in torch.randperm(len(columns["label"])).split(workload.batch_size):
        optimizer.zero_grad()
        functional.cross_entropy(module(columns["features"][rows]), columns["label"][rows]).backward()
        optimizer.step()


def server_app(workload: Workload, folder: str) -> ServerApp:
    """The server: FedAvg over all rounds."""
    app = ServerApp()

    @app.main()
    def serve(grid: Grid, context: Context) -> None:
        del context
        strategy = Counting(
            fraction_train=workload.agents_per_round / workload.agents,
            fraction_evaluate=0.0,
            min_train_nodes=workload.agents_per_round,
            min_available_nodes=workload.agents,
        )
        module = workload.build()
        result = strategy.start(grid, ArrayRecord(module.state_dict()), num_rounds=workload.rounds)
        module.load_state_dict(result.arrays.to_torch_state_dict())
        moved = 2 * 4 * workload.num_params * sum(strategy.replies)  # all parameters to each client, and back
        Outcome(strategy.ended, accuracy(workload, module), moved).write(folder, "flwr", "ray", "torch", "numpy")

    return app


class Counting(FedAvg):
    """FedAvg that notes when each round has ended, and how many clients answered."""

    def __init__(self, **settings) -> None:
        super().__init__(**settings)
        self.ended: list[float] = []
        self.replies: list[int] = []

    def aggregate_train(self, server_round, replies):
        """Refuse a round in which somebody failed: it would have been less work."""
        replies = list(replies)
        failed = [reply for reply in replies if reply.has_error()]
        if failed:
            raise RuntimeError(
                f"round {server_round}: {len(failed)} clients failed; the first: {failed[0].error.reason}"
            )
        aggregated = super().aggregate_train(server_round, replies)
        self.replies.append(len(replies))
        self.ended.append(time.time())
        return aggregated


if __name__ == "__main__":
    main()
