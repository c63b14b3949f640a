"""Two parties with label sets of their own, digits 0-4 and 5-9, that stand anywhere: one trunk, a head each.

500 images each, moved by up to four pixels; only the trunk is exchanged. Each party is scored on its own test set, and
beside it trained alone for as many steps, at the rate that was best for that: 0.866 and 0.766 together, 0.833 and 0.710
alone with seed 0, and better by 3 to 7 points with each of five seeds. 25 seconds on one core.

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
NET = rc.models.Headed(rc.models.MLP(784, 64, hidden=(200,)), rc.models.MLP(64, 5, hidden=()))
TASK = rc.ImageClassification(NET, num_classes=5)


def images(file: str, name: str) -> rc.Source:
    """The images of a party's digits, each moved by some pixels; a digit's place among them is its label."""
    digits = tuple(map(int, LABELS[name]))
    shapes, statistics = {"image": (1, 28, 28)}, {"image": ((0.1307,), (0.3081,))}
    own = {"where": {"label": digits}, "categories": {"label": LABELS[name]}}
    return rc.data.Distorted(rc.data.Parquet(file, shapes=shapes, normalize=statistics, **own), (rc.data.Shift(4),))


def party(name: str, rate: float) -> rc.Agent:
    shard = images("mnist_train60k.parquet", name).split(rc.IID(num_parts=60, seed=given.seed))[0]
    sizes = {"steps": 10, "batch_size": 20, "schedule": rc.Cosine(length=given.rounds)}
    learner = rc.SGD(lr=rate, momentum=0.9, keep_momentum=True, **sizes)
    return rc.Agent(name, shard, learner, TASK, val_fraction=0.0, test=images("mnist_test10k.parquet", name))


def trained(*names: str, rate: float) -> rc.Result:
    return rc.fit(
        [party(name, rate) for name in names],
        rc.Mean(),
        test=images("mnist_test10k.parquet", names[0]),  # scored with a head that nobody trains: look at their own
        exchange=rc.Exchange(include=("trunk.*",)),
        run=rc.RunConfig(num_rounds=given.rounds, eval_every=given.rounds, seed=given.seed, dir=given.dir),
        scaling=rc.ScalingConfig(pool=given.pool),
    )


if __name__ == "__main__":
    together = trained("low", "high", rate=0.05)
    for name in LABELS:
        alone = trained(name, rate=0.02).agents[-1]["test_accuracy"]
        shared = next(row["test_accuracy"] for row in reversed(together.agents) if row["agent"] == name)
        print(f"{name:>4}: accuracy {shared:.4f} together, {alone:.4f} alone")
    print(f"next: raycollab evaluate {together.path} --agent high")
