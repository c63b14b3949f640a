"""Measure what is given away: `python -m benchmarks.attacks inversion --seeds 0 1 2`.

Data is found through $RAYCOLLAB_DATA. Prints a Markdown table and one line of JSON per attack.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from importlib import import_module

import torch

from benchmarks.papers.paper import interval

ATTACKS = ("inversion", "membership", "canary")


def table(measured: Sequence[Mapping[str, Mapping[str, float]]]) -> str:
    """Means and 95 % intervals over seeds, as Markdown."""
    columns = list(next(iter(measured[0].values())))
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for name in measured[0]:
        cells = [interval([seed[name][column] for seed in measured]) for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attacks", nargs="+", choices=ATTACKS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tiny", action="store_true", help="the version that tests run, to see that it works")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.attacks:
        measure = import_module(f"benchmarks.attacks.{name}").measure
        measured = [measure(seed, tiny=arguments.tiny) for seed in arguments.seeds]
        print(f"**{name}**, seeds {', '.join(map(str, arguments.seeds))}\n\n{table(measured)}\n", flush=True)
        print(json.dumps({"attack": name, "seeds": arguments.seeds, "figures": measured}), flush=True)


if __name__ == "__main__":
    main()
