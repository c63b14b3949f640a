"""Hidden tokens: how many, which, when they change and when they do not."""

import math
from pathlib import Path

import pytest
import torch

import raycollab as rc
from raycollab.data import Bytes, Characters, Text
from raycollab.errors import ConfigError, DataError, ModelError
from raycollab.models import Module
from raycollab.params import Exchange, FlatModel
from raycollab.tasks import MaskedLM

from .nets import Echo, bert

LETTERS = Characters("abcdefghijk")  # 11 tokens; the mask is the 12th
TASK = MaskedLM(bert("masked-lm"), LETTERS)


def rows(number=64, length=12):
    tokens = torch.randint(0, 11, (number, length), generator=torch.Generator().manual_seed(0))
    tokens[1::2, length - 5 :] = -1
    return tokens


class Marked(Characters):
    """Letters of which the first and the last stand for no text."""

    @property
    def marks(self):
        return 0, 10


def test_a_share_of_each_text_is_hidden():
    """15 % of 12 tokens are 2, of 7 tokens 1; never padding, never marks, at least one."""
    for fixed in (True, False):
        _, targets = TASK.hidden(rows(), fixed=fixed)
        assert (targets >= 0).sum(1).tolist() == [2, 1] * 32
        assert torch.equal(targets[targets >= 0], rows()[targets >= 0])
        _, targets = MaskedLM(bert("masked-lm"), Marked("abcdefghijk")).hidden(rows(), fixed=fixed)
        assert not set(targets.unique().tolist()) & {0, 10, -1}
    assert TASK.count({"text": rows()}) == 32 * 3


@pytest.mark.parametrize("fixed", [True, False])
def test_eighty_ten_ten(fixed):
    """Of 30,000 hidden tokens; a standard deviation is 0.0023. One in eleven random tokens is the one it replaces."""
    torch.manual_seed(0)
    tokens = torch.randint(0, 11, (6000, 10))
    inputs, targets = MaskedLM(bert("masked-lm"), LETTERS, share=0.5).hidden(tokens, fixed=fixed)
    hidden = targets >= 0
    assert int(hidden.sum()) == 30_000
    assert torch.equal(inputs[~hidden], tokens[~hidden])
    masked = (inputs[hidden] == LETTERS.mask_token).float().mean().item()
    kept = (inputs[hidden] == tokens[hidden]).float().mean().item()
    assert masked == pytest.approx(0.8, abs=0.01)
    assert kept == pytest.approx(0.1 + 0.1 / 11, abs=0.01)
    assert hidden.float().mean(0).tolist() == pytest.approx([0.5] * 10, abs=0.03)  # any place is as likely


def test_evaluation_asks_the_same_however_texts_are_batched():
    """A text's own tokens decide: neither its neighbours, its padding nor torch's seed; and two texts differ."""
    inputs, targets = TASK.hidden(rows(), fixed=True)
    torch.manual_seed(5)
    alone = [TASK.hidden(row[row >= 0][None], fixed=True) for row in rows()]
    for row, (given, asked) in enumerate(alone):
        assert torch.equal(given[0], inputs[row, : given.shape[1]])
        assert torch.equal(asked[0], targets[row, : given.shape[1]])
    assert len({tuple((row >= 0).tolist()) for row in targets}) > 20
    net = TASK.model().eval()
    batches = [{"text": part} for part in rows().split(10)]
    whole, parts = TASK.evaluate(net, [{"text": rows()}]).compute(), TASK.evaluate(net, batches).compute()
    assert whole["accuracy"] == parts["accuracy"]
    assert whole["loss"] == pytest.approx(parts["loss"], rel=1e-6)
    assert whole["perplexity"] == pytest.approx(math.exp(whole["loss"]))


