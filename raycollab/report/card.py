"""The model card that stands beside a trained model."""

from collections.abc import Mapping, Sequence

from raycollab.types import AgentCard

_MAX_NAMES = 8


def model_card(
    *,
    name: str,
    task: str,
    num_params: int,
    metrics: Mapping[str, float],
    cards: Sequence[AgentCard],
    rounds: int,
    report: str,
    private: Sequence[str] = (),
    base: str = "",
    num_nonzero: int | None = None,
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
        private: Names of what was not exchanged.
        base: The model that it starts from, and its license; empty for fresh weights.
        num_nonzero: Parameters among the exchanged that are not 0.
    """
    scores = "\n".join(f"| {metric} | {value:.4f} |" for metric, value in metrics.items())
    parties = "\n".join(f"| {card.agent} | {card.learner} | {card.summary} |" for card in cards)
    own = f"\n\n{private_note(private)}" if private else ""
    started = f" It starts from {base}." if base else ""
    exchanged = f"{num_params:,} parameters"
    exchanged += f", {num_nonzero:,} of them not 0," if num_nonzero not in (None, num_params) else ""
    examples = sum(card.examples for card in cards)
    return f"""# {name}

{task}, trained by {len(cards)} agents in {rounds} rounds with raycollab. {exchanged} were exchanged; no
agent's data left its host.{started}{own}

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

Learned from {examples:,} examples in all.

## Intended use

To be written by those who trained it: what it is for, for whom, and what it must not be used for.

## Use

```python
import raycollab as rc

model = rc.load("PATH OF THIS FOLDER")
predictions = model.predict({{"...": tensor}})
```
"""


def private_note(private: Sequence[str], folder: str = "RUN FOLDER") -> str:
    """What becomes of parameters and buffers that are not exchanged, in words."""
    more = f" and {len(private) - _MAX_NAMES} more" if len(private) > _MAX_NAMES else ""
    return (
        f"Not exchanged: {', '.join(private[:_MAX_NAMES])}{more}. Each agent has its own; in model/, and so in the "
        f"scores on the shared test set, they stand at their initial values. An agent's own model, with what it had in "
        f'the newest checkpoint: rc.load("{folder}", agent="NAME").'
    )
