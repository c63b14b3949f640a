"""Language modelling: what is predicted, counted and refused, for our own nets and those of transformers."""

import math
import os

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

import raycollab as rc
from raycollab.errors import ConfigError, DataError, ModelError
from raycollab.models import GPT, MLP, Module
from raycollab.params import Exchange, FlatModel
from raycollab.task import Problem
from raycollab.tasks import CausalLM
from raycollab.types import Round

real_data = pytest.mark.skipif(
    not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the folder of the real data sets"
)
NET = GPT(11, num_layers=1, num_heads=2, width=8, context=6)


class Repeats(nn.Module):
    """Says that the next token is the one before it, with logit log(3) against 0 for the others of three."""

    def forward(self, tokens):
        return functional.one_hot(tokens, 3) * math.log(3)


def gpt2(**settings):
    sizes = {"vocab_size": 11, "n_positions": 6, "n_embd": 8, "n_layer": 1, "n_head": 2}
    return GPT2LMHeadModel(GPT2Config(**sizes, **settings))


def llama():
    sizes = {"vocab_size": 11, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2}
    return LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=2, num_key_value_heads=1))


def repeats(**settings):
    return CausalLM(Module(Repeats), 3, **settings)


def batch_of(*rows, dtype=torch.int32):
    return {"tokens": torch.tensor(rows, dtype=dtype)}


def test_metrics_by_hand():
    """Of six tokens two repeat the one before them, each with probability 3/5; each of the others had 1/5."""
    task = repeats(unit="character")
    batch = batch_of([0, 0, 1, 2], [2, 1, 1, 0])
    total = 2 * math.log(5 / 3) + 4 * math.log(5)
    assert task.loss(Repeats(), batch).item() == pytest.approx(total / 6)
    found = task.statistics(Repeats(), batch).compute()
    assert found == pytest.approx(
        {
            "loss": total / 6,
            "perplexity": math.exp(total / 6),
            "accuracy": 2 / 6,
            "bits_per_character": total / 6 / math.log(2),
        }
    )
    assert repeats(unit="byte").statistics(Repeats(), batch).compute()["bits_per_byte"] == found["bits_per_character"]
    assert set(repeats().statistics(Repeats(), batch).compute()) == {"loss", "perplexity", "accuracy"}


def test_statistics_merge_by_tokens():
    """A window of three predicted tokens and two of one: as if all five had come at once."""
    task = repeats()
    parts = [task.statistics(Repeats(), batch) for batch in (batch_of([0, 0, 1, 2]), batch_of([1, 1], [0, 2]))]
    total = 2 * math.log(5 / 3) + 3 * math.log(5)
    assert (parts[0] + parts[1]).compute()["loss"] == pytest.approx(total / 5)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_any_whole_tokens_will_do(dtype):
    task, batch = repeats(), batch_of([0, 1, 1, 2], dtype=dtype)
    assert task.check(batch, "here").tolist() == [True]
    assert task.loss(Repeats(), batch).item() == pytest.approx((math.log(5 / 3) + 2 * math.log(5)) / 3)


def test_predictions():
    found = repeats().predict(Repeats(), batch_of([0, 0, 1], [2, 1, 0]))
    assert found["prediction"].tolist() == [[0, 0], [2, 1]]
    assert found["loss"].tolist() == pytest.approx([(math.log(5 / 3) + math.log(5)) / 2, math.log(5)])


@pytest.mark.parametrize("make", [gpt2, llama], ids=["GPT-2", "Llama"])
def test_transformers_own_loss(make):
    """The loss that transformers computes for labels=tokens, which it shifts itself."""
    torch.manual_seed(0)
    net, tokens = make().eval(), torch.randint(0, 11, (3, 6))
    task = CausalLM(Module(make), 11)
    expected = net(tokens, labels=tokens).loss
    torch.testing.assert_close(task.loss(net, {"tokens": tokens}), expected)
    assert task.statistics(net, {"tokens": tokens}).compute()["loss"] == pytest.approx(expected.item())


def problem(task, rows=10, length=6):
    torch.manual_seed(0)
    tokens = torch.randint(0, task.vocab_size, (rows, length), dtype=torch.int32)
    model = FlatModel(task.model(), Exchange())
    return Problem("a", task, model, rc.Shard({"tokens": tokens}, val_fraction=0.0, seed=0), lambda: False)


@pytest.mark.parametrize("net", [NET, Module(gpt2, {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0})])
def test_a_batch_in_pieces_has_the_same_gradient(net):
    """Tokens are what the mean is over, so pieces of 2, 2 and 1 windows weigh by them."""
    trained = problem(CausalLM(net, 11))
    batch = {"tokens": trained.shard.columns()["tokens"][:5]}
    whole = trained.backward(batch).item(), trained.model.grads[0].clone()
    pieces = trained.backward(batch, micro_batch_size=2).item(), trained.model.grads[0]
    assert pieces[0] == pytest.approx(whole[0], rel=1e-6)
    torch.testing.assert_close(pieces[1], whole[1], rtol=1e-5, atol=1e-7)


def test_learners_count_tokens():
    """Two passes over ten windows of five predicted tokens each."""
    trained = problem(CausalLM(NET, 11))
    params = trained.model.read()
    update, _ = rc.SGD(lr=0.1, epochs=2, batch_size=4).update(trained, params, {}, Round(1, 0, 0, {"params": params}))
    assert update.scalars["counted"] == 2 * 10 * 5
    assert update.weight == 10


