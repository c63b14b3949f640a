"""Two parties with label sets of their own, digits 0-4 and 5-9, and 100 images each: one trunk, a head each.

Only the trunk is exchanged. Each party is scored on its own test set, and beside it trained alone for as many steps.
With so few images a trunk of one's own is better still: 0.924 and 0.858 together, 0.939 and 0.874 alone, with seed 0;
what else was tried stands in benchmarks/papers/README.md.

Set $RAYCOLLAB_DATA to the folder of mnist_train60k.parquet and mnist_test10k.parquet: columns `image` and `label`.
"""

import argparse

import raycollab as rc

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--pool", default="ray", help="ray, or local for one process")
arguments.add_argument("--rounds", type=int, default=60)
arguments.add_argument("--seed", type=int, default=0)
arguments.add_argument("--dir", default="runs")
given = arguments.parse_args()

LABELS = {"low": ("0", "1", "2", "3", "4"), "high": ("5", "6", "7", "8", "9")}
TRUNK = rc.models.CNN(64, in_channels=1, size=28, channels=(16, 32), hidden=64)
TASK = rc.ImageClassification(rc.models.Headed(TRUNK, rc.models.MLP(64, 5, hidden=())), num_classes=5)


def images(file: str, name: str) -> rc.data.Parquet:
    """The images of a party's digits; a digit's place among them is its label."""
    digits = tuple(map(int, LABELS[name]))
    shapes, statistics = {"image": (1, 28, 28)}, {"image": ((0.1307,), (0.3081,))}
    own = {"where": {"label": digits}, "categories": {"label": LABELS[name]}}
    return rc.data.Parquet(file, shapes=shapes, normalize=statistics, **own)


def party(name: str) -> rc.Agent:
    shard = images("mnist_train60k.parquet", name).split(rc.IID(num_parts=290, seed=given.seed))[0]
    learner = rc.SGD(lr=0.02, momentum=0.9, steps=5, batch_size=20)
    return rc.Agent(name, shard, learner, TASK, val_fraction=0.0, test=images("mnist_test10k.parquet", name))


def trained(*names: str) -> rc.Result:
    return rc.fit(
        [party(name) for name in names],
        rc.Mean(),
        test=images("mnist_test10k.parquet", names[0]),  # scored with a head that nobody trains: look at their own
        exchange=rc.Exchange(include=("trunk.*",)),
        run=rc.RunConfig(num_rounds=given.rounds, eval_every=given.rounds, seed=given.seed, dir=given.dir),
        scaling=rc.ScalingConfig(pool=given.pool),
    )


if __name__ == "__main__":
    together = trained("low", "high")
    for name in LABELS:
        alone = trained(name).agents[-1]["test_accuracy"]
        shared = next(row["test_accuracy"] for row in reversed(together.agents) if row["agent"] == name)
        print(f"{name:>4}: accuracy {shared:.4f} together, {alone:.4f} alone")
    print(f"next: raycollab evaluate {together.path} --agent high")
