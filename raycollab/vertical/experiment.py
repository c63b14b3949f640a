"""Everything a vertical run is made of, checked before anything starts."""

from dataclasses import dataclass, fields
from typing import Any

from raycollab.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from raycollab.errors import ConfigError
from raycollab.recipe import plain_fields
from raycollab.settings import Settings, require
from raycollab.vertical.party import Party
from raycollab.vertical.plan import Plan

# What these settings mean for parties that train one model each, and nothing here.
_USED = {
    RunConfig: ("name", "dir", "num_rounds", "target", "patience", "eval_every", "seed"),
    ScalingConfig: ("pool", "cpus_per_host", "gpus_per_host", "threads_per_host", "on_party_nodes", "spread"),
    FailureConfig: ("start_timeout_s", "round_timeout_s", "stop_grace_s"),
    CheckpointConfig: ("every", "keep", "every_s"),
}


@dataclass(frozen=True)
class Vertical(Settings):
    """A vertical run.

    Args:
        parties: All of them; exactly one has the labels.
        plan: What is learned.
        run: What to run and when to stop; a round is a pass over the common rows.
        scaling: What it takes of the machine.
        failure: How long to wait.
        checkpoint: What to keep.
    """

    parties: tuple[Party, ...]
    plan: Plan
    run: RunConfig
    scaling: ScalingConfig
    failure: FailureConfig
    checkpoint: CheckpointConfig

    def __post_init__(self) -> None:
        object.__setattr__(self, "parties", tuple(self.parties))
        for party in self.parties:
            if not isinstance(party, Party):
                raise ConfigError(f"parties: {party!r} is no rc.vertical.Party")
        names = [party.name for party in self.parties]
        require(len(names) >= 2, "parties", names, "must be at least 2; a single one trains with rc.fit")
        require(len(set(names)) == len(names), "parties", names, "must have names of their own")
        labelled = [party.name for party in self.parties if party.label is not None]
        require(len(labelled) == 1, "parties with labels", labelled, f"must be exactly one of {', '.join(names)}")
        for settings in (self.run, self.scaling, self.failure, self.checkpoint):
            _check_used(settings)

    @property
    def labelled(self) -> Party:
        """The party with the labels."""
        return next(party for party in self.parties if party.label is not None)

    def to_plain(self) -> dict[str, Any]:
        """As plain data; what has no plain form is marked."""
        parts = plain_fields(self, strict=False)
        plans = {f"settings.{name}": plain for name, plain in plain_fields(self.plan, strict=False).items()}
        kept = {name: plain["init_args"] for name, plain in parts.items() if name not in ("parties", "plan")}
        return {"vertical": {"parties": parts["parties"], **plans}, **kept}


def _check_used(settings: Settings) -> None:
    """Raise ConfigError for a setting that a vertical run would not heed."""
    used = _USED[type(settings)]
    for each in fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, each.name)
        if each.name not in used and value != each.default:
            raise ConfigError(
                f"{type(settings).__name__}.{each.name}={value!r}: means nothing in a vertical run; leave it at "
                f"{each.default!r}. What counts here: {', '.join(used)}"
            )
