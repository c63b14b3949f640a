"""Nine parties, of which three can hold a whole net, three half of it and three a quarter: one model for all."""

import argparse

import raycollab as rc
from raycollab.models import Width

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--pool", default="ray", help="ray, or local for one process")
arguments.add_argument("--rounds", type=int, default=40)
arguments.add_argument("--dir", default="runs")
given = arguments.parse_args()

digits, test = rc.data.Digits("train"), rc.data.Digits("test")
plain = rc.ImageClassification(rc.models.MLP(64, 10, hidden=(64, 64)), num_classes=10)
held = (None, Width(0.5), Width(0.25))  # party i holds part i modulo three
parties = rc.Split(digits, rc.Dirichlet(0.5, num_parts=9), (rc.SGD(lr=0.2, batch_size=16),), holds=held)
result = rc.run_experiment(
    rc.Experiment(
        rc.tasks.OrderedDropout(plain, widths=(0.25, 0.5, 1.0)),  # each step learns at one of the widths
        parties,
        (rc.Mean(),),
        test,
        exchange=rc.Exchange(slices=True),
        run=rc.RunConfig(num_rounds=given.rounds, eval_every=given.rounds, dir=given.dir),
        scaling=rc.ScalingConfig(pool=given.pool),
    )
)
for width in (1.0, 0.5, 0.25):
    model = result.model().part(Width(width))
    size = sum(parameter.numel() for parameter in model.module.parameters())
    accuracy = model.evaluate(test).compute()["accuracy"]
    print(f"width {width:.2f}: {size:6,} parameters, accuracy {accuracy:.3f}")
small = rc.load(result.path, agent="party-2").module[1].weight
print(f"\nparty-2 holds the first {len(small)} of {len(result.model().module[1].weight)} features of each hidden layer")
