"""Product photos and titles by four parties, half of whose titles are missing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import raycollab as rc
from benchmarks.papers.digits_seen_and_heard import with_only
from benchmarks.papers.paper import Paper, final_accuracy, gains

PARTIES, ROUNDS, LENGTH, CLASSES = 4, 5, 48, 12
TRAIN = rc.data.Parquet(
    "fashion_products.parquet",
    columns=("image", "title", "label"),
    images={"image": "rgb"},
    resize={"image": (32, 32)},
    text={"title": LENGTH},
    tokenizer=rc.data.Bytes(),
    where={"split": ("train",)},
)
TEST = replace(TRAIN, where={"split": ("test",)})
ENCODERS = {
    "image": rc.models.CNN(64, in_channels=3, size=32, channels=(16, 32, 64), hidden=64),
    "title": rc.models.TextCNN(64, vocab_size=256),
}
FUSION = rc.fusion.Gated(64)
FUSED, PHOTO, TITLE = "photo and title", "photo alone", "title alone"


def task(fusion: rc.fusion.Fusion = FUSION, *, dropout: float = 0.3, auxiliary: float = 0.3) -> rc.tasks.Multimodal:
    """Twelve categories by whatever is there; a row of which nothing is there is left out."""
    net = rc.models.Multimodal(ENCODERS, fusion, CLASSES, alone=auxiliary > 0)
    return rc.tasks.Multimodal(net, CLASSES, auxiliary=auxiliary, modality_dropout=dropout, bad_rows="drop")


def experiments(
    seed: int, tiny: bool, *, what: rc.tasks.Multimodal | None = None, held_out: bool = False
) -> Mapping[str, rc.Experiment]:
    """The three of the table; `held_out` tests on a tenth of the training data, which is where settings were chosen."""
    what = what or task()
    train, test = (rc.data.Holdout(TRAIN, "test", 0.02), rc.data.Holdout(TEST, "test", 0.05)) if tiny else (TRAIN, TEST)
    if held_out:
        train, test = (rc.data.Holdout(TRAIN, side, 0.1, seed) for side in ("train", "test"))
    shards = [rc.data.Missing(part, {"title": 0.5}, seed) for part in train.split(rc.IID(PARTIES, seed))]

    def experiment(own: rc.tasks.Multimodal) -> rc.Experiment:
        learner = rc.Optimizer("AdamW", {"lr": 2e-3}, batch_size=32, epochs=1, schedule=rc.Cosine(length=ROUNDS))
        agents = [rc.Agent(f"shop-{i}", shard, learner, own, val_fraction=0.0) for i, shard in enumerate(shards)]
        run = rc.RunConfig(num_rounds=1 if tiny else ROUNDS, eval_every=ROUNDS)
        far, masked = rc.CheckpointConfig(every=10**6), rc.data.Missing(test, {"title": 0.5}, seed)
        return rc.Experiment(own, rc.Parties(tuple(agents)), (rc.Mean(),), masked, run=run, checkpoint=far)

    return {
        PHOTO: experiment(what.only("image")),
        TITLE: experiment(what.only("title")),
        FUSED: experiment(what),
    }


def claims(figures: Mapping[str, Sequence[float]]) -> Mapping[str, bool]:
    rows = {
        "the photo": (f"{FUSED}, photo", PHOTO),
        "the title": (f"{FUSED}, title", TITLE),
        "whatever is there": (FUSED, PHOTO),  # titles say nothing of half of the rows
    }
    said = {}
    for row, (ours, theirs) in rows.items():
        gain = gains(figures, ours, theirs)
        by_seed = ", ".join(f"{each:.2f}" for each in gain)
        said[f"by {row}, at least as good as the model of one modality (by seed: {by_seed})"] = min(gain) >= 0
        said[f"by {row}, at most 5 points below it"] = min(gain) >= -5
    return said


PAPER = Paper(
    title="Products by photo and title, 12 categories, 4 shops, titles missing in half of all rows",
    source="no published figure",
    kind="reduced",
    experiments=experiments,
    figure=final_accuracy,
    unit="accuracy, %",
    published={},
    claims=claims,
    columns={"photo": with_only("image"), "title": with_only("title")},
)
