"""Make the peers' environments: `python -m benchmarks.peers.install` makes all of them, `--only pfl` one.

Each gets the PyTorch of this interpreter, so that no system has faster kernels than another, and beside it the versions
that were tried. An environment takes 6 GB and two minutes where packages are cached.
"""

import argparse
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ENVIRONMENTS = Path(__file__).parent / ".venv"
PINS = {"flower": ("flwr[simulation]==1.42.0",), "pfl": ("pfl==0.6.0",)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PINS)
    only = parser.parse_args().only
    for peer in PINS if only is None else (only,):
        install(peer)


def install(peer: str) -> None:
    """Make the environment of a peer, or bring it up to date."""
    subprocess.run([sys.executable, "-m", "venv", ENVIRONMENTS / peer], check=True)
    wanted = [f"torch=={version('torch')}", f"numpy=={version('numpy')}", *PINS[peer]]
    subprocess.run([interpreter(peer), "-m", "pip", "install", "--quiet", *wanted], check=True)


def interpreter(peer: str) -> Path:
    """The peer's Python, whether it is there or not."""
    return ENVIRONMENTS / peer / "bin" / "python"


if __name__ == "__main__":
    main()
