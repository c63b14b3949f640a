"""nanoGPT's run for a CPU on tiny-shakespeare: one party with all of the text, or four with a quarter each."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import raycollab as rc
from benchmarks.papers.diloco_shakespeare import (
    NUM_AGENTS,
    OUTER,
    TASK,
    TRAIN,
    megabytes,
    rates,
    text,
    validation_loss,
)
from benchmarks.papers.paper import Paper, gains

STEPS, BATCH = 2000, 12  # of all parties together
ADAMW = {"lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.1}
LR_TOGETHER, INNER = 2e-3, 10
POOLED, TOGETHER = "pooled, nanoGPT's recipe", "4 agents, as many tokens in all"


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    steps, inner = (16, 2) if tiny else (STEPS, INNER)
    pooled = rc.Optimizer(
        "AdamW",
        ADAMW,
        keep_state=True,
        steps=steps // 4,
        batch_size=BATCH,
        max_grad_norm=1.0,
        schedule=rates(steps, "steps"),
        autocast=True,
    )
    local = replace(pooled, args={**ADAMW, "lr": LR_TOGETHER}, steps=inner, batch_size=BATCH // NUM_AGENTS)
    end = 0.04 if tiny else TRAIN
    quarter = end / NUM_AGENTS
    parties = [(quarter * i, quarter * (i + 1)) for i in range(NUM_AGENTS)]
    validation = text(0.99 if tiny else TRAIN, 1.0)
    return {
        POOLED: _experiment([(0.0, end)], pooled, (rc.Mean(),), 4, validation),
        TOGETHER: _experiment(
            parties, local, (rc.Mean("tokens"), rc.ServerOptimizer("SGD", OUTER)), steps // inner, validation
        ),
    }


def _experiment(
    spans: Sequence[tuple[float, float]],
    learner: rc.Learner,
    chain: tuple[rc.Aggregator | rc.Transform, ...],
    rounds: int,
    validation: rc.Source,
) -> rc.Experiment:
    agents = [rc.Agent(f"party-{i}", text(*span, stride=1), learner, val_fraction=0.0) for i, span in enumerate(spans)]
    run = rc.RunConfig(num_rounds=rounds, eval_every=rounds)
    checkpoint = rc.CheckpointConfig(every=10**6)
    return rc.Experiment(TASK, rc.Parties(tuple(agents)), chain, validation, run=run, checkpoint=checkpoint)


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    gaps = gains(figures, TOGETHER, POOLED)
    by_seed = ", ".join(f"{gap:+.3f}" for gap in gaps)
    return {f"4 agents' loss is at most 0.1 above the pooled one in all seeds (by seed: {by_seed})": max(gaps) <= 0.1}


PAPER = Paper(
    title="nanoGPT's run for a CPU, a GPT of 804,096 parameters on the characters of tiny-shakespeare",
    source="Karpathy's nanoGPT, README, 'I only have a macbook'",
    kind="full run",
    experiments=experiments,
    figure=validation_loss,
    unit="validation loss, nats a character",
    published={POOLED: "1.88"},
    claims=claims,
    columns={"MB": megabytes},
)
