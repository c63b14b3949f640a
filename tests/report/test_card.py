"""The model card: what it is made of, and what the cards of a run and of its export say."""

from pathlib import Path

import pytest
import torch

import raycollab as rc
from raycollab.report import model_card
from raycollab.types import AgentCard

from ..tasks.nets import bert

TEXTS = torch.randint(3, 12, (24, 5), generator=torch.Generator().manual_seed(0))
ROWS = rc.data.Arrays({"text": TEXTS, "label": torch.arange(24) % 3})
BERT = rc.TextClassification(bert("sequence-classification", num_labels=3), 3)


def test_what_the_card_says():
    cards = [AgentCard("north", 7, "7 examples, 2 of 2 labels", "SGD"), AgentCard("south", 3, "3 examples", "SGD")]
    given = {
        "name": "trial",
        "task": "Classification",
        "num_params": 1234,
        "metrics": {"accuracy": 0.5},
        "cards": cards,
    }
    text = model_card(**given, rounds=4, report="agents' own accuracy 0.5 median", base="minilm (license apache-2.0)")
    for said in (
        "trained by 2 agents in 4 rounds",
        "1,234 parameters were exchanged",
        "starts from minilm (license apache-2.0)",
        "Learned from 10 examples in all.",
        "| north | SGD | 7 examples, 2 of 2 labels |",
        "agents' own accuracy 0.5 median",
        "## Intended use\n\nTo be written by those who trained it",
    ):
        assert said in text
    assert "starts from" not in model_card(**given, rounds=4, report="")


class Listens(rc.Callback):
    def on_start(self, started):
        self.cards = started.cards


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two rounds of three parties that tell texts apart: its result, and what its agents said when it started."""
    heard = Listens()
    learners = [rc.SGD(lr=0.1, steps=1), rc.Prox(rc.SGD(lr=0.1, steps=1), mu=0.1), rc.SGD(lr=0.1, steps=1)]
    shards = ROWS.split(rc.IID(3))
    result = rc.fit(
        [rc.Agent(f"party-{i}", *pair, val_fraction=0.25) for i, pair in enumerate(zip(shards, learners, strict=True))],
        rc.Mean(),
        test=ROWS,
        task=BERT,
        run=rc.RunConfig(num_rounds=2, name="trial", dir=str(tmp_path_factory.mktemp("runs"))),
        scaling=rc.ScalingConfig(pool="local"),
        callbacks=[heard],
    )
    return result, heard.cards


def expected(run):
    """What stands in every card of the run."""
    result, cards = run
    assert [card.summary for card in cards] == ["8 examples (2 for validation), 0 rejected, 3 of 3 labels"] * 3
    spread = next(line for line in result.report().splitlines() if line.startswith("agents' own accuracy"))
    return [
        "# trial\n\nTextClassification, trained by 3 agents in 2 rounds with raycollab.",
        *(f"| accuracy | {result.metrics['accuracy']:.4f} |", f"| loss | {result.metrics['loss']:.4f} |"),
        *(f"| {card.agent} | {card.learner} | {card.summary} |" for card in cards),
        "Learned from 18 examples in all.",
        spread,
        result.report(),
    ]


def test_the_card_of_a_run(run):
    text = (Path(run[0].path) / "model" / "README.md").read_text()
    assert [said for said in expected(run) if said not in text] == []
    assert 'model = rc.load("' in text


@pytest.mark.parametrize(
    ("format", "use"),
    [
        ("transformers", "model = BertForSequenceClassification.from_pretrained(FOLDER)"),
        ("safetensors", 'model = rc.load("'),
    ],
)
def test_the_card_goes_along_with_an_export(run, tmp_path, format, use):
    """Its last part says how this form is read; all else is the run's."""
    done = rc.export(run[0].path, str(tmp_path / "out"), format=format)
    text = (Path(done.folder) / "README.md").read_text()
    assert [said for said in expected(run) if said not in text] == []
    assert use in text
    assert text.count("\n## Use\n") == 1
    assert text.count("model = ") == 1
