"""Few-shot learning across parties: learn to tell digits apart from two examples each, then meet digits never seen.

Three parties draw small tasks from their own digits 0 to 6: two of them, two examples of each to learn from. What they
look for together is a start from which that is enough. It is judged on tasks of 7, 8 and 9, which no party trained
with; then a new party adapts the model to its own few examples, and uses it.
"""

import argparse

import torch

import raycollab as rc

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--rounds", type=int, default=60)
arguments.add_argument("--pool", default="ray", help="'local' runs all of it in one process")
given = arguments.parse_args()

task = rc.ImageClassification(rc.models.MLP(64, 2, hidden=(64, 64)), num_classes=2)
learner = rc.MAML(lr=0.3, steps=3, tasks=rc.FewShot(2, 2, 8, classes=(0, 1, 2, 3, 4, 5, 6)), episodes=8)
unseen = rc.FewShot(2, 2, 8, classes=(7, 8, 9))
judged = rc.MetaTask(task, learner, unseen, episodes=200)
shards = rc.data.Digits("train").split(rc.IID(3))
agents = [rc.Agent(f"party-{i}", shard, learner, val_fraction=0.0) for i, shard in enumerate(shards)]


def new_party(each: int = 5) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Sevens and nines: a few with their names, 0 and 1, and the rest to be told apart."""
    columns = rc.data.Digits("test").read()
    places = [(columns["label"] == digit).nonzero()[:, 0] for digit in (7, 9)]
    few, rest = (torch.cat([rows[part] for rows in places]) for part in (slice(0, each), slice(each, 35)))
    names = torch.arange(2).repeat_interleave(each)
    return {"image": columns["image"][few], "label": names}, {
        "image": columns["image"][rest],
        "label": (columns["label"][rest] == 9).long(),
    }


if __name__ == "__main__":
    result = rc.fit(
        agents,
        rc.chain(rc.Mean(), rc.ServerOptimizer("Adam", {"lr": 0.003})),
        test=rc.data.Digits("test"),
        task=judged,
        run=rc.RunConfig(num_rounds=given.rounds, eval_every=10),
        scaling=rc.ScalingConfig(pool=given.pool),
        callbacks=[rc.Progress()],
    )
    found = rc.meta.few_shot(result.model(), learner, rc.Shard(rc.data.Digits("test").read(), val_fraction=0.0, seed=0),
                             episodes=200, metric="accuracy")  # fmt: skip
    print(f"tasks of all digits: accuracy {found['before']} before, {found['after']} after adaptation")
    support, queries = new_party()
    adapted = result.adapt(support)
    right = adapted.predict({"image": queries["image"]})["prediction"] == queries["label"]
    print(f"a new party, after {len(support['label'])} examples: accuracy {right.float().mean():.3f}")
    print(f"next: raycollab adapt {result.path} FEW.parquet --out model/")
