"""DiLoCo against merging after every step: a character-level GPT on tiny-shakespeare, a quarter of the text a party."""

import string
from collections.abc import Mapping, Sequence

import raycollab as rc
from benchmarks.papers.paper import Paper, gains

CHARACTERS = rc.data.Characters("\n !$&',-.3:;?" + string.ascii_uppercase + string.ascii_lowercase)
CONTEXT = 64
TASK = rc.CausalLM(
    rc.models.GPT(CHARACTERS.vocab_size, num_layers=4, num_heads=4, width=128, context=CONTEXT),
    vocab_size=CHARACTERS.vocab_size,
    unit="character",
)
NUM_AGENTS = 4
TRAIN = 0.9  # nanoGPT's share of the text; the rest is for validation
ADAMW = {"lr": 3e-3, "betas": (0.9, 0.99), "weight_decay": 0.1}
OUTER = {"lr": 1.0, "momentum": 0.5, "nesterov": True}


def text(begin: float, end: float, stride: int | None = None) -> rc.data.Text:
    """A part of tiny-shakespeare; with stride=1 windows begin anywhere, as nanoGPT draws them."""
    return rc.data.Text("tiny_shakespeare.txt", CHARACTERS, CONTEXT, stride=stride, span=(begin, end))


def rates(steps: int, over: str) -> rc.Cosine:
    """The schedule of nanoGPT: 100 steps of warm-up, then a cosine down to a tenth."""
    return rc.Cosine(length=steps, warmup=steps // 20, final=0.1, over=over)


def experiments(seed: int, tiny: bool) -> Mapping[str, rc.Experiment]:
    steps, inner = (20, 5) if tiny else (2000, 50)
    quarter = TRAIN / NUM_AGENTS
    gradient = rc.FedSGD(batch_size=12, steps=1, autocast=True)
    local = rc.Optimizer(
        "AdamW",
        ADAMW,
        keep_state=True,
        steps=inner,
        batch_size=12,
        max_grad_norm=1.0,
        schedule=rates(steps, "steps"),
        autocast=True,
    )
    adamw = (rc.ServerOptimizer("AdamW", ADAMW), rc.Scale(rates(steps, "rounds")))
    forms = {
        "synchronous": (gradient, (rc.Mean("tokens"), rc.ClipNorm(1.0), *adamw), steps, steps // 4),
        "DiLoCo": (local, (rc.Mean("tokens"), rc.ServerOptimizer("SGD", OUTER)), steps // inner, 10),
    }
    return {
        name: rc.Experiment(
            TASK,
            rc.Parties(
                tuple(
                    rc.Agent(f"party-{i}", text(quarter * i, quarter * (i + 1), stride=1), learner, val_fraction=0.0)
                    for i in range(NUM_AGENTS)
                )
            ),
            chain,
            text(0.99 if tiny else TRAIN, 1.0),
            run=rc.RunConfig(num_rounds=num_rounds, eval_every=max(eval_every, 1)),
            checkpoint=rc.CheckpointConfig(every=10**6),
        )
        for name, (learner, chain, num_rounds, eval_every) in forms.items()
    }


def validation_loss(result: rc.Result) -> float:
    """Nats a character on the validation text, after the last round."""
    return result.metrics["loss"]


def megabytes(result: rc.Result) -> float:
    """What crossed in the whole run, both ways."""
    return sum(row["bytes_up"] + row["bytes_down"] for row in result.history) / 1e6


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    gaps = gains(figures, "DiLoCo", "synchronous")
    sent = min(a / b for a, b in zip(figures["synchronous, MB"], figures["DiLoCo, MB"], strict=True))
    by_seed = ", ".join(f"{gap:+.3f}" for gap in gaps)
    return {
        f"DiLoCo's loss is at most 0.05 above the synchronous one in all seeds (by seed: {by_seed})": max(gaps) <= 0.05,
        f"with 50 times fewer bytes ({sent:.1f})": sent >= 50,
    }


PAPER = Paper(
    title="DiLoCo, 4 agents, H=50, a GPT of 804,096 parameters on the characters of tiny-shakespeare, 2,000 steps",
    source="beside Douillard et al., 2023, arXiv 2311.08105: 8 agents, H=500, 150 M parameters on C4; nanoGPT's run on "
    "a CPU, 2,000 steps of one agent, ends at 1.88",
    kind="reduced",
    experiments=experiments,
    figure=validation_loss,
    unit="validation loss, nats a character",
    published={},
    claims=claims,
    columns={"MB": megabytes},
)
