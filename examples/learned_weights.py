"""Three of ten parties hold wrong labels: weights that are learned on a validation set find out who."""

import argparse
from dataclasses import replace

import raycollab as rc

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--pool", default="ray", help="ray, or local for one process")
arguments.add_argument("--rounds", type=int, default=12)
given = arguments.parse_args()

TRAIN = rc.data.Digits("train")
VALIDATION = rc.data.Holdout(TRAIN, "test", 0.1)  # a tenth of the training data, which no agent gets

experiment = rc.Experiment(
    task=rc.ImageClassification(rc.models.MLP(num_features=64, num_outputs=10), num_classes=10),
    agents=rc.Split(
        source=rc.data.Holdout(TRAIN, "train", 0.1),
        partition=rc.Dirichlet(alpha=1.0, num_parts=10),
        learners=(rc.SGD(lr=0.1, momentum=0.9, epochs=2),),
    ),
    chain=(rc.Mean(),),
    test=rc.data.Digits("test"),
    attack=rc.Attack("label_flip", num_agents=3),
    run=rc.RunConfig(num_rounds=given.rounds),
    scaling=rc.ScalingConfig(pool=given.pool),
)

if __name__ == "__main__":
    for rule in (rc.Mean(), rc.LearnedWeights(VALIDATION)):
        result = rc.run_experiment(replace(experiment, chain=(rule,)))
        print(f"{type(rule).__name__}: accuracy {result.metrics['accuracy']:.3f} after {result.num_rounds} rounds")
    last = [row for row in result.agents if row["round"] == result.num_rounds]
    for row in last:
        bad = "holds wrong labels" if row["agent"] in experiment.misbehaving() else ""
        print(f"{row['agent']:>8}  weight {row['weight']:.4f}  {bad}".rstrip())
