"""One row for every exported rule: a new rule that has none fails test_every_exported_rule_has_a_row."""

import inspect
from dataclasses import dataclass, fields, replace

import raycollab as rc


@dataclass(frozen=True)
class Near:
    """An objective for rules that validate: half the squared distance of the delta from 1 in all elements."""

    def loss(self, change):
        return float((change["delta"] - 1).square().sum() / 2)

    def losses(self, changes):
        return [self.loss(change) for change in changes]

    def gradient(self, change, *, part, batch_size):
        return change["delta"] - 1


LEARNED = rc.LearnedWeights(rc.data.Holdout(rc.data.Digits("train"), "test", 0.05), steps=3).judged(Near())
WORTH = rc.Contributions(validation=rc.data.Holdout(rc.data.Digits("train"), "test", 0.05)).judged(Near())

AGGREGATORS = {
    rc.Mean: (
        rc.Mean(),
        rc.Mean("uniform"),
        rc.Mean("tokens"),
        rc.Mean(exact=True),
        rc.Mean(scalar="counted"),
        rc.Mean(by_agent={f"agent-{i}": i % 3 for i in range(8)}),
    ),
    rc.Contributions: (WORTH, replace(WORTH, method="leave_one_out", weigh=True).judged(Near())),
    rc.Median: (rc.Median(),),
    rc.FedNova: (rc.FedNova(),),
    rc.FedDyn: (rc.FedDyn(),),
    rc.AdaptiveClip: (rc.AdaptiveClip(initial=0.1),),
    rc.TrimmedMean: (rc.TrimmedMean(0.25),),
    rc.Krum: (rc.Krum(f=1), rc.Krum(f=1, num_selected=3)),
    rc.Bulyan: (rc.Bulyan(f=1),),
    rc.GeometricMedian: (rc.GeometricMedian(), rc.GeometricMedian(weights="uniform")),
    rc.CenteredClip: (rc.CenteredClip(tau=0.1),),
    rc.NormBound: (rc.NormBound(0.1),),
    rc.PrivateMean: (rc.PrivateMean(noise=1.0, max_norm=0.1), rc.PrivateMean(noise=1.0, max_norm=0.1, amplified=False)),
    rc.PrivateAdaptiveMean: (rc.PrivateAdaptiveMean(noise=1.0),),
    rc.Bucketing: (rc.Bucketing(rc.Median(), size=2), rc.Bucketing(rc.CenteredClip(tau=0.1), size=2)),
    rc.FedAsync: (rc.FedAsync(),),
    rc.FedBuff: (rc.FedBuff(), rc.FedBuff(lr=0.5)),
    rc.QFedAvg: (rc.QFedAvg(q=1.0, lr=0.1),),
    rc.AgnosticFL: (rc.AgnosticFL(lr=0.1),),
    rc.Tilted: (rc.Tilted(1.0), rc.Tilted(-1.0)),
    rc.FedMGDA: (rc.FedMGDA(lr=0.1), rc.FedMGDA(epsilon=0.1)),
    rc.Slerp: (rc.Slerp(),),
    rc.TaskArithmetic: (rc.TaskArithmetic(0.5),),
    rc.Ties: (rc.Ties(),),
    rc.Dare: (rc.Dare(0.5),),
    rc.FisherMean: (rc.FisherMean(),),
    rc.SecureSum: (
        rc.SecureSum(rc.Mean("uniform")),
        rc.SecureSum(rc.FedNova(), min_agents=4, bits=64, max_weight=4096.0),
    ),
    rc.LearnedWeights: tuple(
        replace(LEARNED, **each).judged(Near()) for each in ({}, {"per": "group"}, {"method": "cma"})
    ),
    rc.PerCluster: (rc.PerCluster(), rc.PerCluster(rc.AdaptiveClip(initial=0.1)), rc.PerCluster(rc.Median())),
    rc.PerGroup: (rc.PerGroup({"1.weight": rc.AgnosticFL(lr=0.1), "*": rc.Median()}),),
}
TRANSFORMS = {
    rc.ClipNorm: (rc.ClipNorm(0.05), rc.ClipNorm(1e6)),
    rc.Momentum: (rc.Momentum(0.9), rc.Momentum(0.5, lr=0.7, nesterov=True)),
    rc.FedAdagrad: (rc.FedAdagrad(),),
    rc.FedAdam: (rc.FedAdam(),),
    rc.FedYogi: (rc.FedYogi(),),
    rc.ServerOptimizer: (rc.ServerOptimizer("AdamW", {"lr": 1e-2, "weight_decay": 0.1}),),
    rc.Scale: (rc.Scale(rc.Cosine(length=8)),),
    rc.GaussianNoise: (rc.GaussianNoise(1e-3),),
    rc.NoiseShare: (rc.NoiseShare(noise=1.0, max_norm=0.1, agents=1),),
    rc.Prune: (rc.Prune(0.3, begin=1, end=4), rc.Prune(0.5, end=2, exclude=("1.bias",))),
    rc.Sign: (rc.Sign(),),
    rc.TopK: (rc.TopK(0.1),),
    rc.RandomK: (rc.RandomK(0.1),),
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
        rc.Optimizer("Adafactor", {"lr": 1e-2}, keep_state=True, **SHORT),
    ),
}
LEARNERS |= {
    rc.Prox: (rc.Prox(rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, **SHORT), mu=0.5),),
    rc.Scaffold: (
        rc.Scaffold(rc.SGD(lr=0.1, **SHORT)),
        rc.Scaffold(rc.SGD(lr=0.1, **SHORT), option=1),
        rc.Scaffold(rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, **SHORT)),
    ),
    rc.DPSGD: (rc.DPSGD(noise=1.0, max_grad_norm=1.0, lr=0.1, momentum=0.9, **SHORT),),
    rc.FedSGD: (rc.FedSGD(batch_size=64), rc.FedSGD(batch_size=8, steps=2)),
    rc.Dyn: (rc.Dyn(rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, **SHORT), alpha=0.5),),
    rc.Moon: (rc.Moon(rc.SGD(lr=0.1, **SHORT)),),
    rc.StartLoss: (rc.StartLoss(rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, **SHORT)),),
    rc.GroupRates: (
        rc.GroupRates(rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, **SHORT), {"1.*": 0.5, "*.bias": 0.0}),
    ),
    rc.ModalityCounts: (rc.ModalityCounts(rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, **SHORT), ("image",)),),
    rc.Fisher: (rc.Fisher(rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, **SHORT), num_examples=4),),
}
EPISODES = {"tasks": rc.PartyTask(4, 4), "episodes": 2}
ADAM = rc.Optimizer("Adam", {"lr": 1e-2}, keep_state=True)
LEARNERS |= {
    rc.MAML: (
        rc.MAML(lr=0.1, **EPISODES),
        rc.MAML(lr=0.1, steps=2, outer_steps=2, outer=ADAM, vectorised=True, **EPISODES),
    ),
    rc.FOMAML: (rc.FOMAML(lr=0.1, **EPISODES),),
    rc.Reptile: (rc.Reptile(lr=0.1, steps=2, **EPISODES),),
    rc.ANIL: (rc.ANIL(lr=0.1, head=("3.*",), **EPISODES),),
    rc.PerFedAvg: (rc.PerFedAvg(lr=0.1, hessian="difference", outer_steps=2, outer=rc.SGD(lr=0.1), **EPISODES),),
    rc.MetaSGD: (rc.MetaSGD(outer=ADAM, **EPISODES),),
}
SOME = rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, **SHORT)
LEARNERS |= {
    rc.Ditto: (rc.Ditto(SOME, mu=0.5), rc.Ditto(SOME, own=ADAM)),
    rc.APFL: (rc.APFL(SOME, alpha_lr=0.1),),
    rc.PFedMe: (rc.PFedMe(SOME, mu=2.0, inner_steps=2, lr=0.1),),
    rc.FedALA: (rc.FedALA(SOME, head=("1.bias",), first_passes=2),),
    rc.FineTune: (rc.FineTune(SOME, tune=rc.SGD(lr=0.1, **SHORT)),),
    rc.FedRep: (rc.FedRep(SOME), rc.FedRep(rc.SGD(lr=0.1, **SHORT), head=ADAM)),
    rc.FedBABU: (rc.FedBABU(SOME, tune=rc.SGD(lr=0.1, **SHORT)),),
}
MOVING = rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, **SHORT)
ALWAYS = rc.adapt.PageHinkley(delta=0.0, threshold=1e-6)  # alarms as soon as one example is above the others' mean
ACTIONS = (rc.adapt.Branch(include=("1.bias",)), rc.adapt.RaiseRate(rounds=1), rc.adapt.Rehearse())
LEARNERS |= {
    rc.OnDrift: (rc.OnDrift(MOVING, (rc.Watch("loss", ALWAYS, ACTIONS),), window=16, warmup=1, cooldown=0),),
    rc.Replay: (rc.Replay(MOVING, rc.adapt.Buffer(32)), rc.Replay(MOVING, rc.adapt.Buffer(32, by=None), share=0.2)),
    rc.EWC: (rc.EWC(MOVING, strength=10.0, at_rounds=(3,), num_examples=4),),
    rc.LwF: (rc.LwF(MOVING, at_rounds=(3,)),),
    rc.AdaptiveProx: (rc.AdaptiveProx(MOVING, mu=0.1, patience=1),),
    rc.Plateau: (rc.Plateau(MOVING, patience=1, progress=0.5),),
    rc.AdaptiveSteps: (rc.AdaptiveSteps(MOVING, steps=2, most=4),),
    rc.BalancedSteps: (rc.BalancedSteps(MOVING, steps=2, speeds={f"agent-{i}": 1.0 + i for i in range(8)}),),
}
MODES = {
    rc.Synchronous: (rc.Synchronous(),),
    rc.SemiSynchronous: (rc.SemiSynchronous(1.0, min_agents=2),),
    rc.Buffered: (rc.Buffered(2, max_staleness=3), rc.Buffered(1, durations=rc.LogNormal())),
    rc.Cyclic: (rc.Cyclic(),),
}
SELECTIONS = {
    rc.Uniform: (rc.Uniform(),),
    rc.ByWeight: (rc.ByWeight(), rc.ByWeight({f"agent-{i}": 1.0 + i for i in range(8)})),
    rc.RoundRobin: (rc.RoundRobin(),),
    rc.PowerOfChoice: (rc.PowerOfChoice(6),),
    rc.LossAware: (rc.LossAware(0.5),),
}
CODECS = {
    rc.BFloat16: (rc.BFloat16(),),
    rc.Quantize: (rc.Quantize(8), rc.Quantize(4, chunk=64)),
    rc.Sparse: (rc.Sparse(),),
}
TABLES = {
    rc.Aggregator: AGGREGATORS,
    rc.Transform: TRANSFORMS,
    rc.Learner: LEARNERS,
    rc.Mode: MODES,
    rc.Selection: SELECTIONS,
    rc.Codec: CODECS,
}
APART = {  # with models of their own
    *(rc.CAVIA, rc.ProtoNet),  # a head by another name, or that never learns: tests/meta
    *(rc.Distill, rc.Student),  # they learn together: test_distillation.py
    rc.IFCA,  # with PerCluster, which every chain of it has
    rc.LoRAProduct,  # test_adapters.py
}
NEEDS_RAY = {"fit", "run_experiment", "Search", "Sweep", "resume_search", "search"}  # importing them imports ray


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
    changed = [f for f in fields(rule) if f.init and getattr(rule, f.name) != f.default]
    return f"{type(rule).__name__}({', '.join(f'{f.name}={getattr(rule, f.name)}' for f in changed)})"


