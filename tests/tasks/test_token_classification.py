"""A label for each word: what is counted, and what is refused."""

import math

import pytest
import torch

from raycollab.errors import ConfigError, DataError, ModelError
from raycollab.models import Module
from raycollab.params import Exchange, FlatModel
from raycollab.tasks import TokenClassification

from .nets import Echo, bert

TOKENS = torch.tensor([[0, 2, 1, -1, -1], [1, 1, -1, -1, -1]])
LABELS = torch.tensor([[0, 1, -100, -100, -100], [1, -100, -100, -100, -100]])
BATCH = {"text": TOKENS, "label": LABELS}


def echoing(**settings):
    return TokenClassification(Module(Echo), 3, **settings)


def test_metrics_by_hand():
    """Of three labelled tokens two are echoed, with probability 3/5 each; the third's label had 1/5."""
    total = 2 * math.log(5 / 3) + math.log(5)
    assert echoing().loss(Echo(), BATCH).item() == pytest.approx(total / 3)
    found = echoing().statistics(Echo(), BATCH)
    assert found.compute()["loss"] == pytest.approx(total / 3)
    assert found.compute()["accuracy"] == pytest.approx(2 / 3)
    assert echoing().count(BATCH) == 3
    scores = found.get("confusion").per_class()
    assert [row.support for row in scores] == [1, 2, 0]
    assert scores[1].recall == 0.5


def test_what_is_to_be_ignored_can_be_chosen():
    other = {**BATCH, "label": LABELS.masked_fill(LABELS == -100, 9)}
    task = echoing(ignore=9)
    assert task.check(other, "here").tolist() == [True, True]
    assert task.statistics(Echo(), other) == echoing().statistics(Echo(), BATCH)
    assert torch.equal(task.loss(Echo(), other), echoing().loss(Echo(), BATCH))


def test_predictions_have_the_width_of_the_texts():
    """Batches are cut to their longest text; predictions can be joined all the same."""
    net = Echo()
    found = echoing().predict(net, BATCH)
    assert net.given[1].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert found["prediction"].tolist() == [[0, 2, 1, -100, -100], [1, 1, -100, -100, -100]]
    assert found["probability"][0].tolist() == pytest.approx([0.6, 0.6, 0.6, 0, 0])


def test_a_row_without_a_label_is_not_learned_from():
    bare = {**BATCH, "label": torch.stack([LABELS[0], torch.full_like(LABELS[1], -100)])}
    assert echoing().check(bare, "here").tolist() == [True, False]
    assert echoing().coverage(bare) == "2 of 3 labels"


def test_rows_of_unknown_labels_can_be_dropped():
    """Row 0 has a label of no class beside a good one, as a file of another scheme would."""
    wrong = {**BATCH, "label": torch.where(LABELS == 0, 3, LABELS)}
    with pytest.raises(DataError, match=r"row 0 has label 3, .* \(1 such rows\); correct .* with bad_rows='drop'"):
        echoing().check(wrong, "here")
    assert echoing(bad_rows="drop").check(wrong, "here").tolist() == [False, True]
    assert echoing(bad_rows="drop").check(BATCH, "here").tolist() == [True, True]
    with pytest.raises(ConfigError, match=r"TokenClassification.bad_rows='skip': must be 'error' or 'drop'"):
        echoing(bad_rows="skip")


def test_transformers_own_loss():
    task = TokenClassification(bert("token-classification", num_labels=3), 3)
    torch.manual_seed(0)
    net = task.model().eval()
    mask = (TOKENS >= 0).long()
    expected = net(TOKENS.clamp(min=0), attention_mask=mask, labels=LABELS).loss
    torch.testing.assert_close(task.loss(net, BATCH), expected)
    found = task.fingerprint(FlatModel(net, Exchange()).spec)
    assert found.loss == "token_cross_entropy(num_classes=3)"
    assert found.metrics == ("loss", "accuracy", "precision", "recall", "f1")


# ---- what is refused


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"label": LABELS[:, :3]},
            r"'label' holds int64 of shape \[2, 3\], and the tokens have \[2, 5\]: each needs one",
        ),
        ({"label": LABELS.float()}, "'label' holds float32 of shape .*, as a source with per_word='text' reads them"),
        ({"label": LABELS + 2}, r"here: row 0 has label 3, outside 0..2 and not ignore=-100 \(2 such rows\); correct"),
        ({"label": torch.where(LABELS == 1, 3, LABELS)}, "here: row 0 has label 3, outside 0..2 and not ignore=-100"),
        ({"text": TOKENS + 20}, "row 0 of column 'text' holds token 22, and the net knows 12"),
    ],
)
def test_wrong_data_is_named(columns, message):
    task = TokenClassification(bert("token-classification", num_labels=3), 3)
    with pytest.raises(DataError, match=message):
        task.check({**BATCH, **columns}, "here")
    with pytest.raises(DataError, match="the task needs column 'label'; there are: text"):
        task.check({"text": TOKENS}, "here")


def test_a_net_of_other_classes():
    with pytest.raises(ModelError, match=r"output has shape \[2, 3, 3\]; num_classes=2 needs \[2, 3, 2\]"):
        TokenClassification(Module(Echo), 2).loss(Echo(), BATCH)
    with pytest.raises(ConfigError, match=r"TokenClassification.num_classes=2: must be the net's num_labels=3"):
        TokenClassification(bert("token-classification", num_labels=3), 2)
    with pytest.raises(ConfigError, match=r"TokenClassification.ignore=1: must be no label of 0..2"):
        echoing(ignore=1)
    with pytest.raises(ConfigError, match=r"TokenClassification.net='bert': must be a recipe such as .*token-class"):
        TokenClassification("bert", 2)
