"""Eight parties learn handwritten digits together, in 15 lines.

Reaches an accuracy of 0.97 on the shared test set within 20 rounds; about 20 seconds on two CPU cores.
"""

import raycollab as rc

task = rc.ImageClassification(rc.models.MLP(num_features=64, num_outputs=10), num_classes=10)
shards = rc.data.Digits("train").split(rc.Dirichlet(alpha=0.3, num_parts=8))  # lazy: read inside each agent
agents = [rc.Agent(f"party-{i}", shard, rc.SGD(lr=0.1, momentum=0.9, epochs=2), task) for i, shard in enumerate(shards)]

if __name__ == "__main__":
    result = rc.fit(
        agents,
        rc.chain(rc.ClipNorm(10.0), rc.Mean(), rc.Momentum(0.5)),
        test=rc.data.Digits("test"),
        run=rc.RunConfig(num_rounds=20, target="accuracy >= 0.97"),
        callbacks=[rc.Progress()],
    )
    print(result.report())
