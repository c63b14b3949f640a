"""The rounds: select, broadcast, collect, aggregate, evaluate, commit."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from raycollab.agent import Offer
from raycollab.checkpoint import RunFolder, copy_state
from raycollab.errors import QuorumError, RunFolderError, UpdateError
from raycollab.experiment import Plan
from raycollab.journal import journal_row
from raycollab.metrics import Statistics
from raycollab.report import first, start_error
from raycollab.runtime.host import build_model, fixed_threads
from raycollab.runtime.pool import Collected, Pool
from raycollab.selection import Candidate
from raycollab.shared_set import SharedSet
from raycollab.spec import BUFFERS, DELTA, PARAMS
from raycollab.stopping import Stopping
from raycollab.types import AgentCard, Assignment, Failure, Round, RoundReport, Update

Vectors = dict[str, Tensor]


class Driver:
    """Runs the rounds of one experiment.

    Args:
        plan: The experiment, without the parties' data.
        pool: The hosts that run the agents.
        folder: Where the run is kept.
        device: Where the shared set is evaluated.
    """

    def __init__(self, plan: Plan, pool: Pool, folder: RunFolder, device: str = "cpu"):
        self.plan = plan
        self.folder = folder
        self._pool = pool
        self._model = build_model(plan.task, plan.exchange, plan.run.seed, device)
        params, buffers = self._model.read().cpu(), self._model.read_buffers().cpu()
        start = {PARAMS: params, BUFFERS: buffers, **{name: torch.zeros_like(params) for name in plan.needs}}
        self._versions: dict[int, Vectors] = {0: start}
        self._chain = plan.chain.bind(self._model.spec)
        self._chain_state = self._chain.init(params)
        self._mode_state = plan.mode.init()
        self._memory: dict[str, int] = {}  # agents that keep private state, and the committed round it is of
        self._names = list(plan.names)
        self._candidates: dict[str, Candidate] = {}
        self._stopping = Stopping(plan.run, plan.task.primary)
        self.version = 0
        self._durable = 0  # the round of the newest checkpoint
        self.stop_reason = ""
        self.statistics = Statistics.empty()  # of the newest evaluation on the shared set
        self.offer = Offer(plan.task.fingerprint(self._model.spec), self._model.spec)

    @property
    def vectors(self) -> Vectors:
        """The newest committed vectors."""
        return self._versions[self.version]

    @property
    def private(self) -> tuple[str, ...]:
        """Names of the parameters and buffers that stay with each agent."""
        return tuple(self._model.private())

    def module(self) -> torch.nn.Module:
        """The model with the newest committed vectors."""
        self._model.load_private(None)
        self._model.load(self.vectors[PARAMS], self.vectors[BUFFERS])
        return self._model.module

    def start(self) -> list[AgentCard]:
        """Open the shared set, let all parties agree to the task and open their shards; restore the newest checkpoint.

        Raises: DataError, TaskMismatchError or ResourceError with every agent that failed, unless on_agent_failure is
            "skip".
        """
        plan = self.plan
        self.shared_set = SharedSet(plan.test, plan.task, self._model.device)
        self.shared_set.check_metrics(plan.run.target, self.module())
        outcomes = self._pool.open(self.offer)
        failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
        cards = [outcome for outcome in outcomes if isinstance(outcome, AgentCard)]
        if failures and (
            self.plan.failure.on_agent_failure != "skip" or len(cards) < self.plan.failure.quorum(len(outcomes))
        ):
            raise start_error(failures, len(outcomes))
        self._candidates = {card.agent: Candidate(card.agent, card.examples) for card in cards}
        self._names = [name for name in self.plan.names if name in self._candidates]
        self._restore()
        return cards

    def rounds(self) -> Iterator[RoundReport]:
        """Run rounds until the target, convergence or num_rounds; each is committed when it is yielded."""
        while not self.stop_reason:
            yield self.step()

    def step(self) -> RoundReport:
        """Run and commit one round."""
        with fixed_threads(self.plan.threads):
            return self._step()

    def _step(self) -> RoundReport:
        started = time.perf_counter()
        index = self.version + 1
        collected, attempts, mode_state = self._collect(index)
        aggregate, chain_state = self._aggregate(index, collected)
        vectors = self._applied(aggregate)
        self._commit(vectors, chain_state, mode_state, collected)
        report = RoundReport(
            index=index,
            metrics={},
            train_loss=collected.train_loss,
            seconds=0.0,
            bytes_up=collected.bytes_up,
            bytes_down=collected.bytes_down,
            agents=collected.reports,
            failures=collected.failures,
            attempts=attempts,
        )
        if index % self.plan.run.eval_every == 0 or index >= self.plan.run.num_rounds:
            report = self._evaluated(report)
        report = replace(report, stop_reason=self.stop_reason, seconds=time.perf_counter() - started)
        return self._keep(report)

    def _collect(self, index: int) -> tuple[Collected, int, Any]:
        """Run the agents of a round, again if too few answer or the aggregator cannot merge what they sent.

        Each attempt goes on from where the mode is: modes that take some of the selected agents take others then.

        Raises: QuorumError after max_attempts, or at the first failure if on_agent_failure is "stop".
        """
        policy, run = self.plan.failure, self.plan.run
        count = min(run.agents_per_round or len(self._names), len(self._names))
        candidates = [self._candidates[name] for name in self._names]
        selected = self.plan.select.select(candidates, count, round=index, seed=run.seed)
        rule, mode_state = self._chain.aggregator, self._mode_state
        failures: tuple[Failure, ...] = ()
        for attempt in range(policy.max_attempts):
            assignments, mode_state = self.plan.mode.assign(selected, mode_state, version=self.version, seed=run.seed)
            needed, who = max(
                (policy.quorum(len(assignments)), f"min_agents={policy.min_agents:g}"),
                (rule.min_updates, type(rule).__name__),
                key=lambda need: need[0],
            )
            collected = self._run(index, attempt, assignments)
            failures += collected.failures
            if collected.failures and policy.on_agent_failure == "stop":
                why = first(collected.failures)
                raise QuorumError(f"round {index}: {why}; the run ends because on_agent_failure='stop'")
            lack = f"{who} needs {needed}" if len(collected.reports) < needed else self._unfit(collected)
            if not lack:
                answered = {report.agent for report in collected.reports}
                lost = {failure.agent: failure for failure in failures if failure.agent not in answered}
                return replace(collected, failures=tuple(lost.values())), attempt + 1, mode_state
        raise QuorumError(
            f"round {index}: {len(collected.reports)} of {len(assignments)} agents answered in the last of "
            f"{policy.max_attempts} attempts, {lack}; first failure: {first(failures)}"
        )

    def _unfit(self, collected: Collected) -> str:
        """Why the aggregator cannot merge what arrived; empty if it can."""
        try:
            if collected.total is not None:
                self._chain.aggregator.check(collected.total)
        except UpdateError as error:
            return str(error)
        return ""

    def _run(self, index: int, attempt: int, assignments: list[Assignment]) -> Collected:
        """Run assignments, those of each version together, oldest version first."""
        collected = Collected(None, (), (), 0, 0)
        scalars = {"participation": len(assignments) / len(self._names), **self._chain.tells(self._chain_state)}
        for version in sorted({assignment.version for assignment in assignments}):
            group = [replace(a, last_round=self._memory.get(a.agent, 0)) for a in assignments if a.version == version]
            round = Round(
                index=index,
                seed=self.plan.run.seed,
                base_version=version,
                vectors=self._versions[version],
                scalars=scalars,
                fingerprint=self.offer.fingerprint.digest(),
                attempt=attempt,
                agents=tuple(assignment.agent for assignment in group),
            )
            collected = collected.plus(self._pool.run(round, group))
        return collected

    def _aggregate(self, index: int, collected: Collected) -> tuple[Update, Any]:
        if collected.total is None:
            raise QuorumError(f"round {index}: no update arrived; {first(collected.failures)}")
        seed = Round(index, self.plan.run.seed, self.version, {}).seed_for("chain")
        return self._chain.update(collected.total, self._chain_state, self.vectors[PARAMS], seed=seed)

    def _applied(self, aggregate: Update) -> Vectors:
        """The next vectors: each plus what the aggregate brings for it, in new memory, checked."""
        brought = {PARAMS if name == DELTA else name: vector for name, vector in aggregate.vectors.items()}
        vectors = {name: vector + brought[name] if name in brought else vector for name, vector in self.vectors.items()}
        for name, vector in vectors.items():
            if not torch.isfinite(vector).all():
                where = f"round {self.version + 1}: the merged {name!r}"
                raise UpdateError(f"{where} is not finite; the round is not committed")
        return vectors

    def _commit(self, vectors: Vectors, chain_state: Any, mode_state: Any, collected: Collected) -> None:
        self.version += 1
        self._versions[self.version] = vectors
        for version in [v for v in self._versions if v <= self.version - self.plan.mode.horizon]:
            del self._versions[version]
        self._chain_state, self._mode_state = chain_state, mode_state
        self._memory.update({report.agent: self.version for report in collected.reports if report.remembers})
        self._know({report.agent: report.loss for report in collected.reports})

    def _know(self, losses: Mapping[str, float]) -> None:
        """Note the newest losses for the selection of later rounds."""
        self._candidates |= {name: replace(self._candidates[name], loss=loss) for name, loss in losses.items()}

    def _evaluated(self, report: RoundReport) -> RoundReport:
        """Score the committed model on the shared set and on its agents' own data; decide whether to stop."""
        self.statistics = self.shared_set.score(self.module())
        metrics = self.statistics.compute()
        names = {agent.agent: self._memory.get(agent.agent, 0) for agent in report.agents}
        fingerprint = self.offer.fingerprint.digest()
        newest = Round(self.version, self.plan.run.seed, self.version, self.vectors, fingerprint=fingerprint)
        outcomes = self._pool.validate(newest, names)
        own = {name: outcome.compute() for name, outcome in outcomes.items() if isinstance(outcome, Statistics)}
        failed = [
            f"{name}: not scored on its own data: {outcome.message}"
            for name, outcome in outcomes.items()
            if isinstance(outcome, Failure)
        ]
        self._stopping.observe(metrics)
        self.stop_reason = self._stopping.reason(self.version, metrics)
        notes = (*report.notes, *failed)
        return replace(report, metrics=metrics, own_metrics=own, statistics=self.statistics, notes=notes)

    def _keep(self, report: RoundReport) -> RoundReport:
        """Journal the round; make it durable if it is due or the last."""
        self.folder.append(journal_row(report))
        if self.version % self.plan.checkpoint.every and not self.stop_reason:
            return report
        return replace(report, notes=(*report.notes, *self._checkpoint()))

    def _checkpoint(self) -> list[str]:
        """Make the state durable; an agent that cannot store its own keeps what the last checkpoint has of it."""
        storage = self.folder.begin_checkpoint(self.version)
        failures = self._pool.save(storage, self._memory)
        for failure in failures if self._durable else ():
            copy_state(self.folder.agents_of(self._durable), storage, failure.agent)
        self.folder.commit_checkpoint(self.version, self.state_dict(), keep=self.plan.checkpoint.keep)
        self._durable = self.version
        self._pool.saved_at(self.folder.agents_of(self.version))
        here = [failure for failure in failures if failure.agent in self._candidates]
        return [f"{f.agent}: its state of this round is not in the checkpoint: {f.message}" for f in here]

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next round depends on, as a tree."""
        return {
            "version": self.version,
            "vectors": {str(version): vectors for version, vectors in self._versions.items()},
            "chain": self._chain_state,
            "mode": self._mode_state,
            "memory": self._memory,
            "losses": {name: candidate.loss for name, candidate in self._candidates.items()},
            "stopping": self._stopping.state_dict(),
            "statistics": self.statistics.to_plain(),
            "spec": self.offer.spec.digest(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state.

        Raises: RunFolderError if it is of another model.
        """
        if state["spec"] != self.offer.spec.digest():
            raise RunFolderError(
                f"{self.folder.path}: the checkpoint is of a model with other parameters; "
                f"resume with the experiment that wrote it"
            )
        self.version = state["version"]
        self._versions = {int(version): vectors for version, vectors in state["vectors"].items()}
        self._chain_state, self._mode_state, self._memory = state["chain"], state["mode"], dict(state["memory"])
        self._know({name: loss for name, loss in state["losses"].items() if name in self._candidates})
        self._stopping.load_state_dict(state["stopping"])
        self.statistics = Statistics.from_plain(state["statistics"])
        # decided anew: the target, the patience and num_rounds may be others now
        self.stop_reason = self._stopping.reason(self.version, self.statistics.compute())

    def _restore(self) -> None:
        found = self.folder.latest_checkpoint()
        if found is None:
            self.folder.truncate(0)
            return
        index, state = found
        self.load_state_dict(state)
        self._pool.restore(self.folder.agents_of(index), self._names)
        self._pool.saved_at(self.folder.agents_of(index))
        self._durable = index
        self.folder.truncate(index)
