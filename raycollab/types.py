"""The words that cross every boundary: what is broadcast, what comes back, what is reported.

`[d]` is the vector of exchanged parameters, `[b]` that of exchanged float buffers; `delta = new - old`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from raycollab.metrics import Statistics
from raycollab.rng import derive_seed
from raycollab.settings import Settings
from raycollab.spec import Coverage, Segments

Batch = Mapping[str, Any]  # tensors [b, ...] or ragged lists, by name
State = Any  # a tree of tensors and plain values; see raycollab.tree
EPSILON = "epsilon"  # a scalar of an update: what its agent has told so far of any single one of its examples
PARTY_EPSILON = "party_epsilon"  # a scalar of an update: what its agent has told so far of itself as a whole
RULE_EPSILON = "rule_epsilon"  # a scalar of an aggregate: what the rule has told so far of any single party
LABELS, ASKS = "labels", "asks"  # of an update: one more than its agent's largest label, 1 for a larger model
LAST = "last"  # a scalar of an update: 1 if its agent's privacy budget does not suffice for another round
SCORE = "score"  # a scalar of the round: the newest primary metric on the shared set, such that higher is better
KEPT = "kept"  # a scalar of an aggregate: the share of elements that pruning leaves, in rounds that prune
WEIGHT_OF = "weight/"  # before an agent's name: a scalar of the aggregate of a rule that chose its weight
WORTH_OF = "contribution/"  # in the same way: what its update was worth in this round
STANDING_OF = "standing/"  # the mean of that over its rounds
ALIKE_OF = "alike/"  # the largest cosine of its delta to another agent's


class Step(Settings):
    """A step of a chain: a Transform or the one Aggregator."""


@dataclass(frozen=True)
class Round:
    """What is broadcast.

    Args:
        index: The round, from 1; version `index - 1` of the vectors is what agents start from.
        attempt: From 0; higher when a round is redone because too few agents answered.
        seed: The run's seed; streams come from `seed_for`.
        base_version: Rounds committed when the vectors were made.
        vectors: "params" [d], "buffers" [b], and what the learner asks for, such as "control" [d].
        scalars: Numbers that every agent gets, such as "participation": the share of agents sampled.
        fingerprint: The task that every party approved.
        agents: Who takes part, in order: the peers that masks are agreed with.
        ledger: Hash of the newest round in the ledger; empty if none is kept.
        form: Which form of a model that grows is in use.
    """

    index: int
    seed: int
    base_version: int
    vectors: Mapping[str, Tensor]
    scalars: Mapping[str, float] = field(default_factory=dict)
    fingerprint: str = ""
    attempt: int = 0
    agents: tuple[str, ...] = ()
    ledger: str = ""
    form: int = 0

    def seed_for(self, *address: int | str) -> int:
        """Seed of this round at an address, the same in every attempt."""
        return derive_seed(self.seed, self.index, *address)


@dataclass(frozen=True)
class Update:
    """What an agent learned in a round, or what the aggregator made of all of it.

    Args:
        agent: Its name; empty for an aggregate.
        weight: Its weight in a mean, the number of examples or tokens unless a rule says otherwise.
        vectors: "delta" [d], "buffers" [b] (also a difference), and what the rule asks for.
        scalars: Numbers by name, such as "steps" and "loss".
        base_version: The version of the vectors that it started from.
        coverage: Which elements the vectors hold; None for all of them.
        discount: Factor on whatever weight a rule gives it, such as a staleness discount.
        withheld: Names of exchanged parameters and buffers that the agent keeps to itself this time: they are cut out
            of all vectors before it leaves.
        changes: What the agent changed of itself.
    """

    agent: str
    weight: float
    vectors: Mapping[str, Tensor]
    scalars: Mapping[str, float] = field(default_factory=dict)
    base_version: int = 0
    coverage: Coverage | None = None
    discount: float = 1.0
    withheld: tuple[str, ...] = ()
    changes: "tuple[Change, ...]" = ()

    def segments(self, name: str) -> Segments | None:
        """Which elements a vector holds, by its name; None for all of them."""
        segments = None if self.coverage is None else self.coverage.of(name)
        return None if segments is None or segments.full else segments

    @property
    def num_bytes(self) -> int:
        """Of its vectors."""
        return sum(vector.numel() * vector.element_size() for vector in self.vectors.values())

    def with_vectors(self, **vectors: Tensor) -> "Update":
        """The same update with some vectors replaced."""
        return replace(self, vectors={**self.vectors, **vectors})


@dataclass(frozen=True)
class Change:
    """What an agent changed of itself in answer to its data, or what became of the common model: no data.

    Args:
        action: What it is called, such as "Branch".
        outcome: "taken", "ended" or "rolled back".
        cause, detail: Why, and what is different now, in words.
        before, after: The agent's mean loss on its newest examples as the round began and ended; or the model's score.
    """

    action: str
    outcome: str
    cause: str
    detail: str = ""
    before: float = float("nan")
    after: float = float("nan")


@dataclass(frozen=True)
class Assignment:
    """One agent's work in a round.

    Args:
        agent: Its name.
        version: Version of the vectors that it starts from.
        last_round: The committed round whose private state it starts from; 0 if it keeps none.
        discount: Factor on its weight, such as a staleness discount.
    """

    agent: str
    version: int
    last_round: int = 0
    discount: float = 1.0


@dataclass(frozen=True)
class Failure:
    """An agent that did not deliver, as data."""

    agent: str
    error: str  # the exception's class name
    message: str
    decision: str = ""  # what was done about it


@dataclass(frozen=True)
class Receipt:
    """What a party says that it sent, for the ledger.

    Args:
        digest: SHA-256 of the update's vectors.
        norm: L2 norm of its delta.
        num_bytes: Of its vectors.
        weight: That it asks for.
        clipped: Whether the party's transforms made the delta shorter.
        epsilon: Privacy that the party has spent so far, if it counts that: on one of its examples, or on itself.
        base_version: The version that it started from.
        attempt: At the round.
        after: Hash of the ledger's newest round when it started.
        signature: By the party's key; empty if it has none.
    """

    digest: str
    norm: float
    num_bytes: int
    weight: float
    clipped: bool
    epsilon: float | None
    base_version: int
    attempt: int
    after: str
    signature: str = ""

    def signed(self, signature: str) -> "Receipt":
        """The same with a signature."""
        return replace(self, signature=signature)


@dataclass(frozen=True)
class AgentReport:
    """One agent's row of a round."""

    agent: str
    examples: int = 0  # or tokens: what the task counted in the round's steps, all passes together
    loss: float = float("nan")
    seconds: float = 0.0
    num_bytes: int = 0  # of its own update, in float32; what crosses the wire is in RoundReport
    norm: float = float("nan")
    weight: float = 0.0
    fresh: bool = False  # it had lost the state of its last round, and started from an older one or from none
    remembers: bool = False  # it keeps private state of this round
    receipt: Receipt | None = None  # where a ledger is kept
    contribution: float = float("nan")  # of rules that find it: how much it lowered the validation loss
    standing: float = float("nan")  # the mean of that over its rounds
    alike: float = float("nan")  # the largest cosine of its delta to another agent's
    epsilon: float = float("nan")  # spent so far on any single example of the agent; nan where nobody counts
    party_epsilon: float = float("nan")  # spent so far on the agent as a whole
    last: bool = False  # its privacy budget does not suffice for another round
    drift: float = float("nan")  # its strongest sign of changed data: above 1 is an alarm; nan where nobody watches
    changes: tuple[Change, ...] = ()
    form: int = 0  # of the model
    labels: int = 0  # LABELS of its update
    asks: bool = False  # ASKS of it
    rejected: int = 0  # rows of its data that it could not use, as far as it has met them


