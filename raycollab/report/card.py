"""The model card that stands beside a trained model."""

from collections.abc import Mapping, Sequence

from raycollab.types import AgentCard


def model_card(
    *,
    name: str,
    task: str,
    num_params: int,
    metrics: Mapping[str, float],
    cards: Sequence[AgentCard],
    rounds: int,
    report: str,
) -> str:
    """Markdown: what the model does, who took part, how it scores.

    Args:
        name: Name of the run.
        task: What it was trained for.
        num_params: Parameters that were exchanged.
        metrics: On the shared test set.
        cards: One per agent.
        rounds: Rounds that were committed.
        report: Longer text on the shared test set.
    """
    scores = "\n".join(f"| {metric} | {value:.4f} |" for metric, value in metrics.items())
    parties = "\n".join(f"| {card.agent} | {card.learner} | {card.summary} |" for card in cards)
    return f"""# {name}

{task}, trained by {len(cards)} agents in {rounds} rounds with raycollab. {num_params:,} parameters were exchanged; no
agent's data left its host.

## On the shared test set

| metric | value |
|---|---|
{scores}

```
{report}
```

## Who took part

| agent | learner | data |
|---|---|---|
{parties}

## Use

```python
import raycollab as rc

model = rc.load("PATH OF THIS FOLDER")
predictions = model.predict({{"...": tensor}})
```
"""
