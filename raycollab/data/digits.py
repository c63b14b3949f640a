"""The 1,797 handwritten digits that scikit-learn bundles: real data without a download.

Source: Alpaydin and Kaynak, 1998, Optical Recognition of Handwritten Digits (UCI), its test set of 8x8 images.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from raycollab.data.base import Columns, Source
from raycollab.data.columns import LABEL, take_rows
from raycollab.data.stratified import stratified_split
from raycollab.errors import DataError
from raycollab.settings import require, require_one_of

_REINSTALL = "install scikit-learn again with `pip install --force-reinstall scikit-learn`"


@dataclass(frozen=True)
class Digits(Source):
    """Handwritten digits: `image` float32 [n, 1, 8, 8] in 0..1 and `label` int64 [n].

    Args:
        part: "train", "test" or "all"; train and test are disjoint, with the same mix of labels.
        test_fraction: Share of "test", in (0, 1).
        seed: Seed of the split; train and test belong together where fraction and seed agree.
    """

    part: str = "train"
    test_fraction: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        require_one_of("Digits.part", self.part, ("train", "test", "all"))
        require(0 < self.test_fraction < 1, "Digits.test_fraction", self.test_fraction, "must be between 0 and 1")

    def read(self) -> Columns:
        """Read the bundled file, in about 30 ms."""
        columns = _parse(_bundled_file())
        if self.part == "all":
            return columns
        train, test = stratified_split(columns, self.test_fraction, self.seed, name=self.describe())
        return take_rows(columns, train if self.part == "train" else test)

    def describe(self) -> str:
        """Return one short line for people."""
        return f"digits/{self.part}"


def _bundled_file() -> Path:
    """Return where scikit-learn keeps the file, without importing scikit-learn, which takes more than a second."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise DataError("digits: scikit-learn, which bundles them, is not installed; run `pip install scikit-learn`")
    path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if not path.is_file():
        raise DataError(f"digits: {path} is missing; {_REINSTALL}")
    return path


def _parse(path: Path) -> Columns:
    try:
        table = torch.from_numpy(np.loadtxt(path, delimiter=",", dtype=np.float32))  # [n, 64 pixels of 0..16 + 1 label]
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"digits: {path} is damaged: {error}; {_REINSTALL}") from error
    return {"image": (table[:, :64] / 16).reshape(-1, 1, 8, 8), LABEL: table[:, 64].to(torch.int64)}