def test_training_draws_from_torchs_seed():
    net = TASK.model().train()
    losses = [(torch.manual_seed(seed), TASK.loss(net, {"text": rows()}).item())[1] for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


def test_rounds_have_the_same_bits_again(tmp_path):
    """The seed of agent and round decides what is hidden, not who else took part or how many hosts there are."""
    runs = []
    for name, agents_per_host in (("one", 1), ("two", 2)):
        agents = [rc.Agent(f"a{i}", rc.data.Arrays({"text": rows()}), rc.SGD(lr=0.1, batch_size=16)) for i in range(2)]
        result = rc.fit(
            agents,
            rc.chain(rc.Mean("tokens")),
            test=rc.data.Arrays({"text": rows(16)}),
            task=TASK,
            run=rc.RunConfig(num_rounds=2, dir=str(tmp_path), name=name),
            scaling=rc.ScalingConfig(pool="local", agents_per_host=agents_per_host),
        )
        runs.append(result)
    first, second = (Path(run.path, "model", "model.safetensors").read_bytes() for run in runs)
    assert first == second
    assert runs[0].metrics == runs[1].metrics
    rows_of = [row for row in runs[0].agents if row["round"] == 1]
    assert rows_of[0]["loss"] != rows_of[1]["loss"]  # the same texts, hidden otherwise


def test_windows_of_text_will_do(tmp_path):
    (tmp_path / "a.txt").write_text("abcdefghijk" * 10)
    windows = Text(str(tmp_path / "a.txt"), LETTERS, context=10).read()
    task = MaskedLM(bert("masked-lm"), LETTERS, inputs="tokens")
    assert task.check(windows, "here").all()
    assert task.loss(task.model(), windows).isfinite()


def test_predictions_fill_in():
    """Every place of the text as it is; an echo says what stands there."""
    task = MaskedLM(Module(Echo, {"width": 12}), LETTERS)
    found = task.predict(Echo(12), {"text": torch.tensor([[3, 11, -1, -1], [1, 2, 3, -1]])})
    assert found["prediction"].tolist() == [[3, 11, -1, -1], [1, 2, 3, -1]]
    assert TASK.coverage({"text": rows(2)}) == "19 tokens"


# ---- what is refused


def test_refuses():
    with pytest.raises(
        ModelError, match="here: the net knows 12 tokens, and Bytes has 257, its mask with them: give the"
    ):
        MaskedLM(bert("masked-lm"), Bytes()).check({"text": rows()}, "here")
    with pytest.raises(DataError, match="row 0 of column 'text' holds token 12, and the net knows 12"):
        TASK.check({"text": torch.tensor([[12, 1]])}, "here")
    with pytest.raises(DataError, match="the task needs column 'text'; there are: label"):
        TASK.check({"label": torch.zeros(1)}, "here")
    with pytest.raises(ModelError, match=r"output has shape \[64, 12, 3\]; vocab_size=11 of the tokenizer needs"):
        MaskedLM(Module(Narrow), LETTERS).loss(Narrow(), {"text": rows()})
    for settings, message in (
        ({"share": 1.0}, r"MaskedLM.share=1.0: must be in \(0, 1\)"),
        ({"tokenizer": "bytes"}, "MaskedLM.tokenizer='bytes': must be a Tokenizer such as rc.data.Bytes"),
        ({"net": "bert"}, "MaskedLM.net='bert': must be a recipe such as .*head='masked-lm'"),
    ):
        with pytest.raises(ConfigError, match=message):
            MaskedLM(**{"net": bert("masked-lm"), "tokenizer": LETTERS, **settings})
    marked = MaskedLM(bert("masked-lm"), Marked("abcdefghijk"))
    assert marked.check({"text": torch.tensor([[0, 10], [0, 3]])}, "here").tolist() == [False, True]


class Narrow(torch.nn.Module):
    def forward(self, tokens, attention_mask):
        return torch.zeros(*tokens.shape, 3)


def test_fingerprint():
    found = TASK.fingerprint(FlatModel(TASK.model(), Exchange()).spec)
    assert found.loss == "masked_token_cross_entropy(share=0.15, vocab_size=11)"
    assert found.metrics == ("loss", "perplexity", "accuracy")
