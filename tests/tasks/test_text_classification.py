"""Classification of texts: what the net is given of them, and what is refused."""

import math

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2ForSequenceClassification

import raycollab as rc
from raycollab.errors import ConfigError, DataError, ModelError
from raycollab.models import Module
from raycollab.params import Exchange, FlatModel
from raycollab.tasks import TextClassification

from .nets import Counts, bert

PADDED = torch.tensor([[0, 2, 2, -1], [1, -1, -1, -1]])


def counting(**settings):
    return TextClassification(Module(Counts), 3, **settings)


def test_padding_is_told_apart_from_token_0():
    """The first text holds token 0 once and token 2 twice; what stands behind the texts counts for nothing."""
    net, batch = Counts(), {"text": PADDED, "label": torch.tensor([2, 0])}
    found = counting().predict(net, batch)
    assert found["prediction"].tolist() == [2, 1]
    assert found["probability"].tolist() == pytest.approx([9 / (3 + 1 + 9), 3 / 5])
    tokens, mask = net.given
    assert tokens.tolist() == [[0, 2, 2], [1, 0, 0]]  # cut to the longest text
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    expected = -(math.log(9 / 13) + math.log(1 / 5)) / 2
    assert counting().loss(net, batch).item() == pytest.approx(expected)
    statistics = counting().statistics(net, batch).compute()
    assert statistics["loss"] == pytest.approx(expected)
    assert statistics["accuracy"] == 0.5


@pytest.mark.parametrize("pad", [0, 7])
def test_padding_changes_nothing_for_a_model_of_transformers(pad):
    """Each text by itself, without padding, gets the logits that it gets in a padded batch, whatever the pad token."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    encoder = BertForSequenceClassification(BertConfig(vocab_size=9, num_labels=3, pad_token_id=pad, **sizes)).eval()
    decoder = GPT2Config(vocab_size=9, n_positions=8, n_embd=8, n_layer=1, n_head=2, num_labels=3, pad_token_id=pad)
    for net in (encoder, GPT2ForSequenceClassification(decoder).eval()):
        task = TextClassification(Module(type(net)), 3)
        together = task.logits(net, {"text": PADDED})
        alone = [net(row[row >= 0][None]).logits for row in PADDED]
        torch.testing.assert_close(together, torch.cat(alone))


def test_parties_learn_to_tell_texts_apart(tmp_path):
    """Texts with a 5 are of class 1; a fresh BERT learns it, its head with it, and is loaded again."""
    torch.manual_seed(0)
    texts = torch.randint(6, 12, (96, 8))
    texts[1::2, 3] = 5
    texts[::3, 6:] = -1
    columns = {"text": texts, "label": torch.arange(96) % 2}
    task = TextClassification(bert("sequence-classification", num_labels=2), 2)
    source = rc.data.Arrays(columns)
    learner = rc.Optimizer("AdamW", {"lr": 1e-2}, epochs=3, batch_size=16)
    result = rc.fit(
        [rc.Agent(f"party-{i}", part, learner) for i, part in enumerate(source.split(rc.IID(num_parts=2)))],
        rc.chain(rc.Mean()),
        test=source,
        task=task,
        run=rc.RunConfig(num_rounds=6, dir=str(tmp_path)),
        scaling=rc.ScalingConfig(pool="local"),
    )
    assert result.metrics["accuracy"] > 0.95
    assert "auc" in result.metrics
    assert "weighted avg" in result.report()
    predicted = rc.load(result.path).predict({"text": texts})
    assert (predicted["prediction"] == columns["label"]).float().mean() == pytest.approx(result.metrics["accuracy"])


def test_features_are_what_the_head_is_given():
    task = TextClassification(bert("sequence-classification", num_labels=3), 3)
    assert task.features(task.model().eval(), {"text": PADDED}).shape == (2, 16)


def test_good_texts_pass():
    task = TextClassification(bert("sequence-classification", num_labels=3), 3)
    assert task.check({"text": PADDED, "label": torch.tensor([0, 2])}, "here").tolist() == [True, True]
    assert task.coverage({"text": PADDED, "label": torch.tensor([0, 2])}) == "2 of 3 labels"
    found = task.fingerprint(FlatModel(task.model(), Exchange()).spec)
    assert found.loss == "cross_entropy"


# ---- what is refused


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"words": PADDED}, "here: the task needs column 'text'; there are: label, words"),
        (
            {"text": torch.zeros(2, 3)},
            r"column 'text' holds float32 of shape \[2, 3\]; give rows of tokens as whole .*'text'",
        ),
        ({"text": torch.zeros(2).int()}, r"column 'text' holds int32 of shape \[2\]; give rows of tokens as whole num"),
        (
            {"text": PADDED + 10},
            "row 0 of column 'text' holds token 12, and the net knows 12: read the text with the net",
        ),
        (
            {"text": torch.tensor([[1, 2], [-1, -1]])},
            r"row 1 of column 'text' holds no token \(1 such rows\); short rows",
        ),
        ({"text": torch.tensor([[1, -1, 2], [1, 1, 1]])}, "row 0 of column 'text' holds -1 before its end, or less"),
        ({"text": torch.tensor([[1, -2], [1, 1]])}, "row 0 of column 'text' holds -1 before its end, or less"),
        ({"text": PADDED, "label": torch.tensor([0, 3])}, r"here: row 1 has label 3, outside 0..2 \(1 such rows\)"),
    ],
)
def test_wrong_data_is_named(columns, message):
    task = TextClassification(bert("sequence-classification", num_labels=3), 3)
    with pytest.raises(DataError, match=message):
        task.check({"label": torch.tensor([0, 1]), **columns}, "here")


def test_a_net_of_other_classes():
    message = r"the model's output has shape \[2, 3\]; num_classes=2 needs \[2, 2\]"
    batch = {"text": PADDED, "label": torch.tensor([0, 1])}
    for ask in (TextClassification.loss, TextClassification.statistics, TextClassification.predict):
        with pytest.raises(ModelError, match=message):
            ask(TextClassification(Module(Counts), 2), Counts(), batch)
    with pytest.raises(
        ConfigError, match=r"TextClassification.num_classes=4: must be the net's num_labels=3: set both"
    ):
        TextClassification(bert("sequence-classification", num_labels=3), 4)
    with pytest.raises(ConfigError, match=r"TextClassification.inputs=\('a', 'b'\): must name one column"):
        counting(inputs=("a", "b"))
