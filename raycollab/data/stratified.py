"""A random split that keeps the mix of labels."""

import numpy as np

from raycollab.data.columns import LABEL, Columns, count_rows
from raycollab.errors import DataError
from raycollab.rng import numpy_generator


def stratified_split(columns: Columns, fraction: float, seed: int, *, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted rows of train and of test, with the same mix of labels if there is a column of whole labels.

    Rows are shuffled and then sorted by label; the i-th goes to test where round(i * fraction) steps up. So test has
    round(n * fraction) rows, and of each label its share to within one.

    Raises:
        DataError: One of the two sides would be empty.
    """
    n = count_rows(columns, name)
    order = numpy_generator(seed, "holdout").permutation(n)
    label = columns.get(LABEL)
    if label is not None and label.ndim == 1 and not label.is_floating_point():
        order = order[np.argsort(label.cpu().numpy()[order], kind="stable")]
    steps = np.floor(np.arange(n + 1) * fraction + 0.5)
    to_test = np.diff(steps) > 0
    train, test = np.sort(order[~to_test]), np.sort(order[to_test])
    if not len(train) or not len(test):
        raise DataError(
            f"{name}: {n} examples split with fraction {fraction} leave {len(train)} for train and {len(test)} for test"
        )
    return train, test
