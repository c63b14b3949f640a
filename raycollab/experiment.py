"""Everything that a run is made of, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from raycollab import compatibility
from raycollab.agent import Agent
from raycollab.aggregation import Aggregator
from raycollab.attacks import Attack
from raycollab.chains import Chain, as_chain
from raycollab.codecs import Codec
from raycollab.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from raycollab.data import Source
from raycollab.errors import ConfigError
from raycollab.exposure import exposures
from raycollab.growth import Growth
from raycollab.keys import public_keys
from raycollab.modes import Mode, Synchronous
from raycollab.params import Exchange
from raycollab.parts import with_parts
from raycollab.population import Parties, Population
from raycollab.recipe import packages, plain_fields, to_plain
from raycollab.runtime.layout import Layout
from raycollab.runtime.parties import check_names
from raycollab.runtime.session import Session
from raycollab.secure import SecureSum
from raycollab.selection import Selection, Uniform
from raycollab.task import Task
from raycollab.types import Step

_MAX_SENT = 64  # blocks, where each crosses by itself
_MAX_HOSTS = 16
_KINDS: dict[str, tuple[type, str]] = {  # what each field must be, and an example of it
    "task": (Task, "Classification(MLP(64, 10), 10)"),
    "agents": (Population, "Parties((Agent(...),))"),
    "test": (Source, "Parquet('test.parquet')"),
    "exchange": (Exchange, "Exchange(exclude=('head.*',))"),
    "mode": (Mode, "Synchronous()"),
    "select": (Selection, "Uniform()"),
    "upload": (Codec, "BFloat16()"),
    "broadcast": (Codec, "BFloat16()"),
    "run": (RunConfig, "RunConfig(num_rounds=20)"),
    "scaling": (ScalingConfig, "ScalingConfig()"),
    "failure": (FailureConfig, "FailureConfig()"),
    "checkpoint": (CheckpointConfig, "CheckpointConfig()"),
    "attack": (Attack, "Attack('sign_flip', 2)"),
    "growth": (Growth, "Growth((MLP(64, 10, (16,)),), AtRounds((10,)))"),
}
_OPTIONAL = ("upload", "broadcast", "growth")


@dataclass(frozen=True)
class Experiment:
    """One collaboration: who learns what, how it is merged, and how long.

    Args:
        task: What is learned, unless an agent brings its own.
        agents: The parties.
        chain: Transforms and the one aggregator.
        test: The shared test set that no agent sees.
        exchange: Which parameters travel; "adapters" and "all" stand for common ones.
        mode: Who starts from which version.
        select: Who takes part in a round.
        upload: How hosts write what they send; None sends float32.
        broadcast: How the driver writes what it sends; None sends float32.
        run: What to run and when to stop.
        scaling: What it takes of the machine.
        failure: What to do when agents fail.
        checkpoint: What to keep.
        attack: Which of the agents misbehave, and how: for testing a rule.
        growth: In which smaller forms the task's net begins, and when it grows; None trains it as it is.
    """

    task: Task
    agents: Population
    chain: tuple[Step, ...]
    test: Source
    exchange: Exchange = Exchange()  # noqa: RUF009 - frozen
    mode: Mode = Synchronous()  # noqa: RUF009
    select: Selection = Uniform()  # noqa: RUF009
    upload: Codec | None = None
    broadcast: Codec | None = None
    run: RunConfig = RunConfig()  # noqa: RUF009
    scaling: ScalingConfig = ScalingConfig()  # noqa: RUF009
    failure: FailureConfig = FailureConfig()  # noqa: RUF009
    checkpoint: CheckpointConfig = CheckpointConfig()  # noqa: RUF009
    attack: Attack = Attack()  # noqa: RUF009
    growth: Growth | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "chain", as_chain(self.chain).steps)
        if isinstance(self.exchange, str):
            object.__setattr__(self, "exchange", Exchange.of(self.exchange))
        for name, (kind, example) in _KINDS.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            if not isinstance(value, kind):
                wrong = " and not its class" if isinstance(value, type) and issubclass(value, kind) else ""
                raise ConfigError(f"experiment.{name}={value!r}: must be a {kind.__name__}{wrong}, such as {example}")

    @property
    def rule(self) -> Aggregator:
        """The one aggregator of the chain, whether it is attacked or not."""
        return Chain(self.chain).aggregator

    def steps(self) -> Chain:
        """The chain as a value that runs."""
        if not self.attack:
            return Chain(self.chain)
        return self.attack.chain(Chain(self.chain), [agent.name for agent in self._parties()], self.run.seed)

    def members(self) -> list[Agent]:
        """The agents, with unique names, and learners that send what the aggregator needs; the bad ones among them."""
        agents = self._parties()
        needed = set(self.rule.needs)
        for agent in agents:
            missing = sorted(needed - set(agent.learner.sends))
            if missing:
                rule = type(self.rule).__name__
                raise ConfigError(
                    f"agent {agent.name!r}: {rule} needs {missing}, which {type(agent.learner).__name__} does not send"
                )
            if agent.learner.models and not self.rule.several:
                raise ConfigError(
                    f"agent {agent.name!r}: {type(agent.learner).__name__} learns one of several models, and "
                    f"{type(self.rule).__name__} would merge what is learned of all of them: use PerCluster(...)"
                )
        return self.attack.members(agents, self.task)

    def misbehaving(self) -> tuple[str, ...]:
        """Who is bad, under an attack."""
        return self.attack.bad([agent.name for agent in self._parties()]) if self.attack else ()

    def warnings(self) -> list[str]:
        """What may be meant as it is, but makes a rule fail, or leaves data open beside noise."""
        bad = len(self.misbehaving())
        rules = compatibility.all_rules(self.rule)
        tolerated = [(type(rule).__name__, getattr(rule, "f", bad)) for rule in rules]  # Krum, Bulyan
        few = [
            f"{name}(f={f}) tolerates {f} bad updates a round, and {bad} agents are bad"
            for name, f in dict.fromkeys(tolerated)
            if f < bad
        ]
        learners = {agent.name: agent.learner for agent in self._parties()}
        validating = [agent.name for agent in self._parties() if agent.val_fraction]
        return [*few, *exposures(Chain(self.chain), learners, validating, self.growth)]

    def _parties(self) -> list[Agent]:
        return with_parts(Parties(tuple(self.agents.agents())).agents(), self.task, self.exchange)

    def resolved(self) -> "Experiment":
        """With every default that depends on the agents filled in, so that running it again gives the same bits.

        Raises: ConfigError for parts that do not go together.
        """
        members = self.members()
        names, count = [agent.name for agent in members], len(members)
        per_round = self.run.agents_per_round
        if per_round is not None and per_round > count:
            raise ConfigError(f"RunConfig.agents_per_round={per_round}: there are only {count} agents")
        selected = per_round or count
        if self.scaling.on_party_nodes:
            check_names(names)
        compatibility.check_selection(self.select, names, selected, self.run.seed)
        arriving = compatibility.check_mode(self.mode, names, selected)
        compatibility.check_quorum(self.failure, arriving)
        self.attack.check(names, self.mode, arriving)
        compatibility.check_rule(self.rule, repr(self.mode), names, selected, arriving)
        learners = {agent.name: agent.learner for agent in members}
        compatibility.check_noise(self.rule, learners, self.select, self.mode, selected < count)
        least = max(self.failure.quorum(arriving), self.rule.min_updates)
        compatibility.check_noise_shares(Chain(self.chain), learners, least)
        rule = self.steps().aggregator
        compatibility.check_secure_sums(rule, self.mode, self.select, self.upload, self.checkpoint, learners)
        compatibility.check_slices(self.scaling, self.rule, self.upload)
        compatibility.check_discounts(self.mode, self.rule, learners)
        compatibility.check_remade(self.mode, self.rule, learners)
        compatibility.check_blocks(self.run, count)
        compatibility.check_guard(self.run, self.rule)
        steps, mode = self.steps(), self.mode
        compatibility.check_growth(self.growth, self.task, self.exchange, steps, mode, self.checkpoint, learners)
        compatibility.check_ledger(self.checkpoint, {agent.name: agent.key for agent in members})
        return replace(self, run=replace(self.run, agents_per_round=selected))

    def plan(self) -> "Plan":
        """What the driver gets to know."""
        members = self.members()
        needs = sorted({name for agent in members for name in agent.learner.needs})
        models = sorted({name for agent in members for name in agent.learner.models})
        names = tuple(agent.name for agent in members)
        return Plan(
            names,
            tuple(needs),
            tuple(models),
            self.task,
            self.steps(),
            self.test,
            self.exchange,
            self.mode,
            self.select,
            self.run,
            self.failure,
            self.checkpoint,
            self.scaling.threads_per_host,
            tuple(sorted(packages((self.task, self.agents, self.chain, self.test)))),
            self.keeps_ledger,
            public_keys({agent.name: agent.key for agent in members}),
            self.growth,
        )

    def session(self) -> Session:
        """What every host gets to know."""
        return Session(
            self.run.seed,
            self.task,
            self.steps(),
            self.exchange,
            self.scaling.threads_per_host,
            self.broadcast,
            self.upload,
            self.scaling.agents_at_once or 0,
            self.failure.max_norm,
            self.agents.simulated and not self.scaling.on_party_nodes and not isinstance(self.rule, SecureSum),
            self.scaling.slices,
            self.run.start,
            public_keys({agent.name: agent.key for agent in self._parties()}),
            self.growth,
        )

    def layout(self, num_cpus: int) -> Layout:
        """Which agents are summed together, and on which of the hosts that so many CPUs make."""
        names = tuple(agent.name for agent in self.agents.agents())
        return Layout(names, self.num_hosts(num_cpus), self.fixed_blocks, self.scaling.agents_at_once or 1)

    def num_hosts(self, num_cpus: int) -> int:
        """Hosts for the agents: as asked for, or one an agent up to 16, or else one per CPU; never more than blocks.

        On party nodes it is one an agent.
        """
        count = len(self.agents.agents())
        if self.scaling.on_party_nodes:
            return count
        if self.scaling.agents_per_host is not None:
            return -(-count // self.scaling.agents_per_host)
        return min(count if count <= _MAX_HOSTS else max(1, num_cpus), self.most_hosts)

    @property
    def keeps_ledger(self) -> bool:
        """Whether a ledger is kept: as set, or where parties are real."""
        asked = self.checkpoint.ledger
        return self.checkpoint.updates or not self.agents.simulated if asked is None else asked

    @property
    def most_hosts(self) -> int:
        """Hosts that there can be: as many as blocks, which are never cut."""
        return self.fixed_blocks or -(-len(self.agents.agents()) // (self.scaling.agents_at_once or 1))

    @property
    def fixed_blocks(self) -> int | None:
        """Blocks as set; with a codec, for which each is sent by itself, not too many; None makes them of agents."""
        few = min(len(self.agents.agents()), _MAX_SENT) if self.upload is not None else None
        return self.run.num_blocks or few

    def to_plain(self) -> dict[str, Any]:
        """As the plain data of an experiment file; what stands only in memory leaves a mark."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        settings = (Exchange, RunConfig, ScalingConfig, FailureConfig, CheckpointConfig, Attack, Growth)
        return {
            name: plain_fields(value, strict=False) if isinstance(value, settings) else to_plain(value, strict=False)
            for name, value in plain.items()
        }


@dataclass(frozen=True)
class Plan:
    """What the driver knows of an experiment: everything but the parties' data and how they learn."""

    names: tuple[str, ...]
    needs: tuple[str, ...]  # vectors that learners ask for beside the parameters
    models: tuple[str, ...]  # and further ones, each of which starts as another initial model
    task: Task
    chain: Chain
    test: Source
    exchange: Exchange
    mode: Mode
    select: Selection
    run: RunConfig
    failure: FailureConfig
    checkpoint: CheckpointConfig
    threads: int
    packages: tuple[str, ...]  # that the experiment's values are of: of no other are agents that join later
    ledger: bool = False
    keys: Mapping[str, str] = field(default_factory=dict)  # public ones, by agent
    growth: Growth | None = None