class Fixed(rc.data.Source):
    """Text with a rule, to be learned: the next token is the last plus a step that a party prefers."""

    def __init__(self, step=1, rows=64):
        self.step, self.rows = step, rows

    def read(self):
        starts = torch.arange(self.rows)[:, None]
        return {"tokens": ((starts + self.step * torch.arange(6)) % 11).int()}

    def describe(self):
        return f"counting by {self.step}"


@pytest.mark.parametrize("make", [NET, Module(gpt2), Module(llama)], ids=["GPT", "GPT-2", "Llama"])
def test_parties_learn_to_count(make, tmp_path):
    """Loss from log(11) to less than half of it in a few rounds; weighed by tokens; the trained model is loaded."""
    task = CausalLM(make, 11)
    learner = rc.Optimizer("AdamW", {"lr": 1e-2}, epochs=2, batch_size=16)
    result = rc.fit(
        [rc.Agent(f"party-{i}", Fixed(rows=32 * (i + 1)), learner) for i in range(2)],
        rc.chain(rc.Mean("tokens")),
        test=Fixed(),
        task=task,
        run=rc.RunConfig(num_rounds=6, dir=str(tmp_path)),
        scaling=rc.ScalingConfig(pool="local"),
    )
    assert result.metrics["loss"] < math.log(11) / 2
    assert result.metrics["perplexity"] == pytest.approx(math.exp(result.metrics["loss"]))
    rows = [row for row in result.agents if row["round"] == 1]
    assert [row["examples"] for row in rows] == [2 * 29 * 5, 2 * 58 * 5]  # a tenth is held out for validation
    model = result.model(task=task)
    assert model.predict({"tokens": Fixed().read()["tokens"]})["prediction"].shape == (64, 5)
    assert "perplexity" in result.report()


@real_data
def test_the_pretrained_llama_knows_its_stories():
    """Its perplexity on a story in the style it was trained on is far below that on shuffled words of it."""
    tokenizer = rc.data.PretrainedTokenizer("models/stories260K")
    task = CausalLM(rc.models.Transformers("models/stories260K"), tokenizer.vocab_size)
    story = (
        "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
        "One day, she saw a big, red ball. She wanted to play with it."
    )
    shuffled = " ".join(sorted(story.split()))
    net = task.model().eval()
    told, random = (
        task.statistics(net, batch_of([1, *tokenizer.encode(text, "here").tolist()])).compute()["loss"]
        for text in (story, shuffled)
    )
    assert told < 1.6
    assert random > told + 1.5


# ---- what is refused


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": torch.zeros(2, 3)}, "here: the task needs column 'tokens'; there are: text"),
        ({"tokens": torch.zeros(4)}, r"here: column 'tokens' holds float32 of shape \[4\]; give windows of two tokens"),
        (
            {"tokens": torch.zeros(4, 1).int()},
            r"holds int32 of shape \[4, 1\]; give windows of two tokens or more as w",
        ),
        ({"tokens": torch.zeros(4, 3)}, r"holds float32 of shape \[4, 3\]; .*as rc.data.Text reads them"),
        (batch_of([0, 1], [1, 3]), r"here: row 1 holds token 3, outside 0..2: read the text with the tokenizer that"),
        (batch_of([0, -1], [1, 1]), r"here: row 0 holds token -1, outside 0..2: .*or set vocab_size to its own"),
    ],
)
def test_wrong_data_is_named(columns, message):
    with pytest.raises(DataError, match=message):
        repeats().check(columns, "here")


def test_good_data_passes():
    assert repeats().check(batch_of([0, 1], [1, 2]), "here").tolist() == [True, True]
    assert repeats().check({"tokens": torch.zeros(0, 3).int()}, "here").tolist() == []
    assert repeats().coverage(batch_of([0, 1, 2])) == "windows of 2 tokens"


@pytest.mark.parametrize("net", [nn.Identity(), nn.Sequential(nn.Embedding(3, 2))], ids=["no logits", "too narrow"])
def test_a_net_of_another_form(net):
    with pytest.raises(ModelError, match=r"the model's output has shape \[1, 2.*; vocab_size=3 needs \[1, 2, 3\] or w"):
        repeats().loss(net, batch_of([0, 1, 2]))


def test_a_net_with_a_padded_vocabulary():
    assert repeats().loss(nn.Embedding(8, 4), batch_of([0, 1, 2])).isfinite()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CausalLM(nn.Linear(1, 1), 3), "CausalLM.net=Linear.*: must be a recipe such as rc.models.GPT"),
        (lambda: repeats(unit="word"), r"CausalLM.unit='word': must be one of \('token', 'character', 'byte'\)"),
        (lambda: CausalLM(NET, 1), "CausalLM.vocab_size=1: must be >= 2"),
        (lambda: CausalLM(NET, 12), "CausalLM.vocab_size=12: must be <= the net's own, 11; take the tokenizer's"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_fingerprint_names_what_is_approved():
    task = CausalLM(NET, 11, unit="byte")
    found = task.fingerprint(FlatModel(task.model(), Exchange()).spec)
    assert found.loss == "next_token_cross_entropy(vocab_size=11)"
    assert found.metrics == ("loss", "perplexity", "accuracy", "bits_per_byte")
    assert found.exchanged[0] == ("transformer.wte.weight", (11, 8))
    with pytest.raises(ModelError, match="CausalLM gives no features"):
        task.features(task.model(), batch_of([0, 1]))
    assert CausalLM(MLP(3, 2), 2).inputs == "tokens"
