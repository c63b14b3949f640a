"""The rounds: select, broadcast, collect, aggregate, evaluate, commit."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from raycollab.agent import Agent
from raycollab.beginning import take_over
from raycollab.bookkeeping import Bookkeeping
from raycollab.checkpoint import RunFolder
from raycollab.collecting import Collecting, Gathered
from raycollab.common import CommonModel, Growing
from raycollab.determinism import fixed_threads
from raycollab.durability import Durability
from raycollab.errors import Interrupted, QuorumError, RunFolderError
from raycollab.evaluation import Vectors, merged, own_scores, unshared
from raycollab.experiment import Plan
from raycollab.guard import Guard
from raycollab.interruption import Interruption
from raycollab.membership import Membership
from raycollab.metrics import Statistics
from raycollab.offer import Offer
from raycollab.report import first, round_notes
from raycollab.roster import Roster
from raycollab.runtime.pool import Collected, Pool
from raycollab.shared_set import SharedSet
from raycollab.spec import PARAMS
from raycollab.stopping import Stopping
from raycollab.types import AgentCard, Assignment, Failure, Round, RoundReport, Update
from raycollab.validation import Validation, told, weighed


class Driver:
    """Runs the rounds of one experiment.

    Args:
        plan: The experiment, without the parties' data.
        pool: The hosts that run the agents.
        folder: Where the run is kept.
        device: Where the shared set is evaluated.
        interruption: How others ask it to stop.
    """

    def __init__(
        self, plan: Plan, pool: Pool, folder: RunFolder, device: str = "cpu", interruption: Interruption | None = None
    ):
        self.plan = plan
        self.folder = folder
        self._pool = pool
        common = CommonModel(plan, device)
        self.growing = Growing(plan.growth, plan.task.primary, common)
        self._versions: dict[int, Vectors] = {0: common.first()}
        self._chain = plan.chain.bind(common.spec)
        self._chain_state = self._chain.init(self._versions[0][PARAMS])
        self._mode_state = plan.mode.init()
        self.roster = Roster(plan.names, plan.failure, Guard(plan.run, plan.task.primary))
        self.interruption = interruption or Interruption()
        self.books = Bookkeeping(folder, plan.ledger, plan.keys)
        self._collecting = Collecting(plan, pool, self._chain.aggregator, self.interruption, self.books.run)
        self._durability = Durability(folder, plan.checkpoint, pool, self.books.witness)
        self._validation: Validation | None = None  # what the rule judges merges by, if it does
        self._stopping = Stopping(plan.run, plan.task.primary)
        self.version = 0
        self.stop_reason = ""
        self._notes: list[str] = []  # on what happened between rounds
        self.statistics = Statistics.empty()  # of the newest evaluation on the shared set
        offered = plan.task.fingerprint(common.spec), common.spec
        self.offer = Offer(*offered, self.books.run, plan.checkpoint.updates)
        self._membership = Membership(plan, pool, self.roster, self._chain.aggregator, self.offer)

    @property
    def vectors(self) -> Vectors:
        """The newest committed vectors."""
        return self._versions[self.version]

    @property
    def durable(self) -> int | None:
        """The round of the newest checkpoint."""
        return self._durability.round

    def module(self) -> torch.nn.Module:
        """The model with the newest committed vectors."""
        return self.growing.module(self.vectors)

    def start(self) -> list[AgentCard]:
        """Open the shared set, let all parties agree to the task and open their shards; restore the newest checkpoint.

        Raises: DataError, TaskMismatchError or ResourceError with every agent that failed, unless on_agent_failure is
            "skip".
        """
        plan = self.plan
        self.shared_set = SharedSet(plan.test, plan.task, self.growing.model.device)
        self.shared_set.check_metrics(plan.run.target, self.module(), self.growing.task)
        if (source := self._chain.aggregator.validates_on()) is not None:
            hosts = self._pool.judge if self._chain.aggregator.validates_on_hosts() else None
            self._validation = Validation(source, plan.task, self.growing.model, self.shared_set, plan.run.seed, hosts)
        self._pool.notary = self.books.notary(self.offer.fingerprint.digest())
        cards = self.roster.admit(self._pool.open(self.offer))
        cards += self._restore(cards)
        if not self.version:
            model, start = self.growing.model, plan.run.start
            self._notes += [] if start is None else [take_over(model.module, start)]
            self._notes += [*self.shared_set.notes, *(self._validation.notes if self._validation else [])]
            self._notes += unshared(model.private_params, plan.run, plan.models)
        return cards

    def rounds(self) -> Iterator[RoundReport]:
        """Run rounds until one ends the run or it is to be interrupted; each is committed when it is yielded.

        Checkpoints are written meanwhile; that of the round that ends the run is there then.
        """
        try:
            while not (self.stop_reason or self.interruption.asked):
                yield self._round()
        except Interrupted:
            return

    def step(self) -> RoundReport:
        """Run and commit one round; its checkpoint, if it is due, is there when this returns."""
        report = self._round()
        return replace(report, notes=(*report.notes, *self._durability.settle()))

    def close(self) -> list[str]:
        """Make what is committed durable; returns what is to be said of that.

        Raises: RunFolderError if it cannot be written.
        """
        notes = [*self._durability.settle(), *self.books.flush()]
        return self._durability.finish(self.version, self._begin_checkpoint, notes)

    def add_agent(self, agent: Agent) -> AgentCard:
        """Let an agent join between rounds, from the newest vectors on; it is durable when this returns.

        Raises: See Membership.join.
        """
        card = self._membership.join(agent)
        self.books.joined(card, self.version)
        self._notes += [f"{agent.name} joined after round {self.version}", *self._checkpoint()]
        return card

    def remove_agent(self, name: str) -> None:
        """Let an agent leave between rounds; it is durable when this returns.

        Raises: See Membership.leave.
        """
        self._membership.leave(name)
        self.books.left(name, self.version)
        self._notes += [f"{name} left after round {self.version}", *self._checkpoint()]

    def _round(self) -> RoundReport:
        with fixed_threads(self.plan.threads):
            return self._step()

    def _step(self) -> RoundReport:
        started, index = time.perf_counter(), self.version + 1
        gathered = self._collecting.gather(self._draft, self.roster, self._mode_state, self.version)
        aggregate, chain_state = self._aggregate(index, gathered.collected)
        collected = replace(gathered.collected, reports=weighed(gathered.collected.reports, aggregate))
        vectors = merged(self.vectors, aggregate, index)
        judging = self._validation.news() if self._validation else []
        failures = self._commit(vectors, chain_state, gathered)
        report = RoundReport(
            index=index,
            metrics={},
            train_loss=collected.train_loss,
            seconds=0.0,
            bytes_up=collected.bytes_up,
            bytes_down=collected.bytes_down,
            agents=collected.reports,
            failures=tuple(failures),
            attempts=gathered.attempts,
            retried=gathered.retried,
            told=told(aggregate),
            notes=(*self._notes, *collected.notes, *round_notes(collected.reports, index, aggregate.scalars), *judging),
        )
        self._notes = []
        if index % self.plan.run.eval_every == 0 or index >= self.plan.run.num_rounds or self._exhausted():
            report = self._evaluated(report)
        grown = self.growing.after(report, self.vectors, self.shared_set, self.statistics, self._chain_state)
        report, self._versions[self.version], self.statistics, self._chain_state = grown
        return self._keep(replace(report, stop_reason=self.stop_reason, seconds=time.perf_counter() - started))

    def _exhausted(self) -> str:
        """Why there is no further round, whatever the scores on the shared set; else empty."""
        harm = self.roster.guard.reason()
        return harm or self._collecting.exhausted(self.roster) or self._chain.ended(self._chain_state)

    def _draft(self, attempt: int, version: int, group: Sequence[Assignment], count: int) -> Round:
        """What is broadcast to the agents that start from a version; `count` are asked in all."""
        told, index = {**self._stopping.tells(), **self._chain.tells(self._chain_state)}, self.version + 1
        return Round(
            index=index,
            seed=self.plan.run.seed,
            base_version=version,
            vectors=self._versions[version],
            scalars={**told, **self.roster.shares(index, count)},
            fingerprint=self.offer.fingerprint.digest(),
            attempt=attempt,
            agents=tuple(assignment.agent for assignment in group),
            ledger=self.books.head,
            form=self.growing.form_of(version),
        )

    def _aggregate(self, index: int, collected: Collected) -> tuple[Update, Any]:
        if collected.total is None:
            raise QuorumError(f"round {index}: no update arrived; {first(collected.failures)}")
        seed = Round(index, self.plan.run.seed, self.version, {}).seed_for("chain")
        chain = self._chain.judged(self._validation.at(self.vectors)) if self._validation else self._chain
        return chain.update(collected.total, self._chain_state, self.vectors[PARAMS], seed=seed)

    def _commit(self, vectors: Vectors, chain_state: Any, gathered: Gathered) -> list[Failure]:
        """Make the round the newest; returns its failures, with what is done about each."""
        self.version += 1
        self._versions[self.version] = vectors
        first = self.version - self.plan.mode.horizon + 1
        self._versions = {version: kept for version, kept in self._versions.items() if version >= first}
        self.growing.committed(self.version, self._versions)
        self._chain_state, self._mode_state = chain_state, gathered.mode_state
        return self.roster.committed(self.version, gathered.collected.reports, gathered.collected.failures)

    def _evaluated(self, report: RoundReport) -> RoundReport:
        """Score the committed model on the shared set and on its agents' own data; decide whether to stop."""
        names = {agent.agent: self.roster.memory.get(agent.agent, 0) for agent in report.agents}
        newest = replace(self._draft(0, self.version, (), 0), index=self.version)
        own = self._pool.validate(newest, names)  # hosts score while the driver does
        self.statistics = self.growing.score(self.shared_set, self.vectors)
        report, metrics = own_scores(report, own()), self.statistics.compute()
        self._stopping.observe(metrics)
        notes = (*report.notes, *self.roster.guard.observe(report.own_metrics))
        self.stop_reason = self._stopping.reason(self.version, metrics) or self._exhausted()
        return replace(report, metrics=metrics, statistics=self.statistics, notes=notes)

    def _keep(self, report: RoundReport) -> RoundReport:
        """Journal the round; begin to make it durable if it is due, and wait for that if it is the last."""
        report = replace(report, notes=(*report.notes, *self._durability.news()))
        notes = self.books.append(report, self.vectors)
        last = bool(self.stop_reason)
        if last or (self._durability.due(self.version) and not notes):
            notes += self._checkpoint() if last else self._begin_checkpoint()
        return replace(report, notes=(*report.notes, *notes))

    def _begin_checkpoint(self) -> list[str]:
        memory = self.roster.memory
        ready = [name for name in memory if self.roster.is_ready(name)]
        return self._durability.begin(self.version, self.state_dict(), dict(memory), ready)

    def _checkpoint(self) -> list[str]:
        return [*self._begin_checkpoint(), *self._durability.settle()]

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next round depends on, as a tree."""
        return {
            "version": self.version,
            "vectors": {str(version): dict(vectors) for version, vectors in self._versions.items()},
            "chain": self._chain_state,
            "mode": self._mode_state,
            "roster": self.roster.state_dict(),
            "stopping": self._stopping.state_dict(),
            "statistics": self.statistics.to_plain(),
            "spec": self.offer.spec.digest(),
            "growing": self.growing.state_dict(),
            "ledger": self.books.head,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state; whether to stop is decided anew, as the target or num_rounds may be others now.

        Raises: RunFolderError if it is of another model.
        """
        if state["spec"] != self.offer.spec.digest():
            raise RunFolderError(
                f"{self.folder.path}: the checkpoint is of a model with other parameters; "
                f"resume with the experiment that wrote it"
            )
        self.version, self.statistics = state["version"], Statistics.from_plain(state["statistics"])
        self._versions = {int(version): vectors for version, vectors in state["vectors"].items()}
        self._chain_state, self._mode_state = state["chain"], state["mode"]
        self.roster.load_state_dict(state["roster"])
        self.growing.load_state_dict(state.get("growing", self.growing.state_dict()))
        self._stopping.load_state_dict(state["stopping"])
        self.stop_reason = self._stopping.reason(self.version, self.statistics.compute()) or self._exhausted()

    def _restore(self, first: Sequence[AgentCard]) -> list[AgentCard]:
        """Go on from the newest checkpoint; returns the cards of the agents that had joined the first by then."""
        found = self.folder.latest_checkpoint()
        if found is None:
            self.books.begin(self.offer.fingerprint, first, self.vectors)
            return []
        index, state = found
        cards = self._membership.rejoin(state["roster"]["joined"].values())
        self.roster.open(cards)
        self.load_state_dict(state)
        self._pool.restore(
            self.folder.agents_of(index), [name for name in self.roster.names if self.roster.is_ready(name)]
        )
        self._durability.restored(index)
        self.books.restored(index, state.get("ledger", ""), self.vectors, [*first, *cards])
        return cards
