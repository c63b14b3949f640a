"""What nothing protects against: the gradients that a party is sent tell it the labels."""

import numpy as np

from raycollab.vertical import fitting
from raycollab.vertical.sides import LocalSides

from .support import fit


class Remembering:
    """The party with the labels, of which the gradients for the first other party are kept, and the labels beside."""

    def __init__(self, live, kept):
        self._live, self._kept = live, kept

    def __getattr__(self, method):
        def call(*given):
            answer = getattr(self._live, method)(*given)
            if method == "step":
                rows = self._live._batch(*given[:2])
                self._kept.append((answer[0], self._live._rows.labels_at(rows, held_out=False).numpy()))
            return answer

        return call


def auc(scores, labels):
    """The share of pairs of a 1 and a 0 that scores order rightly."""
    ones, zeros = scores[labels == 1], scores[labels == 0]
    return float((ones[:, None] > zeros).mean())


def test_gradients_tell_the_labels(tmp_path, monkeypatch):
    """Those of one class point one way, those of the other the other: whoever gets them needs one example to know.

    Li et al., ICLR 2022, arXiv 2102.08504: label leakage by the direction of gradients.
    """
    kept = []

    class Sides(LocalSides):
        def __init__(self, *settings):
            super().__init__(*settings)
            self.live["bank"] = Remembering(self.live["bank"], kept)

    monkeypatch.setattr(fitting, "LocalSides", Sides)
    fit(tmp_path, num_rounds=3)
    gradients, labels = (np.concatenate(each) for each in zip(*kept, strict=True))
    direction = np.linalg.svd(gradients, full_matrices=False)[2][0]
    found = auc(gradients @ direction, labels)
    assert max(found, 1 - found) > 0.95
