"""An attack as a setting of an experiment."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from raycollab.agent import Agent
from raycollab.attacks.alie import LittleIsEnough
from raycollab.attacks.base import Collusion, LocalAttack, Misbehaviour
from raycollab.attacks.free_rider import FreeRider
from raycollab.attacks.gaussian import Gaussian
from raycollab.attacks.ipm import InnerProduct
from raycollab.attacks.label_flip import LabelFlip
from raycollab.attacks.mimic import Mimic
from raycollab.attacks.nan import NotANumber
from raycollab.attacks.sign_flip import SignFlip
from raycollab.attacks.under_attack import UnderAttack
from raycollab.chains import Chain
from raycollab.errors import ConfigError
from raycollab.modes import Mode
from raycollab.settings import Settings, require
from raycollab.task import Task

KINDS: dict[str, type[Misbehaviour]] = {
    kind.name: kind
    for kind in (SignFlip, LabelFlip, Gaussian, NotANumber, FreeRider, Mimic, InnerProduct, LittleIsEnough)
}
NONE = "none"


@dataclass(frozen=True)
class Attack(Settings):
    """Agents that misbehave, for testing a rule: the last `num_agents` of an experiment's agents.

    Args:
        kind: "none", "sign_flip", "label_flip", "gaussian", "nan", "free_rider", "mimic", "ipm" or "alie"; see
            `raycollab rules`.
        num_agents: How many are bad, fewer than there are agents.
        strength: How bad, where a kind has degrees; None is the kind's own default.
        target: Whom `mimic` copies; None lets it choose.
    Raises: ConfigError for an unknown kind, or a setting that the kind does not have.
    """

    kind: str = NONE
    num_agents: int = 0
    strength: float | None = None
    target: str | None = None

    def __post_init__(self) -> None:
        require(self.kind in (NONE, *KINDS), "Attack.kind", self.kind, f"must be one of {', '.join((NONE, *KINDS))}")
        if self:
            require(
                self.num_agents >= 1, "Attack.num_agents", self.num_agents, "must be >= 1; kind='none' is no attack"
            )
            self.misbehaviour()
        else:
            set_anyway = {field.name for field in fields(self) if getattr(self, field.name) != field.default}
            require(not set_anyway, "Attack.kind", NONE, f"give a kind too where {sorted(set_anyway)} is set")

    def __bool__(self) -> bool:
        return self.kind != NONE

    def misbehaviour(self) -> Misbehaviour:
        """What the bad agents do.

        Raises: ConfigError for a setting that the kind does not have.
        """
        kind = KINDS[self.kind]
        given = {name: getattr(self, name) for name in ("strength", "target") if getattr(self, name) is not None}
        known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
        for name, value in given.items():
            require(name in known, f"Attack.{name}", value, f"{self.kind} has no {name}; leave it out")
        return kind(**given)

    def bad(self, agents: Sequence[str]) -> tuple[str, ...]:
        """Who of these agents is bad."""
        require(
            self.num_agents < len(agents), "Attack.num_agents", self.num_agents,
            f"must be < {len(agents)}, the number of agents: somebody has to be honest",
        )  # fmt: skip
        return tuple(agents[len(agents) - self.num_agents :])

    def members(self, agents: Sequence[Agent], task: Task) -> list[Agent]:
        """The agents, the bad ones among them; `task` is that of agents that bring none."""
        kind = self.misbehaviour() if self else None
        if not isinstance(kind, LocalAttack):
            return list(agents)
        bad = self.bad([agent.name for agent in agents])
        return [
            replace(agent, learner=kind.learner(agent.learner, agent.task or task)) if agent.name in bad else agent
            for agent in agents
        ]

    def chain(self, chain: Chain, agents: Sequence[str], seed: int) -> Chain:
        """The chain, with its rule under attack if bad agents collude."""
        kind = self.misbehaviour() if self else None
        if not isinstance(kind, Collusion):
            return chain
        rule = UnderAttack(chain.aggregator, kind, self.bad(agents), tuple(agents), seed)
        return Chain(tuple(rule if step is chain.aggregator else step for step in chain.steps))

    def check(self, agents: Sequence[str], mode: Mode, arriving: int) -> None:
        """Raise ConfigError if these agents cannot do it, or if colluding ones would see nobody or several versions."""
        if not self:
            return
        kind, bad = self.misbehaviour(), self.bad(agents)
        if not isinstance(kind, Collusion):
            return
        kind.check(len(agents), len(bad), [name for name in agents if name not in bad])
        alone = ", ".join(name for name, kind in KINDS.items() if issubclass(kind, LocalAttack))
        if arriving < 2:
            raise ConfigError(
                f"Attack.kind={self.kind!r}: bad agents that collude look at a round's honest updates, and {mode!r} "
                f"brings one update a round; let more agents take part, or use a kind that needs nobody else: {alone}"
            )
        if mode.horizon > 1:
            raise ConfigError(
                f"Attack.kind={self.kind!r}: bad agents that collude look at the updates of one version, and {mode!r} "
                f"mixes several; use Synchronous(), or a kind that needs nobody else: {alone}"
            )
