"""Ten parties that each know few of the digits: one model for all, one for each party, and what each learns alone.

The common model is good at all ten digits, which nobody's own data need; a party's own model is good at its own.
"""

import argparse

import raycollab as rc
from raycollab.personal import fed_per

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--rule", default="ditto", help="fedper, fedrep, ditto, apfl, pfedme, fedbabu, fedala or tune")
arguments.add_argument("--pool", default="ray", help="ray, or local for one process")
arguments.add_argument("--rounds", type=int, default=30)
arguments.add_argument("--dir", default="runs")
given = arguments.parse_args()

SGD = rc.SGD(lr=0.1, epochs=1, batch_size=16)
HEAD = "3.*"  # the last layer of the net
LEARNERS = {
    "fedper": SGD,
    "fedrep": rc.FedRep(SGD),
    "ditto": rc.Ditto(SGD, mu=0.1),
    "apfl": rc.APFL(SGD),
    "pfedme": rc.PFedMe(SGD, mu=2.0, inner_steps=2, lr=0.5),
    "fedbabu": rc.FedBABU(SGD, tune=SGD),
    "fedala": rc.FedALA(SGD, head=HEAD),
    "tune": rc.FineTune(SGD, tune=SGD),
}
PRIVATE_HEAD = ("fedper", "fedrep", "fedbabu")

parties = rc.Split(rc.data.Digits("train"), rc.Dirichlet(0.2, num_parts=10), (LEARNERS[given.rule],), val_fraction=0.25)
together = rc.Experiment(
    rc.ImageClassification(rc.models.MLP(64, 10, hidden=(32,)), num_classes=10),
    parties,
    (rc.Mean(),),
    rc.data.Digits("test"),
    exchange=fed_per(HEAD) if given.rule in PRIVATE_HEAD else "all",
    run=rc.RunConfig(num_rounds=given.rounds, eval_every=given.rounds, dir=given.dir),
    scaling=rc.ScalingConfig(pool=given.pool),
)

if __name__ == "__main__":
    result = rc.run_experiment(together)
    alone = rc.run_experiment(rc.local_only(together))
    print(result.comparison(alone))
    if given.rule not in ("fedbabu", "tune"):  # whose own models are a few steps away, and not kept
        own = result.model(agent="party-0")
        print(f"party-0's own model on all digits: {own.evaluate(rc.data.Digits('test')).compute()['accuracy']:.4f}")
    print(f"next: raycollab evaluate {result.path}")
