"""Four newsrooms, each with mostly its own topics of AG News, learn to tell the four topics apart with a small BERT.

8 rounds of one pass over 4,999 texts: on the official test set accuracy 0.827 and 0.773 with seeds 0 and 1, whose
topics are dealt out differently; one party that holds all texts, with as many passes, 0.829 and 0.813.

Set $RAYCOLLAB_DATA to the folder of ag_news_train_sub.parquet and ag_news_test.parquet: columns `text` and `label`.
Words are numbered by their hashes and the net starts from nothing, so nobody counts words and nothing is downloaded.
"""

import argparse

import raycollab as rc

TOPICS = 4  # world, sports, business, science and technology
WORDS = rc.data.HashedWords(16384)
SMALL_BERT = {
    "model_type": "bert",
    "vocab_size": WORDS.vocab_size,
    "hidden_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 64,
}


def news(part: str) -> rc.data.Parquet:
    return rc.data.Parquet(f"ag_news_{part}.parquet", text={"text": 64}, tokenizer=WORDS)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--alpha", type=float, default=0.3, help="how different their topics are: less is more")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pool", choices=("ray", "local"), default="ray")
    parser.add_argument("--dir", default="runs")
    arguments = parser.parse_args()
    net = rc.models.Transformers(head="sequence-classification", pretrained=False, num_labels=TOPICS, config=SMALL_BERT)
    rate = rc.Cosine(length=arguments.rounds, final=0.1)
    learner = rc.Optimizer("AdamW", {"lr": 2e-3, "weight_decay": 0.01}, batch_size=32, schedule=rate)
    train = news("train_sub")
    shards = train.split(rc.Dirichlet(arguments.alpha, num_parts=4, seed=arguments.seed))
    newsrooms = [rc.Agent(f"newsroom-{i}", shard, learner) for i, shard in enumerate(shards)]
    for agents in (newsrooms, [rc.Agent("pooled", train, learner)]):
        result = rc.fit(
            agents,
            rc.chain(rc.Mean()),
            test=news("test"),
            task=rc.TextClassification(net, TOPICS),
            run=rc.RunConfig(num_rounds=arguments.rounds, eval_every=2, seed=arguments.seed, dir=arguments.dir),
            scaling=rc.ScalingConfig(pool=arguments.pool),
            callbacks=[rc.Progress()],
        )
        print(result.report())
        print(f"{len(agents)} agents: accuracy {result.metrics['accuracy']:.4f}")


if __name__ == "__main__":
    main()
