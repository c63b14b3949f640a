"""A party that sees, one that hears and one that does both learn one model of digits; any of it is enough to use it.

Images have a quarter of their energy left, clips are in noise (-5 dB). The report has the accuracy of every subset of
the modalities by every party, and what each modality adds; modalities.png and agents_by_modality.png show it.

Set $RAYCOLLAB_DATA to the folder of mnist_train60k.parquet, mnist_test10k.parquet and fsdd.parquet. The same as a file:
`raycollab run examples/modalities.yaml`.
"""

import argparse
from dataclasses import replace

import raycollab as rc

SHAPES, RATE = {"image": (1, 28, 28)}, 8000
PICTURES = rc.data.Parquet("mnist_train60k.parquet", shapes=SHAPES)
CLIPS = rc.data.Parquet("fsdd.parquet", columns=("wav",), audio={"wav": (RATE, 0.8)}, where={"split": ("train",)})
DULL, LOUD = rc.data.PrincipalComponents(0.25, fitted_on=PICTURES), rc.data.NoiseAtSNR(-5.0)
ENCODERS = {
    "image": rc.models.CNN(64, channels=(16, 32), hidden=64),
    "wav": rc.models.Sequential(
        (rc.models.LogMel(RATE, mels=32, hop_s=0.025), rc.models.CNN(64, size=32, channels=(16, 32, 64), hidden=64))
    ),
}


def seen(pictures: rc.Source) -> rc.Source:
    return rc.data.Distorted(pictures, (DULL,), "image")


def heard(clips: rc.Source) -> rc.Source:
    return rc.data.Distorted(clips, (LOUD,), "wav")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--pool", choices=("ray", "local"), default="ray")
    arguments = parser.parse_args()
    net = rc.models.Multimodal(ENCODERS, rc.fusion.Gated(64), num_outputs=10, alone=True)
    task = rc.Multimodal(net, num_classes=10, auxiliary=0.3, modality_dropout=0.3)
    learner = rc.Optimizer("AdamW", {"lr": 2e-3}, batch_size=32)
    eyes = rc.data.Holdout(PICTURES, "test", arguments.images / 60_000).split(rc.IID(2))
    ears = CLIPS.split(rc.IID(2))
    parties = [
        rc.Agent("sees", seen(eyes[0]), learner, task.only("image")),
        rc.Agent("hears", heard(ears[0]), learner, task.only("wav")),
        rc.Agent("both", rc.data.Paired(seen(eyes[1]), heard(ears[1])), learner, task),
    ]
    images, clips = rc.data.Parquet("mnist_test10k.parquet", shapes=SHAPES), replace(CLIPS, where={"split": ("test",)})
    test = rc.data.Paired(seen(rc.data.Holdout(images, "test", 0.1)), heard(clips))
    run = rc.RunConfig(num_rounds=arguments.rounds, eval_every=arguments.rounds)
    pool = rc.ScalingConfig(pool=arguments.pool)
    rc.fit(parties, rc.chain(rc.Mean()), test=test, task=task, run=run, scaling=pool, callbacks=[rc.Progress()])


if __name__ == "__main__":
    main()
