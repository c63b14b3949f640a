"""Which parts of an experiment go together: what does not is refused by name, before anything runs."""

import math
from collections.abc import Iterator, Mapping, Sequence

from raycollab.aggregation import Aggregator, PrivateMean
from raycollab.chains import Chain
from raycollab.codecs import Codec
from raycollab.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from raycollab.errors import ConfigError
from raycollab.growth import Growth
from raycollab.keys import Key, public_keys
from raycollab.learners import Learner
from raycollab.modes import Mode, Synchronous
from raycollab.params import Exchange
from raycollab.secure import SecureSum
from raycollab.selection import Candidate, Selection, Uniform
from raycollab.settings import require
from raycollab.task import Task
from raycollab.transforms import NoiseShare


def check_selection(select: Selection, names: Sequence[str], selected: int, seed: int) -> None:
    """Raise ConfigError if a selection cannot choose so many of these agents."""
    select.check_agents(names)
    select.select([Candidate(name, 1) for name in names], selected, round=1, seed=seed)


def check_mode(mode: Mode, names: Sequence[str], selected: int) -> int:
    """How many updates a round of a mode brings.

    Raises: ConfigError if the mode does not go with these agents.
    """
    mode.check_agents(names)
    if mode.over_select and selected == len(names):
        raise ConfigError(
            f"{mode!r}: a round takes all {len(names)} agents already; set RunConfig.agents_per_round to fewer"
        )
    return mode.updates_per_round(selected)


def check_quorum(failure: FailureConfig, arriving: int) -> None:
    """Raise ConfigError if a round can never bring as many updates as it needs."""
    if (needed := failure.quorum(arriving)) > arriving:
        raise ConfigError(f"FailureConfig.min_agents={needed}: a round has only {arriving} agents")


def check_rule(rule: Aggregator, mode: str, names: Sequence[str], selected: int, arriving: int) -> None:
    """Raise ConfigError if a rule cannot work with what a round brings."""
    if rule.min_updates > arriving:
        raise ConfigError(
            f"{rule!r} needs {rule.min_updates} updates a round; {mode} of {selected} agents "
            f"brings {arriving}: select more agents or let the rule tolerate fewer bad ones"
        )
    rule.check_agents(names, arriving)


def check_noise(
    rule: Aggregator, learners: Mapping[str, Learner], select: Selection, mode: Mode, sampled: bool
) -> None:
    """Raise ConfigError if a rule that adds noise cannot count what it tells of parties, or learners need more of it.

    Args:
        rule: The aggregator.
        learners: By agent.
        select: Who is chosen.
        mode: Whom a round waits for.
        sampled: Whether a round takes some of the agents only.
    """
    if not isinstance(rule, PrivateMean):
        return
    name = type(rule).__name__
    accepted = f"must be Synchronous() with {name}, which counts rounds"
    require(isinstance(mode, Synchronous), "experiment.mode", mode, accepted)
    for agent, learner in learners.items():
        accepted = f"needs the common {list(learner.needs)}, and {name} merges deltas alone: take a learner such as SGD"
        require(not learner.needs, f"Agent({agent!r}).learner", learner, accepted)
    known = not sampled or not rule.amplified or isinstance(select, Uniform)
    accepted = f"must be Uniform() with {name}, which counts how likely an agent is in a round; or set amplified=False"
    require(known, "experiment.select", select, accepted)


def check_noise_shares(chain: Chain, learners: Mapping[str, Learner], least: int) -> None:
    """Raise ConfigError if agents make noise together, and rounds of too few are merged, or more leaves than a delta.

    Args:
        chain: What is done to updates.
        learners: By agent.
        least: Updates that a round needs.
    """
    for share in (step for step in chain.on_agent.transforms if isinstance(step, NoiseShare)):
        share.check_agents(len(learners), least)
        for name, learner in learners.items():
            sent = learner.needs
            accepted = f"sends {list(sent)} beside its delta, without NoiseShare's noise: take a learner such as SGD"
            require(not sent, f"Agent({name!r}).learner", learner, accepted)


