"""How fast a run answers while its agents train: one JSON line.

    python -m benchmarks.control_channel --seconds 20

The built-in experiment runs without an end on a Ray cluster of this machine; meanwhile the driver is asked for its
status twenty times a second, through its named actor, as `raycollab status` does once it is attached to the cluster.
"""

import argparse
import json
import tempfile
import threading
import time

import ray

from raycollab.announcement import NAMESPACE
from raycollab.errors import Interrupted
from raycollab.experiment_file import read_experiment
from raycollab.fitting import run_experiment

PAUSE_S = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--agents-per-host", type=int, default=4)
    arguments = parser.parse_args()
    ray.init(address="local", include_dashboard=False, configure_logging=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        settings = (f"run.dir={folder}", "run.name=run", "run.num_rounds=1000000", "run.target=null")
        host = f"scaling.agents_per_host={arguments.agents_per_host}"
        experiment = read_experiment(None, [f"--{setting}" for setting in (*settings, host)])
        run = threading.Thread(target=to_the_end, args=(experiment,))
        run.start()
        driver = first_answer(f"{folder}/run")
        began = ray.get(driver.status.remote())["round"]
        waits = answers(driver, arguments.seconds)
        rounds = ray.get(driver.status.remote())["round"] - began
        ray.get(driver.stop.remote(60.0))
        run.join()
    ray.shutdown()
    waits.sort()
    line = {f"p{share}_ms": round(1000 * waits[int(share / 100 * (len(waits) - 1))], 2) for share in (50, 90, 99)}
    line |= {"max_ms": round(1000 * waits[-1], 2), "questions": len(waits), "rounds_meanwhile": rounds}
    print(json.dumps(line))


def to_the_end(experiment):
    """Run until it is stopped."""
    try:
        run_experiment(experiment)
    except Interrupted:
        return


def first_answer(name):
    """The driver, once it has committed a round."""
    while True:
        try:
            driver = ray.get_actor(name, namespace=NAMESPACE)
            if ray.get(driver.status.remote())["round"]:
                return driver
        except ValueError:  # it has not been made yet
            pass
        time.sleep(0.2)


def answers(driver, seconds):
    """Seconds that each answer took."""
    waits, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        asked = time.perf_counter()
        ray.get(driver.status.remote())
        waits.append(time.perf_counter() - asked)
        time.sleep(PAUSE_S)
    return waits


if __name__ == "__main__":
    main()
