"""A sweep: which rule, which server rate, how many local epochs? Scored on validation data, then tested once."""

import argparse
from dataclasses import replace

import raycollab as rc
from raycollab.experiment_file import read_experiment

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--samples", type=int, default=16)
arguments.add_argument("--rounds", type=int, default=16)
given = arguments.parse_args()

if __name__ == "__main__":
    digits = read_experiment(None, ["--run.target=null", f"--run.num_rounds={given.rounds}", "--scaling.pool=local"])
    train = digits.agents.source
    validation = rc.data.Holdout(train, "test", 0.15)  # of the training data; the parties share the rest
    parties = replace(digits.agents, source=rc.data.Holdout(train, "train", 0.15))
    sweep = rc.search(
        replace(digits, agents=parties),
        rc.Search(
            space={
                "chain.1": {"choice": [rc.Mean(), rc.Mean("uniform"), rc.Median()]},
                "chain.2.lr": {"loguniform": [0.3, 2.0]},
                "agents.learners.0.epochs": {"choice": [1, 2, 4]},
            },
            validation=validation,
            num_samples=given.samples,
        ),
    )
    print(sweep.report())
    result = rc.run_experiment(sweep.winner)
    print(f"the winner on the test set: accuracy {result.metrics['accuracy']:.3f}")
    print(f"next: raycollab run {sweep.path}/winner.yaml")