def all_rules(rule: Aggregator) -> Iterator[Aggregator]:
    """A rule, and all that it is made of."""
    yield rule
    for inner in rule.inner:
        yield from all_rules(inner)


def check_secure_sums(
    rule: Aggregator,
    mode: Mode,
    select: Selection,
    upload: Codec | None,
    checkpoint: CheckpointConfig,
    learners: Mapping[str, Learner],
) -> None:
    """Raise ConfigError if something that goes with secure sums would have to see what a single agent sends.

    Args:
        rule: The aggregator, under attack if it is.
        mode: Whose updates are summed.
        select: Who is chosen.
        upload: How sums are written.
        checkpoint: What is kept.
        learners: By agent.
    """
    if not isinstance(rule, SecureSum):
        for inner in all_rules(rule):
            if isinstance(inner, SecureSum):
                raise ConfigError(
                    f"{rule!r}: it works on what single agents send, which SecureSum lets nobody see: give the chain "
                    f"SecureSum itself, without an attack that looks at honest updates"
                )
        return
    one_version = "must start all agents of a round from one version with SecureSum, such as Synchronous()"
    require(mode.horizon == 1, "experiment.mode", mode, one_version)
    require(not select.by_loss, "experiment.select", select, "goes by losses, which SecureSum keeps to the agents")
    accepted = "must be null with SecureSum: masked numbers look random, and nothing makes them smaller"
    require(upload is None, "experiment.upload", upload, accepted)
    kept = "must be false with SecureSum: whoever reads the run folder would read the updates"
    require(not checkpoint.updates, "CheckpointConfig.updates", checkpoint.updates, kept)
    sent = {name: sorted({*learner.sends, *learner.needs}) for name, learner in learners.items()}
    first = next(iter(sent))
    for name, names in sent.items():
        if names != sent[first]:
            raise ConfigError(
                f"agent {name!r} sends {names}, and {first!r} {sent[first]}: masks cancel only where all send the "
                f"same; give all agents learners alike"
            )


def check_slices(scaling: ScalingConfig, rule: Aggregator, upload: Codec | None) -> None:
    """Raise ConfigError if vectors are to be summed slice by slice, and more is done with them than that."""
    if scaling.slices and (upload is not None or not rule.sums):
        why = f"{upload!r} writes whole vectors" if upload is not None else f"{rule!r} does more than sum"
        raise ConfigError(
            f"ScalingConfig.slices={scaling.slices}: {why}; set it to 0, which lets the driver take in what hosts send"
        )


def check_discounts(mode: Mode, rule: Aggregator, learners: Mapping[str, Learner]) -> None:
    """Raise ConfigError if a mode would discount only one of two things that have to stay in step."""
    if not mode.discounts:
        return
    if not rule.takes_discounts:
        raise ConfigError(
            f"{rule!r} keeps what it remembers in step with what agents remember, and {mode!r} would discount "
            f"only the former: set its power to 0"
        )
    for name, learner in learners.items():
        if learner.needs:
            raise ConfigError(
                f"agent {name!r}: {type(learner).__name__} keeps what it remembers in step with the common "
                f"{list(learner.needs)}, and {mode!r} would discount only the latter: set its power to 0"
            )


def check_remade(mode: Mode, rule: Aggregator, learners: Mapping[str, Learner]) -> None:
    """Raise ConfigError if a rule makes parameters anew, and agents go by what is of the old ones."""
    if not rule.remakes:
        return
    name = [type(each).__name__ for each in all_rules(rule) if each.remakes][-1]
    one_version = f"must start all agents of a round from one version with {name}, such as Synchronous()"
    require(mode.horizon == 1, "experiment.mode", mode, one_version)
    for agent, learner in learners.items():
        accepted = f"needs the common {list(learner.needs)}, which {name} does not make anew: take one such as SGD"
        require(not learner.needs, f"Agent({agent!r}).learner", learner, accepted)