def chains() -> list[tuple]:
    """Every aggregator alone; every transform left and right of the mean, if it can stand there."""
    alone = [(rule,) for rule in instances(AGGREGATORS)]
    steps = [step for step in instances(TRANSFORMS) if not step.together]
    shared = [(step, rc.Mean("uniform")) for step in instances(TRANSFORMS) if step.together]
    left = [(step, rc.Mean()) for step in steps if not step.last]
    return alone + shared + left + [(rc.Mean(), step) for step in steps]


def sender(learner: rc.Learner, chain: tuple) -> rc.Learner:
    """A learner that sends what a chain's aggregator needs beside what all send."""
    needs = {name for step in chain if isinstance(step, rc.Aggregator) for name in step.needs}
    if "alpha" in needs:
        learner = rc.Dyn(learner, alpha=0.5)
    if "start_loss" in needs:
        learner = rc.StartLoss(learner)
    if "cluster" in needs:
        learner = rc.IFCA(learner, clusters=2)
    return rc.Fisher(learner, num_examples=4) if "fisher" in needs else learner


def settings_of(learner: rc.Learner) -> dict:
    """What an experiment must set for a learner: what is not exchanged, such as heads, or inner rates in the net."""
    if isinstance(learner, rc.MetaSGD):
        net = rc.models.WithRates(rc.models.MLP(64, 10, hidden=(16,)), 0.05)
        return {"exchange": rc.Exchange(exclude=("rate/*",)), "task": rc.ImageClassification(net, num_classes=10)}
    return {"exchange": rc.Exchange(exclude=("3.*",))} if isinstance(learner, rc.FedRep | rc.FedBABU) else {}