@dataclass(frozen=True)
class AgentCard:
    """What an agent says about itself when it joins: counts only, no data."""

    agent: str
    examples: int
    summary: str
    learner: str
    remembers: bool = True  # whether it has to come back to where it was: it keeps something between rounds
    approval: str = ""  # its signature under the task, if it has a key
    public: str = ""  # and the public key that belongs to it


@dataclass(frozen=True)
class OwnScores:
    """The committed model, with an agent's private part, on its own data; empty where it has none.

    Args:
        validation: On its validation rows.
        test: On its own test set.
        personal_validation: The model of its own, if its learner makes one, on the same rows.
        personal_test: And on the same test set.
    """

    validation: Statistics
    test: Statistics
    personal_validation: Statistics = field(default_factory=Statistics.empty)
    personal_test: Statistics = field(default_factory=Statistics.empty)


@dataclass(frozen=True)
class Begun:
    """A run of which nothing has been started yet."""

    pool: str  # where it will run; empty if it had ended before, and nothing is left to do
    learners: Mapping[str, str]  # kind of learner by agent
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Notice:
    """Something that went wrong with the run as a whole, and what is done about it."""

    text: str


@dataclass(frozen=True)
class Started:
    """A run that is ready for its first round."""

    path: str
    fingerprint: str
    num_params: int
    num_rounds: int
    version: int  # rounds that were committed before, if it was resumed
    cards: tuple[AgentCard, ...]
    seconds: float  # since the run was asked for


@dataclass(frozen=True)
class RoundReport:
    """One committed round."""

    index: int
    metrics: dict[str, float]  # on the shared set; empty in rounds that are not evaluated
    train_loss: float
    seconds: float
    bytes_up: int  # what crossed from hosts to the driver: one partial of each block, as the upload codec writes it
    bytes_down: int  # what crossed to hosts: the round, as the broadcast codec writes it, once for each host
    agents: tuple[AgentReport, ...]
    failures: tuple[Failure, ...]
    own_metrics: dict[str, dict[str, float]] = field(default_factory=dict)  # on agents' validation rows
    own_test: dict[str, dict[str, float]] = field(default_factory=dict)  # and on the test sets of those that have one
    personal_metrics: dict[str, dict[str, float]] = field(default_factory=dict)  # of agents' own models, on those rows
    personal_test: dict[str, dict[str, float]] = field(default_factory=dict)  # and on those test sets
    statistics: Statistics = field(default_factory=Statistics.empty)  # on the shared set
    attempts: int = 1
    retried: tuple[Failure, ...] = ()  # of attempts that missed their quorum, and were done again
    notes: tuple[str, ...] = ()  # what went wrong without costing an agent the round
    stop_reason: str = ""
    changes: tuple[Change, ...] = ()  # of the common model
    told: dict[str, float] = field(default_factory=dict)  # what the rule says of the round, by name