def check_blocks(run: RunConfig, count: int) -> None:
    """Raise ConfigError if there are fewer agents than blocks of them."""
    if (run.num_blocks or 1) > count:
        raise ConfigError(
            f"RunConfig.num_blocks={run.num_blocks}: there are only {count} agents, and a block needs at least one"
        )


def check_ledger(checkpoint: CheckpointConfig, keys: Mapping[str, Key | None]) -> None:
    """Raise ConfigError if some agents sign and others do not, or there is no ledger to sign in."""
    if public_keys(keys) and checkpoint.ledger is False:
        raise ConfigError(
            "CheckpointConfig.ledger=False: agents have keys, and what they sign stands in the ledger; set it to true "
            "or null, or give agents no keys"
        )


def check_growth(
    growth: Growth | None,
    task: Task,
    exchange: Exchange,
    chain: Chain,
    mode: Mode,
    checkpoint: CheckpointConfig,
    learners: Mapping[str, Learner],
) -> None:
    """Raise ConfigError if the model grows, and something else of the experiment has no room for it."""
    if growth is None:
        return
    rule = chain.aggregator
    accepted = "must be Exchange(slices=True) with growth: smaller forms are the first rows and columns of larger ones"
    require(exchange.slices, "experiment.exchange", exchange, accepted)
    smoothing = getattr(task, "label_smoothing", 0.0)
    fewer = any(getattr(form, "num_outputs", math.inf) < getattr(task, "num_classes", 0) for form in growth.forms)
    accepted = "must be 0 with a head that grows: a missing output has no share of the target"
    require(not (fewer and smoothing), "label_smoothing", smoothing, accepted)
    if not rule.takes_discounts:
        raise ConfigError(
            f"{rule!r} takes no update that counts less than in full, and agents whose rows wait for a larger model "
            f"send such: take another rule, such as Mean(), or leave out growth"
        )
    if rule.validates_on() is not None:
        raise ConfigError(f"{rule!r} judges merges by a model of one size: take another rule, or leave out growth")
    accepted = f"must be 0 with {mode!r}: updates of a step that was taken back would still come in"
    require(mode.horizon == 1 or not growth.probation, "Growth.probation", growth.probation, accepted)
    accepted = "must be 0 with a head that grows: there is nothing to be taught of a missing output"
    distil = getattr(task, "distil", 0.0)
    require(not (fewer and distil), "distil", distil, accepted)
    for step in chain.on_driver.transforms:
        accepted = "keeps elements at 0 that a step of growth fills: prune in a later run, with RunConfig.start"
        require(not step.last, "chain", step, accepted)
    accepted = "must be False with growth: a round in which the model grows cannot be computed again from updates"
    require(not checkpoint.updates, "CheckpointConfig.updates", checkpoint.updates, accepted)
    for name, learner in learners.items():
        accepted = "learns one of several models, and only one can grow: take another learner"
        require(not learner.models, f"Agent({name!r}).learner", learner, accepted)
        accepted = (
            "keeps a control variate, which would have to begin anew with all agents at once: take another learner"
        )
        require(not learner.needs, f"Agent({name!r}).learner", learner, accepted)
        accepted = "compares all outputs, and of a head that grows some are missing: take another learner"
        require(not (fewer and learner.compares_outputs), f"Agent({name!r}).learner", learner, accepted)


def check_guard(run: RunConfig, rule: Aggregator) -> None:
    """Raise ConfigError if harmed agents are to weigh more, and the rule has no weights."""
    if run.max_harm is not None and run.on_harm == "reweigh" and "weights" not in rule.laws:
        raise ConfigError(
            f"RunConfig.on_harm='reweigh': {rule!r} does not go by the weights of agents; set it to 'stop', or take a "
            f"rule that does, such as Mean()"
        )
