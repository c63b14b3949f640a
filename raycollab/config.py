"""The four small settings of a run: what to run, on what, what to do about failures, what to keep.

All are frozen and checked when they are made; none of them imports torch or ray.
"""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from raycollab.errors import ConfigError
from raycollab.settings import Settings, require, require_one_of

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_TARGET = re.compile(r"\s*([\w.]+)\s*(>=|<=|>|<)\s*([-+0-9.eE]+)\s*")


@dataclass(frozen=True)
class Target:
    """A metric's goal, such as `accuracy >= 0.97`."""

    metric: str
    comparison: str
    value: float

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Read `METRIC >= NUMBER`; the comparison may be >=, <=, > or <."""
        match = _TARGET.fullmatch(text)
        if match is None:
            raise ConfigError(f"target={text!r}: write METRIC >= NUMBER, for example 'accuracy >= 0.97'")
        try:
            return cls(match[1], match[2], float(match[3]))
        except ValueError as error:
            raise ConfigError(f"target={text!r}: {match[3]!r} is not a number") from error

    def reached(self, metrics: dict[str, float]) -> bool:
        """Whether the metrics reach the goal; a metric that no task reports is a ConfigError."""
        if self.metric not in metrics:
            known = ", ".join(sorted(metrics))
            raise ConfigError(f"target metric {self.metric!r} is not reported by this task; it reports: {known}")
        return _COMPARISONS[self.comparison](metrics[self.metric], self.value)


@dataclass(frozen=True)
class RunConfig(Settings):
    """What to run, and when to stop.

    Args:
        name: Name of the run folder; empty takes the next free `run-NNN`.
        dir: Where run folders stand: a local path or any pyarrow.fs URI.
        num_rounds: Rounds at most.
        agents_per_round: Agents that are sampled each round; None takes all of them.
        target: Stop when a metric on the shared set reaches this, e.g. `accuracy >= 0.97`.
        patience: Stop after this many evaluations without a better score on the shared set; None never does.
        eval_every: Rounds between evaluations; the last round is always evaluated.
        seed: Seed of every random stream of the run.
        num_blocks: Blocks of neighbouring agents whose updates are summed one after another, before blocks are added
            pair by pair: fixed for the experiment, so that results do not depend on the number of hosts. None makes
            blocks of ScalingConfig.agents_at_once agents, or of single ones.
        start: Run folder, or model/ folder, whose model the run begins from: what has the same name and shape is taken
            over, also into layers that have adapters now, and the rest is fresh; agents of a run folder also go on with
            what they had for themselves. None begins from fresh weights.
        max_harm: How far an agent's own score, by the task's primary metric on its validation rows, may fall below its
            best so far; None does not look.
        on_harm: What is done for an agent that falls further: "stop" ends the run, "reweigh" doubles its weight until
            it has recovered.
    """

    name: str = ""
    dir: str = "runs"
    num_rounds: int = 20
    agents_per_round: int | None = None
    target: str | None = None
    patience: int | None = None
    eval_every: int = 1
    seed: int = 0
    num_blocks: int | None = None
    start: str | None = None
    max_harm: float | None = None
    on_harm: str = "stop"

    def __post_init__(self) -> None:
        require(self.num_rounds >= 1, "RunConfig.num_rounds", self.num_rounds, "must be >= 1")
        require(self.eval_every >= 1, "RunConfig.eval_every", self.eval_every, "must be >= 1; 1 evaluates every round")
        for name in ("agents_per_round", "patience", "num_blocks"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"RunConfig.{name}", value, "must be >= 1, or null for the default")
        require(self.seed >= 0, "RunConfig.seed", self.seed, "must be >= 0")
        harm = self.max_harm
        require(harm is None or harm >= 0, "RunConfig.max_harm", harm, "must be >= 0, or null for none")
        ways = ("stop", "reweigh")
        require(self.on_harm in ways, "RunConfig.on_harm", self.on_harm, f"must be one of {ways}")
        require(self.start != "", "RunConfig.start", self.start, "must be a folder with a saved model, or null")
        plain = re.fullmatch(r"[\w.\-]*", self.name) and self.name not in (".", "..")
        require(
            bool(plain),
            "RunConfig.name",
            self.name,
            "letters, digits, '.', '_' and '-' only; choose the place with RunConfig.dir",
        )
        if self.target is not None:
            Target.parse(self.target)


@dataclass(frozen=True)
class ScalingConfig(Settings):
    """What the run takes of the machine or cluster: that changes its speed, never its result, but for the last bits.

    Those may depend on threads_per_host and agents_at_once.

    Args:
        pool: "ray" runs every host in its own actor; "local" runs the same code in this process.
        agents_per_host: Agents that share one actor, give or take those of a block; None gives each agent its own up to
            16 agents, and spreads more agents over one actor per CPU.
        cpus_per_host: CPUs that Ray reserves for an actor; None shares what the cluster has.
        gpus_per_host: The GPU (1), or the fraction of one, that an actor is pinned to; 0 computes on the CPU.
        gpus_for_driver: The same for the driver, which evaluates on the shared set.
        threads_per_host: CPU threads of one agent's computation, and of the driver's. Their number can change the last
            bits of a matrix product.
        agents_at_once: Agents of a block that learn in the same steps, each layer's update taken where its gradient is
            made; 0 trains them one by one through autograd. It is for SGD on a chain of nn.Linear, nn.Conv2d and
            layers without parameters; others learn one by one as ever. Equal but for rounding. None measures what is
            fastest before the run starts, where the process that starts it has the kind of device that agents use, and
            writes it into the experiment.
        slices: Actors that each sum one slice of the vectors that hosts send, for rules that only sum: the driver then
            takes in one vector, however many hosts there are. 0 leaves it to the driver.
        on_party_nodes: Each agent runs on the node that carries its name as the label raycollab.io/party, in an actor
            of its own, and nowhere else: its data is opened there alone.
        spread: No two actors share a node.
    """

    pool: str = "ray"
    agents_per_host: int | None = None
    cpus_per_host: float | None = None
    gpus_per_host: float = 0.0
    gpus_for_driver: float = 0.0
    threads_per_host: int = 1
    agents_at_once: int | None = 0
    slices: int = 0
    on_party_nodes: bool = False
    spread: bool = False

    def __post_init__(self) -> None:
        require_one_of("ScalingConfig.pool", self.pool, ("ray", "local"))
        require(
            self.agents_per_host is None or self.agents_per_host >= 1,
            "ScalingConfig.agents_per_host",
            self.agents_per_host,
            "must be >= 1; 1 gives every agent its own actor, larger values share one",
        )
        require(
            self.cpus_per_host is None or self.cpus_per_host >= 0,
            "ScalingConfig.cpus_per_host",
            self.cpus_per_host,
            "must be >= 0",
        )
        for name in ("gpus_per_host", "gpus_for_driver"):
            value = getattr(self, name)
            accepted = "must be in [0, 1]: none, a fraction of one GPU, or one; a model over several is not supported"
            require(0 <= value <= 1, f"ScalingConfig.{name}", value, accepted)
        require(self.threads_per_host >= 1, "ScalingConfig.threads_per_host", self.threads_per_host, "must be >= 1")
        require(
            self.agents_at_once is None or self.agents_at_once >= 0,
            "ScalingConfig.agents_at_once",
            self.agents_at_once,
            "must be >= 0; 0 trains agents one by one, null measures what is fastest",
        )
        require(self.slices >= 0, "ScalingConfig.slices", self.slices, "must be >= 0; 0 lets the driver sum")
        for name in ("slices", "on_party_nodes", "spread"):
            on_nodes = "is for pool='ray': pool='local' is one process on one node"
            value = getattr(self, name)
            require(self.pool == "ray" or not value, f"ScalingConfig.{name}", value, on_nodes)
        alone = not self.on_party_nodes or self.agents_per_host in (None, 1)
        accepted = "must be 1 or null with on_party_nodes: a party's agent has an actor of its own, on its node"
        require(alone, "ScalingConfig.agents_per_host", self.agents_per_host, accepted)
        accepted = "must be 0 with on_party_nodes: its agents learn on their own nodes, one by one"
        require(
            not self.on_party_nodes or self.agents_at_once == 0,
            "ScalingConfig.agents_at_once",
            self.agents_at_once,
            accepted,
        )


@dataclass(frozen=True)
class FailureConfig(Settings):
    """What to do when agents fail.

    Args:
        min_agents: Updates that a round needs; below it nothing is averaged. A share when < 1, else a count.
        on_agent_failure: "replace" restarts a dead actor and leaves the agent out of this round; "skip" also goes
            on when an agent cannot start at all; "stop" ends the run at the first failure.
        max_attempts: Attempts at a round that misses its quorum, before the run ends with QuorumError.
        start_timeout_s: Seconds for actors to start and shards to open.
        round_timeout_s: Seconds for a round; agents that are late are left out. Who is late twice without having
            come back in between is taken to hang: its actor is replaced.
        max_restarts: Replacements of an actor in a row, without an answer in between, before its agents are given up.
        restart_backoff_s: Seconds between a replacement's death and the next one's start; doubled each time, up to 60.
        quarantine_after: Rounds in a row that an agent fails before it is left out for a while; None never does.
        quarantine_rounds: For how many rounds; then it is asked again.
        max_norm: L2 norm of a delta above which it is taken for nonsense and refused.
        max_driver_restarts: Starts of a new driver in a row, without a new round in between, when its process dies.
        stop_grace_s: Seconds that SIGTERM or Ctrl-C leave the round under way to finish; then it is abandoned.
    """

    min_agents: float = 1
    on_agent_failure: str = "replace"
    max_attempts: int = 3
    start_timeout_s: float = 300.0
    round_timeout_s: float = 3600.0
    max_restarts: int = 5
    restart_backoff_s: float = 1.0
    quarantine_after: int | None = 5
    quarantine_rounds: int = 10
    max_norm: float = 1e8
    max_driver_restarts: int = 3
    stop_grace_s: float = 2.0

    def __post_init__(self) -> None:
        whole_or_share = 0 < self.min_agents < 1 or (self.min_agents >= 1 and self.min_agents % 1 == 0)
        require(
            whole_or_share,
            "FailureConfig.min_agents",
            self.min_agents,
            "must be a count >= 1, or a share between 0 and 1",
        )
        choices = ("replace", "skip", "stop")
        require(
            self.on_agent_failure in choices,
            "FailureConfig.on_agent_failure",
            self.on_agent_failure,
            f"must be one of {choices}",
        )
        require(self.max_attempts >= 1, "FailureConfig.max_attempts", self.max_attempts, "must be >= 1")
        for name in ("start_timeout_s", "round_timeout_s"):
            require(getattr(self, name) > 0, f"FailureConfig.{name}", getattr(self, name), "must be > 0 seconds")
        for name in ("restart_backoff_s", "stop_grace_s", "max_restarts", "max_driver_restarts"):
            require(getattr(self, name) >= 0, f"FailureConfig.{name}", getattr(self, name), "must be >= 0")
        after = self.quarantine_after
        require(after is None or after >= 1, "FailureConfig.quarantine_after", after, "must be >= 1, or null for never")
        require(self.quarantine_rounds >= 1, "FailureConfig.quarantine_rounds", self.quarantine_rounds, "must be >= 1")
        require(self.max_norm > 0, "FailureConfig.max_norm", self.max_norm, "must be > 0")

    def quorum(self, num_selected: int) -> int:
        """Updates that a round of this many selected agents needs."""
        if self.min_agents < 1:
            return max(1, round(self.min_agents * num_selected + 0.499999))
        return int(self.min_agents)


@dataclass(frozen=True)
class CheckpointConfig(Settings):
    """What to keep of a run.

    Args:
        every: Rounds between durable checkpoints; None goes by `every_s` alone. The last round is always kept.
        keep: Checkpoints that stay on disk, the newest ones.
        every_s: Seconds after which a round is kept, whatever its number; None goes by `every` alone.
        ledger: Whether a ledger is kept of who approved what, who sent what and what became of it; None keeps one
            unless the parties are simulated.
        updates: Whether each party's last update is kept with its state in a checkpoint, so that `raycollab audit
            verify` can compute the round again. Whoever reads the run folder reads the updates then.
    """

    every: int | None = 1
    keep: int = 2
    every_s: float | None = None
    ledger: bool | None = None
    updates: bool = False

    def __post_init__(self) -> None:
        every, every_s = self.every, self.every_s
        require(every is None or every >= 1, "CheckpointConfig.every", every, "must be >= 1; 1 keeps every round")
        require(every_s is None or every_s > 0, "CheckpointConfig.every_s", every_s, "must be > 0 seconds")
        remedy = "needs `every_s` beside it: seconds between checkpoints"
        require(every is not None or every_s is not None, "CheckpointConfig.every", every, remedy)
        require(self.keep >= 1, "CheckpointConfig.keep", self.keep, "must be >= 1")
        kept = self.ledger is not False or not self.updates
        accepted = "is for an audit of the ledger: set ledger to true or null"
        require(kept, "CheckpointConfig.updates", self.updates, accepted)
