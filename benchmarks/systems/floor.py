"""The floor: rounds in plain PyTorch without any framework, in forked processes of one thread each."""

import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier

import torch
from torch import Tensor

from benchmarks.systems.fused_steps import FusedSteps
from benchmarks.systems.steps import Columns, PlainSteps, Steps
from benchmarks.workloads import Outcome, Workload, accuracy, examples, parse_task
from benchmarks.workloads.outcome import parser

_LATE_S = 600.0  # a process that is not there by then has died


def main() -> None:
    made = parser()
    made.add_argument("--fused", action="store_true", help="the local step that is fused by hand")
    arguments, workload = parse_task(made)
    torch.set_num_threads(1)
    Floor(workload, FusedSteps if arguments.fused else PlainSteps, arguments.processes).run(arguments.folder)


class Floor:
    """Rounds of a workload; this process takes part as the first of them.

    Args:
        workload: What is run.
        steps: How a process trains its agents; made in each of them.
        processes: How many.

    Attributes:
        params: The newest parameters [d], in memory that all processes share.
    """

    def __init__(self, workload: Workload, steps: type[Steps], processes: int):
        self._workload = workload
        self._steps = steps
        self._processes = processes
        size = workload.num_params
        self.params = torch.empty(size).share_memory_()
        self._sums = [torch.empty(size).share_memory_() for _ in range(processes)]

    def run(self, folder: str) -> None:
        """Run all rounds, and write what came of them."""
        context = multiprocessing.get_context("fork")
        data = [examples(self._workload, agent) for agent in range(self._workload.agents)]
        barrier = context.Barrier(self._processes)
        others = [context.Process(target=self._work, args=(i, data, barrier)) for i in range(1, self._processes)]
        for other in others:
            other.start()
        steps, ended = self._work(0, data, barrier)
        for other in others:
            other.join()
        vectors = 2 * (self._processes - 1) * self._workload.rounds  # the others read the parameters, and bring sums
        moved = vectors * self.params.nbytes
        Outcome(ended, accuracy(self._workload, steps.module(self.params)), moved).write(folder, "torch", "numpy")

    def _work(self, rank: int, data: Sequence[Columns], barrier: Barrier) -> tuple[Steps, list[float]]:
        """One process: its share of the agents of each round, then its share of the elements of the mean."""
        torch.manual_seed(rank)
        steps = self._steps(self._workload)
        first = steps.first()
        if rank == 0:
            self.params.copy_(first)
        del first
        mine = slice(*(len(self.params) * place // self._processes for place in (rank, rank + 1)))
        barrier.wait(_LATE_S)
        ended = []
        for index in range(self._workload.rounds):
            steps.train(
                self.params, [data[agent] for agent in self._sampled(index)[rank :: self._processes]], self._sums[rank]
            )
            barrier.wait(_LATE_S)
            self._average(mine)
            barrier.wait(_LATE_S)
            ended.append(time.time())
        return steps, ended

    def _sampled(self, index: int) -> list[int]:
        """Who takes part in a round."""
        generator = torch.Generator().manual_seed(index)
        return torch.randperm(self._workload.agents, generator=generator)[: self._workload.agents_per_round].tolist()

    def _average(self, place: slice) -> None:
        """Some elements of the mean, from all sums."""
        weight = float(self._workload.agents_per_round * self._workload.examples)
        params: Tensor = self.params[place]
        torch.mul(self._sums[0][place], 1.0 / weight, out=params)
        for total in self._sums[1:]:
            params.add_(total[place], alpha=1.0 / weight)


if __name__ == "__main__":
    main()
