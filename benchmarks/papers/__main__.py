"""Run published results again: `python -m benchmarks.papers fedavg_2nn --seeds 0 1 2 --workers 2`.

Data is found through $RAYCOLLAB_DATA. Prints a Markdown table and one line of JSON per paper.
"""

import argparse

import torch

from benchmarks.papers.paper import line, run_paper, table

PAPERS = (
    "byzantine_mnist",
    "learned_weights",
    "learned_weights_cost",
    "unequal_quality",
    "asha_mnist",
    "pbt_inner_rate",
    "fedavg_2nn",
    "fedprox_stragglers",
    "server_momentum",
    "scaffold_cifar",
    "scaffold_cifar_gpu",
    "fednova_epochs",
    "diloco_shakespeare",
    "nanogpt_shakespeare",
    "scratch_cifar",
    "simclr_mnist",
    "dpsgd_mnist",
    "sinusoid",
    "per_fedavg",
    "omniglot",
    "omniglot_gpu",
    "drift",
    "split_mnist",
    "growing",
    "tent_digits",
    "digits_seen_and_heard",
    "products",
    "personal_cifar",
    "capacities",
    "lora_ranks",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("papers", nargs="+", choices=[*PAPERS, "all"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--tiny", action="store_true", help="the version that tests run, to see that it works")
    parser.add_argument("--only", nargs="+", default=[], help="names of some of a paper's experiments")
    arguments = parser.parse_args()
    everything = [name for name in PAPERS if torch.cuda.is_available() or not name.endswith("_gpu")]
    for name in everything if "all" in arguments.papers else arguments.papers:
        module = f"benchmarks.papers.{name}"
        measured = run_paper(
            module, arguments.seeds, workers=arguments.workers, tiny=arguments.tiny, only=arguments.only
        )
        print(f"{table(module, measured)}\n\n{line(measured)}\n", flush=True)


if __name__ == "__main__":
    main()
