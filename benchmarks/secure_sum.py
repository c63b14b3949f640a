"""What secure sums cost a round: one JSON line for each setting.

    python -m benchmarks.secure_sum --repeats 8

Ten agents train a net of a million parameters, one after another in this process, with a plain mean and with a secure
sum, in turns. What is compared is the time that the process computes, on one core, in the fastest round of each, since
other work on the machine only adds to it. Agents of a real run mask side by side, each on its own.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace

import raycollab as rc
from raycollab.checkpoint import RunFolder
from raycollab.runtime.pool import LocalPool

AGENTS = 10
HIDDEN = (960, 960)  # 994,570 parameters
CHAINS = {
    "mean": (rc.Mean(),),
    "secure 32": (rc.SecureSum(rc.Mean(), min_agents=4),),
    "secure 64": (rc.SecureSum(rc.Mean(), min_agents=4, bits=64),),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=8, help="rounds of each setting that are timed")
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 2, 5])
    arguments = parser.parse_args()
    for epochs in arguments.epochs:
        for line in measure(arguments.repeats, epochs):
            print(json.dumps(line))


def measure(repeats: int, epochs: int, hidden: tuple[int, ...] = HIDDEN) -> list[dict]:
    """A line for each chain: CPU seconds a round, bytes a round, and both over those of the mean."""
    drivers = {name: started(chain, epochs, hidden) for name, chain in CHAINS.items()}
    reports: dict[str, list] = {name: [driver.step()] for name, driver in drivers.items()}  # the first warms up
    seconds: dict[str, list[float]] = {name: [] for name in drivers}
    for _ in range(repeats):
        for name, driver in drivers.items():
            began = time.process_time()
            reports[name].append(driver.step())
            seconds[name].append(time.process_time() - began)
    plain_s = min(seconds["mean"])
    plain_bytes = AGENTS * reports["mean"][-1].agents[0].num_bytes
    return [
        {
            "sum": name,
            "epochs": epochs,
            "parameters": drivers["mean"].offer.spec.num_params,
            "cpu_ms_a_round": round(1000 * min(seconds[name]), 1),
            "time_over_mean": round(min(seconds[name]) / plain_s, 3),
            "bytes_over_mean": round(reports[name][-1].bytes_up / plain_bytes, 4),
        }
        for name in drivers
    ]


def started(chain: tuple, epochs: int, hidden: tuple[int, ...]) -> rc.Driver:
    """A driver with ten hosts of an agent each; an update crosses by itself, as in production."""
    shards = rc.data.Digits("train").split(rc.IID(num_parts=AGENTS))
    learner = rc.SGD(lr=0.05, epochs=epochs, batch_size=16)
    agents = tuple(rc.Agent(f"agent-{i}", shard, learner) for i, shard in enumerate(shards))
    task = rc.ImageClassification(rc.models.MLP(64, 10, hidden=hidden), num_classes=10)
    run = rc.RunConfig(num_rounds=1000, eval_every=1000)
    keep = rc.CheckpointConfig(every=1000, ledger=False)
    experiment = rc.Experiment(
        task, rc.Parties(agents), chain, rc.data.Digits("test"), run=run, checkpoint=keep
    ).resolved()
    layout = replace(experiment.layout(num_cpus=1), num_hosts=AGENTS)
    pool = LocalPool(experiment.session(), experiment.members(), layout)
    driver = rc.Driver(experiment.plan(), pool, RunFolder.create(tempfile.mkdtemp()))
    driver.start()
    return driver


if __name__ == "__main__":
    main()
