"""Images and their texts: the loss by hand, retrieval among which pairs, and what is refused."""

import math

import pytest
import torch
from torch import nn

import raycollab as rc
from raycollab.data import Arrays
from raycollab.errors import ConfigError, DataError, ModelError
from raycollab.models import MLP, TwoTowers
from raycollab.params import Exchange, FlatModel
from raycollab.tasks import Contrastive

from .nets import bert

TEXT = bert("sequence-classification", num_labels=4)
NET = TwoTowers(MLP(16, 4, ()), TEXT)
TASK = Contrastive(NET, candidates=4)


def pairs(number=10):
    """Images, and texts of 3 to 5 tokens that all differ."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 12, (number, 5), generator=generator)
    tokens[:, 0] = torch.arange(number) % 11 + 1
    tokens[1::2, 3:] = -1
    return {"image": torch.rand(number, 1, 4, 4, generator=generator), "text": tokens}


class Known(nn.Module):
    """Two towers whose outputs are known."""

    def __init__(self, images, texts, scale=1.0):
        super().__init__()
        self.images, self.texts = torch.tensor(images), torch.tensor(texts)
        self.text = nn.Identity()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def forward(self, images, tokens, attention_mask):
        return self.images, self.texts


RIGHT = Known([[1.0, 0.0], [0.0, 3.0]], [[2.0, 0.0], [0.0, 1.0]], scale=2.0)


def test_the_loss_by_hand():
    """Cosines are 1 on the diagonal and 0 beside it, times a scale of 2: log(1 + exp(-2)) both ways."""
    assert TASK.loss(RIGHT, pairs(2)).item() == pytest.approx(math.log(1 + math.exp(-2)), rel=1e-6)
    swapped = Known([[1.0, 0.0], [0.0, 3.0]], [[0.0, 1.0], [2.0, 0.0]], scale=2.0)
    assert TASK.loss(swapped, pairs(2)).item() == pytest.approx(math.log(1 + math.exp(2)), rel=1e-6)


def test_both_directions_count():
    """Both texts lie with the first image: by image log(2) and log(2); by text log(1 + 1/e) and log(1 + e)."""
    one = Known([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]])
    expected = (math.log(2) + (math.log(1 + math.exp(-1)) + math.log(1 + math.e)) / 2) / 2
    assert TASK.loss(one, pairs(2)).item() == pytest.approx(expected, rel=1e-6)
    found = TASK.statistics(one, pairs(2)).compute()
    assert found["loss"] == pytest.approx(expected, rel=1e-6)
    assert found["text_to_image"] == 0.5


def test_the_scale_is_at_most_100():
    scaled = TASK.compared(Known([[1.0, 0.0]] * 2, [[1.0, 0.0]] * 2, scale=1000.0), pairs(2))
    assert scaled.max().item() == pytest.approx(100)


def test_the_temperature_is_learned():
    net = TASK.model()
    assert math.exp(-net.log_scale.item()) == pytest.approx(0.07, rel=1e-5)
    TASK.loss(net, pairs()).backward()
    assert net.log_scale.grad.abs() > 0


def test_retrieval_is_among_the_pairs_of_a_group_and_merges():
    """10 pairs in groups of 4, 4 and 2: as many right as each has by itself, whatever groups a batch holds."""
    net = TASK.model().eval()
    whole = TASK.evaluate(net, [pairs()]).compute()
    batches = [{name: column[rows] for name, column in pairs().items()} for rows in (slice(0, 8), slice(8, 10))]
    parts = TASK.evaluate(net, batches).compute()
    right = {"image_to_text": 0, "text_to_image": 0}
    for rows in (slice(0, 4), slice(4, 8), slice(8, 10)):
        found = TASK.predict(net, {name: column[rows] for name, column in pairs().items()})
        scores = found["image_embedding"] @ found["text_embedding"].T
        own = torch.arange(len(scores))
        right["image_to_text"] += int((scores.argmax(1) == own).sum())
        right["text_to_image"] += int((scores.argmax(0) == own).sum())
    for name, number in right.items():
        assert whole[name] == parts[name] == number / 10
    assert whole["loss"] == pytest.approx(parts["loss"], rel=1e-6)


def test_a_text_that_says_the_same_is_right_too():
    """The first image's nearest text is the second's, which holds the same tokens; with others it is wrong."""
    net = Known([[1.0, 0.0], [1.0, 0.1]], [[0.0, 1.0], [1.0, 0.0]])
    batch = pairs(2)
    assert TASK.statistics(net, batch).compute()["image_to_text"] == 0.5
    same = {**batch, "text": batch["text"][:1].expand(2, -1)}
    assert TASK.statistics(net, same).compute()["image_to_text"] == 1.0


def test_padding_changes_nothing():
    net = TASK.model().eval()
    wider = {**pairs(), "text": nn.functional.pad(pairs()["text"], (0, 3), value=-1)}
    for name, values in TASK.predict(net, pairs()).items():
        torch.testing.assert_close(TASK.predict(net, wider)[name], values)
        assert values.norm(dim=1).tolist() == pytest.approx([1.0] * 10, rel=1e-5)


def test_a_text_taken_away_changes_no_image():
    """Embeddings of a pair depend on nothing beside it, and each on its own half."""
    net = TASK.model().eval()
    alone = {**pairs(), "text": torch.ones(10, 5, dtype=torch.int64)}
    found, others = TASK.predict(net, pairs()), TASK.predict(net, alone)
    assert torch.equal(found["image_embedding"], others["image_embedding"])
    assert not torch.allclose(found["text_embedding"], others["text_embedding"])


def test_it_learns_over_agents(tmp_path):
    """Ten images, each with its own text, learned by heart by two agents that hold all of them."""
    agents = [
        rc.Agent(
            f"a{i}", Arrays(pairs()), rc.Optimizer("AdamW", {"lr": 0.02}, epochs=5, batch_size=10), val_fraction=0.0
        )
        for i in range(2)
    ]
    run = rc.RunConfig(num_rounds=12, dir=str(tmp_path))
    local = rc.ScalingConfig(pool="local")
    result = rc.fit(agents, rc.Mean(), test=Arrays(pairs()), task=Contrastive(NET), run=run, scaling=local)
    assert result.history[-1]["loss"] < 0.7 * math.log(10)
    assert result.metrics["image_to_text"] >= 0.5
    again = rc.load(result.path).predict(pairs())
    assert set(again) == {"image_embedding", "text_embedding"}


def test_fingerprint():
    found = TASK.fingerprint(FlatModel(TASK.model(), Exchange()).spec)
    assert found.loss == "image_text_cross_entropy"
    assert found.metrics == ("loss", "image_to_text", "text_to_image")
    assert {name.partition(".")[0] for name, _ in found.exchanged} == {"image", "text", "log_scale"}


# ---- what is refused


def test_a_batch_or_a_shard_of_one_pair():
    with pytest.raises(
        DataError, match="this batch: Contrastive tells examples apart from each other, and there is only"
    ):
        TASK.loss(TASK.model(), pairs(1))
    with pytest.raises(DataError, match="here: Contrastive tells examples apart"):
        TASK.check(pairs(1), "here")
    assert TASK.check(pairs(2), "here").all()


def test_columns_of_another_form():
    assert TASK.check(pairs(), "here").all()
    for name in ("image", "text"):
        rest = {other: column for other, column in pairs().items() if other != name}
        with pytest.raises(DataError, match=f"here: the task needs column '{name}'; there are: "):
            TASK.check(rest, "here")
    with pytest.raises(DataError, match="row 0 of column 'text' holds token 12, and the net knows 12"):
        TASK.check({**pairs(2), "text": torch.tensor([[12, 1], [1, 2]])}, "here")
    with pytest.raises(DataError, match="row 1 of column 'text' holds no token"):
        TASK.check({**pairs(2), "text": torch.tensor([[2, 1], [-1, -1]])}, "here")
    with pytest.raises(DataError, match=r"column 'image' holds float32 of shape \[2, 16\]; images are floats"):
        TASK.check({**pairs(2), "image": torch.zeros(2, 16)}, "here")
    bad = pairs()
    bad["image"][4, 0, 0, 0] = torch.nan
    with pytest.raises(DataError, match="row 4 of column 'image' holds NaN or infinity"):
        TASK.check(bad, "here")
    assert Contrastive(NET, bad_rows="drop").check(bad, "here").sum() == 9


def test_nets_of_another_form():
    with pytest.raises(ModelError, match=r"Contrastive: the net learns no temperature; give rc.models.TwoTowers\("):
        Contrastive(MLP(16, 4)).model()
    uneven = Contrastive(TwoTowers(MLP(16, 3, ()), TEXT))
    with pytest.raises(ModelError, match=r"outputs have shapes \[10, 3\] and \[10, 4\]; both must be \[10, p\]"):
        uneven.loss(uneven.model(), pairs())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Contrastive("clip"), r"Contrastive.net='clip': must be a recipe such as rc.models.TwoTowers\("),
        (lambda: Contrastive(NET, text="image"), "Contrastive.text='image': must be another column than the image's"),
        (lambda: Contrastive(NET, candidates=1), "Contrastive.candidates=1: must be >= 2"),
        (lambda: Contrastive(NET, bad_rows="skip"), "Contrastive.bad_rows='skip': must be 'error' or 'drop'"),
        (lambda: TwoTowers(MLP(4, 2), "bert"), "TwoTowers.text='bert': must be a recipe such as rc.models.CNN"),
        (lambda: TwoTowers(MLP(4, 2), TEXT, temperature=0.0), r"TwoTowers.temperature=0.0: must be in \[0.01, 1\]"),
    ],
)
def test_settings(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
