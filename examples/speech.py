"""Six speakers, each with its own recordings, learn to hear spoken digits together.

20 rounds of two passes over each speaker's clips: accuracy 0.983 and 0.970 on the official test split with seeds 0 and
1; pooled, 40 passes: 0.993 both times. Both together take two minutes on one core.

Set $RAYCOLLAB_DATA to the folder of fsdd.parquet (Free Spoken Digit Dataset: `wav`, `label`, `speaker`, `split`).
"""

import argparse
from dataclasses import replace

import raycollab as rc

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
RATE, SECONDS = 8000, 0.8
CLIPS = rc.data.Parquet("fsdd.parquet", columns=("wav",), audio={"wav": (RATE, SECONDS)}, where={"split": ("train",)})
HEAR = rc.models.LogMel(RATE, mels=32, window_s=0.05, hop_s=0.025)  # 32 bands in 32 windows: an image for the CNN
NET = rc.models.CNN(num_outputs=10, size=32, channels=(16, 32, 64), hidden=64, batch_norm=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pool", choices=("ray", "local"), default="ray")
    parser.add_argument("--dir", default="runs")
    arguments = parser.parse_args()
    task = rc.AudioClassification(rc.models.Sequential((HEAR, NET)), num_classes=10)
    learner = rc.Optimizer("AdamW", {"lr": 2e-3}, batch_size=16, epochs=2, keep_state=True)
    shards = CLIPS.split(rc.ByColumn("speaker", SPEAKERS))
    parties = [rc.Agent(speaker, shard, learner) for speaker, shard in zip(SPEAKERS, shards, strict=True)]
    for agents in (parties, [rc.Agent("pooled", CLIPS, learner)]):
        result = rc.fit(
            agents,
            rc.chain(rc.Mean()),
            test=replace(CLIPS, where={"split": ("test",)}),
            task=task,
            run=rc.RunConfig(num_rounds=arguments.rounds, eval_every=5, seed=arguments.seed, dir=arguments.dir),
            scaling=rc.ScalingConfig(pool=arguments.pool),
            callbacks=[rc.Progress()],
        )
        print(f"{len(agents)} agents: accuracy {result.metrics['accuracy']:.4f}")


if __name__ == "__main__":
    main()
