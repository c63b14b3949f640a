"""What an agent does about rows that are suspect: they are kept, dropped, or count half; and training gains by it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import raycollab as rc
from raycollab.checkpoint import RunFolder
from raycollab.data import WEIGHT, Arrays, Digits, Parquet, Streamed, StreamedShard
from raycollab.errors import ConfigError, DataError
from raycollab.quality.opening import open_shard
from raycollab.quality.suspects import find_suspects
from raycollab.verify import digest

from .test_confident import DIGITS, flipped

TASK = rc.ImageClassification(rc.models.MLP(64, 10), num_classes=10)
LABELS, WRONG = flipped(DIGITS["label"], 0.1, 0)
NOISY = Arrays({"image": DIGITS["image"], "label": LABELS})


def opened(source=NOISY, quality="keep", task=TASK, val_fraction=0.0):
    return open_shard(source, task, where="here", val_fraction=val_fraction, seed=0, quality=quality)


def test_keep_drop_and_down_weight():
    suspects = find_suspects(NOISY.read(), TASK)
    count = int(suspects.places.sum())
    kept, dropped, light = (opened(quality=quality) for quality in ("keep", "drop", "down-weight"))
    assert kept.shard.num_examples() == light.shard.num_examples() == len(LABELS)
    assert dropped.shard.num_examples() == len(LABELS) - count
    assert torch.equal(dropped.shard.columns()["label"], LABELS[~suspects.places])
    assert torch.equal(light.shard.columns()[WEIGHT] == 0.5, suspects.places)
    assert WEIGHT not in kept.shard.columns()
    assert kept.summary == "1,438 examples (0 for validation), 0 rejected, 10 of 10 labels"
    assert f"{count} suspects dropped" in dropped.summary
    assert f"{count} suspects down-weighted" in light.summary


def test_inputs_that_do_not_tell_labels_apart_accuse_nobody():
    """Labels at random: half or more of all would look wrong."""
    drawn = torch.randint(0, 10, (500,), generator=torch.Generator().manual_seed(0))
    source = Arrays({"image": DIGITS["image"][:500], "label": drawn})
    found = find_suspects(source.read(), TASK)
    assert found.unjudged == "examples alike do not share them"
    assert found.agreement < 0.3
    assert opened(source, "drop").shard.num_examples() == 500
    assert "labels not judged, because examples alike do not share them" in opened(source, "drop").summary


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"image": DIGITS["image"][:3], "label": DIGITS["label"][:3]}, "an example is compared with 5 others, and"),
        ({"image": DIGITS["image"][:50].long(), "label": DIGITS["label"][:50]}, "the inputs hold no numbers, names or"),
        ({"image": DIGITS["image"][:50], "label": DIGITS["label"][:50] + 5}, "some of them are none of the task's"),
    ],
    ids=["few rows", "nothing to compare", "unknown labels"],
)
def test_what_cannot_be_judged(columns, reason):
    found = find_suspects(columns, TASK)
    assert found.unjudged.startswith(reason)
    assert not found.places.any()


def test_labels_of_parts_of_examples_are_not_judged():
    columns = {"features": torch.randn(20, 4), "label": torch.randint(0, 2, (20, 3))}
    found = find_suspects(columns, rc.tasks.MultiLabel(rc.models.MLP(4, 3), num_labels=3))
    assert found.unjudged == "only examples with one label each are compared"


def test_skipped_rows_count_as_rejected(tmp_path):
    path = str(tmp_path / "t.parquet")
    pq.write_table(pa.table({"features": [1.0, 2.0, float("nan")], "label": [0, None, 1]}), path)
    task = rc.Classification(rc.models.MLP(1, 2), num_classes=2, bad_rows="drop")
    summary = opened(Parquet(path, bad_rows="skip"), task=task).summary
    assert summary == "1 examples (0 for validation), 2 rejected, 1 of 2 labels"
    with pytest.raises(DataError, match="row 1 is null"):
        opened(Parquet(path), task=task)


def test_streams_are_opened_without_being_read(tmp_path):
    path = str(tmp_path / "t.parquet")
    pq.write_table(pa.table({"features": np.arange(40, dtype=np.float32), "label": [0, 1] * 20}), path)
    task = rc.Classification(rc.models.MLP(1, 2), num_classes=2)
    found = opened(Streamed(Parquet(path)), task=task, val_fraction=0.1)
    assert isinstance(found.shard, StreamedShard)
    assert found.summary == "40 examples (4 for validation), streamed"
    with pytest.raises(ConfigError, match="quality='drop': must be 'keep' for a streamed source"):
        opened(Streamed(Parquet(path)), "drop", task)


def test_agents_learn_from_streams_and_the_seed_gives_the_bits(tmp_path):
    """Two parties with a file each, ten row groups to a file: the digits are learned, twice the same."""
    agents = []
    for index, part in enumerate(Digits("train").split(rc.IID(2))):
        columns = part.read()
        images = pa.FixedSizeListArray.from_arrays(pa.array(columns["image"].flatten().numpy()), 64)
        path = f"{tmp_path}/{index}.parquet"
        pq.write_table(pa.table({"image": images, "label": columns["label"].numpy()}), path, row_group_size=72)
        source = Streamed(Parquet(path, shapes={"image": (1, 8, 8)}), buffer=128)
        agents.append(rc.Agent(f"party-{index}", source, rc.SGD(lr=0.1, momentum=0.9, epochs=2), TASK))
    settings = {"test": Digits("test"), "scaling": rc.ScalingConfig(pool="local")}
    results = [
        rc.fit(agents, rc.Mean(), run=rc.RunConfig(num_rounds=6, dir=str(tmp_path)), **settings) for _ in range(2)
    ]
    assert results[0].metrics["accuracy"] > 0.9
    assert len({digest(RunFolder.open(result.path)) for result in results}) == 1


def test_settings_are_refused():
    for make in (lambda: rc.Agent("a", NOISY, rc.SGD(), quality="fix"),
                 lambda: rc.Split(NOISY, rc.IID(2), (rc.SGD(),), quality="fix")):  # fmt: skip
        with pytest.raises(ConfigError, match=r"quality='fix': must be 'keep', 'down-weight' or 'drop'"):
            make()


def accuracy(quality, seed, tmp_path):
    """On clean test digits, of two parties that train long enough to learn their wrong labels by heart."""
    labels, _ = flipped(DIGITS["label"], 0.1, seed)
    shards = Arrays({"image": DIGITS["image"], "label": labels}).split(rc.IID(2, seed=seed))
    task = rc.ImageClassification(rc.models.MLP(64, 10, hidden=(256,)), num_classes=10)
    learner = rc.SGD(lr=0.1, momentum=0.9, epochs=10)
    agents = [rc.Agent(f"party-{i}", shard, learner, task, 0.0, quality=quality) for i, shard in enumerate(shards)]
    run = rc.RunConfig(num_rounds=10, seed=seed, dir=str(tmp_path), eval_every=10)
    result = rc.fit(agents, rc.Mean(), test=Digits("test"), run=run, scaling=rc.ScalingConfig(pool="local"))
    return result.metrics["accuracy"]


def test_training_without_the_suspects_is_better(tmp_path):
    """Ten per cent of the labels are wrong. When recorded: 0.958 kept, 0.965 down-weighted, 0.983 dropped."""
    scores = {
        quality: np.mean([accuracy(quality, seed, tmp_path) for seed in range(2)])
        for quality in ("keep", "down-weight", "drop")
    }
    assert scores["drop"] > scores["keep"] + 0.01, scores
    assert scores["down-weight"] > scores["keep"], scores
