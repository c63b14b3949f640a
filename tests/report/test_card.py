from raycollab.report import model_card
from raycollab.types import AgentCard


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
        "10 examples in all",
        "| north | SGD | 7 examples, 2 of 2 labels |",
        "agents' own accuracy 0.5 median",
        "## Intended use\n\nTo be written by those who trained it",
    ):
        assert said in text
    assert "starts from" not in model_card(**given, rounds=4, report="")
