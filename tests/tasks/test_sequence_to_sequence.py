"""From one sequence to another: teacher forcing, what is counted, what is written, what is refused."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import raycollab as rc
from raycollab.errors import ConfigError, DataError, ModelError
from raycollab.models import Module, Transformers
from raycollab.params import Exchange, FlatModel
from raycollab.tasks import SequenceToSequence

from .nets import bart

SOURCE = torch.tensor([[3, 4, 5, 2], [6, 2, -1, -1]])
TARGET = torch.tensor([[4, 5, 6, 2, -1], [7, 2, -1, -1, -1]])
BATCH = {"source": SOURCE, "target": TARGET}


class Repeats(nn.Module):
    """Says that the next target token is the one before it, with logit log(3) against 0 for the others of eight."""

    def forward(self, tokens, attention_mask, decoder_input_ids):
        self.given = tokens, attention_mask, decoder_input_ids
        return functional.one_hot(decoder_input_ids, 8) * math.log(3)


def test_teacher_forcing_by_hand():
    """Of six target tokens none repeats the one before it but the first 7, which the start is."""
    task, net = SequenceToSequence(Module(Repeats), start=7), Repeats()
    total = math.log(10 / 3) + 5 * math.log(10)
    assert task.loss(net, BATCH).item() == pytest.approx(total / 6)
    tokens, mask, before = net.given
    assert tokens.tolist() == [[3, 4, 5, 2], [6, 2, 0, 0]]
    assert mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert before.tolist() == [[7, 4, 5, 6], [7, 7, 2, 0]]
    found = task.statistics(net, BATCH).compute()
    assert found == pytest.approx({"loss": total / 6, "perplexity": math.exp(total / 6), "accuracy": 1 / 6})
    assert task.count(BATCH) == 6


def test_transformers_own_loss():
    """What BART computes for labels, which it shifts itself; its start token is its own."""
    task = SequenceToSequence(bart())
    torch.manual_seed(0)
    net = task.model().eval()
    mask = (SOURCE >= 0).long()
    labels = TARGET.masked_fill(TARGET < 0, -100)
    expected = net(input_ids=SOURCE.clamp(min=0), attention_mask=mask, labels=labels).loss
    torch.testing.assert_close(task.loss(net, BATCH), expected)


def test_parties_learn_to_translate(tmp_path):
    """Each word becomes another; a fresh BART writes it, up to the end that the target marks."""
    torch.manual_seed(0)
    source = torch.randint(3, 7, (128, 3))
    target = torch.cat([source + 5, torch.full((128, 1), 2)], 1)
    target[::2, 2:] = torch.tensor([2, -1])
    source[::2, 2] = -1
    columns = {"source": source, "target": target}
    task = SequenceToSequence(bart(d_model=32), max_tokens=6)
    data = rc.data.Arrays(columns)
    learner = rc.Optimizer("AdamW", {"lr": 1e-2}, epochs=3, batch_size=16)
    result = rc.fit(
        [rc.Agent(f"party-{i}", part, learner) for i, part in enumerate(data.split(rc.IID(num_parts=2)))],
        rc.chain(rc.Mean("tokens")),
        test=data,
        task=task,
        run=rc.RunConfig(num_rounds=6, dir=str(tmp_path)),
        scaling=rc.ScalingConfig(pool="local"),
    )
    assert result.metrics["accuracy"] > 0.95
    written = rc.load(result.path).predict({"source": source})["prediction"]
    assert written.shape == (128, 6)
    assert (written[:, :4] == target).all(1).float().mean() > 0.9
    assert bool((written[:, 4:] == -1).all())


def test_captions_of_images():
    """A vision encoder and a text decoder: images in, tokens out."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    encoder = {"model_type": "vit", **sizes, "image_size": 8, "patch_size": 4, "num_channels": 1}
    decoder = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 12, "n_positions": 16}
    decoder |= {"add_cross_attention": True, "is_decoder": True, "bos_token_id": 1, "eos_token_id": 2}
    config = {"model_type": "vision-encoder-decoder", "encoder": encoder, "decoder": decoder}
    config |= {"decoder_start_token_id": 1, "pad_token_id": 0}
    net = Transformers(head="image-to-text", pretrained=False, config=config)
    task = SequenceToSequence(net, inputs="image", target="text", max_tokens=4)
    batch = {"image": torch.rand(2, 1, 8, 8), "text": TARGET}
    assert task.check(batch, "here").tolist() == [True, True]
    torch.manual_seed(0)
    model = task.model()
    task.loss(model, batch).backward()
    assert all(p.grad is not None for name, p in model.encoder.named_parameters() if "pooler" not in name)
    assert task.predict(model.eval(), batch)["prediction"].shape == (2, 4)
    with pytest.raises(DataError, match="row 1 of column 'text' holds token 12, and the net knows 12"):
        task.check({**batch, "text": torch.tensor([[1, 2], [12, 2]])}, "here")


