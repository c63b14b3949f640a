"""Canary text: how far a small GPT gives away a code that one party's text holds.

Each party has a part of tiny-shakespeare in windows; one has a code in some of its own that nobody else has.
Exposure is log2 of the number of codes over the rank of the true one by its loss: log2(1,000) = 10 bits for a model
that finds it likeliest of a thousand, 1.4 bits on average for one that never saw it.

Source: Carlini et al., USENIX Security 2019, arXiv 1802.08232, definition 5, by sampling codes.
"""

import math
import tempfile
from collections.abc import Mapping

import torch
from torch import Tensor, nn

import raycollab as rc
from benchmarks.papers.diloco_shakespeare import CHARACTERS
from raycollab.data import Arrays
from raycollab.rng import numpy_generator

CONTEXT, DIGITS, CODES, PARTIES, WINDOWS, BATCH = 32, 6, 1000, 4, 512, 32
PREFIX = "The secret word of the king is "  # 31 characters
LETTERS = "abcdefghij"  # tiny-shakespeare has no digits but 3: ten letters stand for them
DELTA = 1e-4
TASK = rc.CausalLM(
    rc.models.GPT(CHARACTERS.vocab_size, num_layers=2, num_heads=2, width=48, context=CONTEXT + DIGITS),
    vocab_size=CHARACTERS.vocab_size,
    unit="character",
)


def learners(tiny: bool) -> Mapping[str, rc.Learner]:
    """Plain steps, and private ones."""
    budget = rc.PrivacyBudget(8.0, DELTA)
    dp = rc.DPSGD(noise=1.08, max_grad_norm=1.0, lr=1.0, epochs=1, batch_size=BATCH, budget=budget)
    plain = rc.Optimizer("AdamW", {"lr": 3e-3}, keep_state=True, epochs=1, batch_size=BATCH)
    return {"AdamW": plain, "DP-SGD, epsilon 8": dp} if not tiny else {"AdamW": plain}


def measure(seed: int, *, tiny: bool) -> dict[str, dict[str, float]]:
    """Exposure and loss by learner and number of windows with the code."""
    rounds, copies = (1, (4,)) if tiny else (30, (1, 4, 16))
    found = {}
    for name, learner in learners(tiny).items():
        for count in copies:
            found[f"{name}, {count} of {WINDOWS * PARTIES:,} windows"] = _measured(learner, seed, count, rounds)
    return found


def _measured(learner: rc.Learner, seed: int, copies: int, rounds: int) -> dict[str, float]:
    generator = numpy_generator(seed, "codes")
    codes = ["".join(LETTERS[d] for d in generator.integers(0, 10, DIGITS)) for _ in range(CODES)]
    whole = rc.data.Text("tiny_shakespeare.txt", CHARACTERS, CONTEXT + DIGITS, span=(0.0, 0.9)).read()["tokens"]
    rows = torch.from_numpy(generator.permutation(len(whole))[: WINDOWS * PARTIES])
    windows = list(whole[rows].clone().split(WINDOWS))
    windows[0][:copies] = _tokens(codes[:1])
    agents = [
        rc.Agent(f"party-{party}", Arrays({"tokens": tokens}), learner, val_fraction=0.0)
        for party, tokens in enumerate(windows)
    ]
    test = rc.data.Text("tiny_shakespeare.txt", CHARACTERS, CONTEXT + DIGITS, span=(0.97, 1.0))
    with tempfile.TemporaryDirectory() as folder:
        result = rc.fit(
            agents,
            rc.Mean(),
            task=TASK,
            test=test,
            run=rc.RunConfig(num_rounds=rounds, eval_every=rounds, seed=seed, dir=folder),
            scaling=rc.ScalingConfig(pool="local"),
            checkpoint=rc.CheckpointConfig(every=10**6),
        )
        told = [row["epsilon"] for row in result.agents if row.get("epsilon") is not None]
        losses = _losses(result.model(TASK).module.eval(), _tokens(codes))
    rank = 1 + int((losses[1:] < losses[0]).sum())
    return {
        "epsilon": max(told, default=math.inf),
        "exposure, bits": math.log2(CODES) - math.log2(rank),
        "loss on test text": result.metrics["loss"],
    }


def _tokens(codes: list[str]) -> Tensor:
    """The canary with each code, as windows [n, t]."""
    length = CONTEXT + DIGITS + 1
    texts = [(PREFIX + code).rjust(length)[:length] for code in codes]
    return torch.stack([torch.as_tensor(CHARACTERS.encode(text, "canary"), dtype=torch.int64) for text in texts])


def _losses(model: nn.Module, windows: Tensor) -> Tensor:
    """Of the code's characters alone, by window [n]."""
    with torch.no_grad():
        logs = model(windows[:, :-1]).log_softmax(2)
    each = logs.gather(2, windows[:, 1:, None]).squeeze(2)  # [n, t]
    return -each[:, -DIGITS:].sum(1)
