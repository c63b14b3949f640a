"""One row for every exported rule: a new rule that has none fails test_every_exported_rule_has_a_row."""

import inspect
from dataclasses import fields

import raycollab as rc

AGGREGATORS = {
    rc.Mean: (rc.Mean(), rc.Mean("uniform"), rc.Mean(by_agent={f"agent-{i}": i % 3 for i in range(9)})),
    rc.Median: (rc.Median(),),
    rc.FedNova: (rc.FedNova(),),
}
TRANSFORMS = {
    rc.ClipNorm: (rc.ClipNorm(0.05), rc.ClipNorm(1e6)),
    rc.Momentum: (rc.Momentum(0.9), rc.Momentum(0.5, lr=0.7, nesterov=True)),
}
SHORT = {"steps": 2, "batch_size": 8}
LEARNERS = {
    rc.SGD: (
        rc.SGD(lr=0.1, epochs=1),
        rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, **SHORT),
        rc.SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01, max_grad_norm=0.5, **SHORT),
    ),
    rc.Optimizer: (
        rc.Optimizer("AdamW", {"lr": 1e-2}, **SHORT),
        rc.Optimizer("AdamW", {"lr": 1e-2, "amsgrad": True}, keep_state=True, **SHORT),
        rc.Optimizer("SGD", {"lr": 0.1}, keep_state=True, **SHORT),
        rc.Optimizer("SGD", {"lr": 0.1, "momentum": 0.9}, keep_state=True, max_grad_norm=1.0, **SHORT),
    ),
}
LEARNERS |= {
    rc.Prox: (rc.Prox(rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, **SHORT), mu=0.5),),
    rc.Scaffold: (rc.Scaffold(rc.SGD(lr=0.1, **SHORT)), rc.Scaffold(rc.SGD(lr=0.1, **SHORT), option=1)),
}
TABLES = {rc.Aggregator: AGGREGATORS, rc.Transform: TRANSFORMS, rc.Learner: LEARNERS}
NEEDS_RAY = {"fit", "run_experiment"}  # not classes; importing them would start to import ray


def exported(kind: type) -> set[type]:
    """Every concrete class of a kind that raycollab's public names reach."""
    values = [getattr(rc, name) for name in rc.__all__ if name not in NEEDS_RAY]
    packages = [value for value in values if inspect.ismodule(value)]
    values += [getattr(package, name) for package in packages for name in getattr(package, "__all__", ())]
    return {
        value
        for value in values
        if isinstance(value, type) and issubclass(value, kind) and not inspect.isabstract(value)
    }


def instances(table: dict) -> list:
    """All rows of a table."""
    return [rule for rules in table.values() for rule in rules]


def short(rule: object) -> str:
    """A rule's name and what differs from the defaults, for the names of tests."""
    if isinstance(rule, tuple):
        return " ".join(map(short, rule))
    changed = [f for f in fields(rule) if getattr(rule, f.name) != f.default]
    return f"{type(rule).__name__}({', '.join(f'{f.name}={getattr(rule, f.name)}' for f in changed)})"


def chains() -> list[tuple]:
    """Every aggregator alone; every transform left and right of the mean."""
    alone = [(rule,) for rule in instances(AGGREGATORS)]
    pairs = [[(step, rc.Mean()), (rc.Mean(), step)] for step in instances(TRANSFORMS)]
    return alone + [pair for both in pairs for pair in both]