# ---- what is refused


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"source": SOURCE}, "here: the task needs column 'target'; there are: source"),
        ({**BATCH, "target": TARGET + 10}, "row 0 of column 'target' holds token 16, and the net knows 12"),
        ({**BATCH, "source": SOURCE + 10}, "row 0 of column 'source' holds token 15, and the net knows 12"),
        ({**BATCH, "source": SOURCE.float()}, r"column 'source' holds float32 of shape \[2, 4\]; give rows of tokens"),
        ({**BATCH, "target": torch.full((2, 2), -1)}, r"row 0 of column 'target' holds no token \(2 such rows\)"),
        ({**BATCH, "source": torch.full((2, 1, 2, 2), torch.nan)}, "row 0 of column 'source' holds NaN or infinity"),
    ],
)
def test_wrong_data_is_named(columns, message):
    with pytest.raises(DataError, match=message):
        SequenceToSequence(bart()).check(columns, "here")


def test_images_with_nan_can_be_dropped():
    held = {"source": torch.zeros(2, 1, 2, 2), "target": TARGET}
    held["source"][1, 0, 1, 1] = torch.inf
    with pytest.raises(DataError, match=r"row 1 of column 'source' holds NaN or infinity \(1 such rows\)"):
        SequenceToSequence(bart()).check(held, "here")
    assert SequenceToSequence(bart(), bad_rows="drop").check(held, "here").tolist() == [True, False]


def test_refuses():
    with pytest.raises(ModelError, match="Repeats does not say which token stands before a target: set SequenceToSeq"):
        SequenceToSequence(Module(Repeats)).loss(Repeats(), BATCH)
    with pytest.raises(ModelError, match="Repeats has no `generate`, which predictions need: use a model of transf"):
        SequenceToSequence(Module(Repeats)).predict(Repeats(), BATCH)
    for settings, message in (
        ({"target": "source"}, "SequenceToSequence.target='source': must be another column than inputs"),
        ({"start": -1}, "SequenceToSequence.start=-1: must be a token >= 0, or null"),
        ({"max_tokens": 0}, "SequenceToSequence.max_tokens=0: must be >= 1"),
        ({"bad_rows": "skip"}, "SequenceToSequence.bad_rows='skip': must be 'error' or 'drop'"),
        ({"net": "bart"}, "SequenceToSequence.net='bart': must be a recipe such as .*head='seq2seq-lm'"),
    ):
        with pytest.raises(ConfigError, match=message):
            SequenceToSequence(**{"net": bart(), **settings})


def test_fingerprint():
    task = SequenceToSequence(bart())
    found = task.fingerprint(FlatModel(task.model(), Exchange()).spec)
    assert (found.loss, found.metrics) == ("target_token_cross_entropy", ("loss", "perplexity", "accuracy"))
    assert task.coverage(BATCH) == "6 target tokens"
