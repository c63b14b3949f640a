"""Memory of a run as a whole, from outside; `python -m benchmarks.memory` prints what Ray takes when idle."""

import json
import subprocess
import time
from dataclasses import dataclass

import psutil

_DRIVER = "DriverActor"  # in the title of the process that Ray gives raycollab's driver
_SETTLED_S = 10.0  # after which Ray has started what it starts ahead


@dataclass(frozen=True)
class Peak:
    """Peaks of proportional set sizes (PSS) in MB: all processes together, and raycollab's driver if there is one."""

    total_mb: float
    driver_mb: float | None


def main() -> None:
    import ray

    ray.init(include_dashboard=False, log_to_driver=False)
    time.sleep(_SETTLED_S)
    print(
        json.dumps({"ray": ray.__version__, "idle_pss_mb": round(sum(size for size, _ in sizes(psutil.Process())), 1)})
    )
    ray.shutdown()


def watched(process: subprocess.Popen) -> Peak:
    """Sample a process and all its descendants twice a second until it ends; pages that several share count once."""
    total, driver, root = 0.0, 0.0, psutil.Process(process.pid)
    while process.poll() is None:
        now = sizes(root)
        total = max(total, sum(size for size, _ in now))
        driver = max(driver, *(size for size, is_driver in now if is_driver), 0.0)
        time.sleep(0.5)
    return Peak(round(total, 1), round(driver, 1) or None)


def sizes(root: psutil.Process) -> list[tuple[float, bool]]:
    """PSS in MB of a process and of each of its descendants, and whether it is the driver."""
    found = []
    for member in [root, *root.children(recursive=True)]:
        try:
            found.append((member.memory_full_info().pss / 1e6, _DRIVER in " ".join(member.cmdline()[:1])))
        except psutil.Error:
            continue  # it ended between the listing and the reading
    return found


if __name__ == "__main__":
    main()
