"""Six banks, each with customers of another education, learn together who will not pay next month.

60 rounds of a pass over each bank's rows, a fifth of all rows held out: AUC 0.765, 0.765 and 0.766 with seeds 0, 1 and
2; pooled, 60 passes: 0.768, 0.766 and 0.768. Both together take 40 seconds on one core. Settings were chosen on rows
held out of the training rows.

Set $RAYCOLLAB_DATA to the folder of credit_default.parquet (UCI Default of Credit Card Clients, Taiwan).
"""

import argparse

import raycollab as rc

STATUS = tuple(f"PAY_{month}" for month in (0, 2, 3, 4, 5, 6))
AMOUNTS = tuple(f"{what}_AMT{month}" for what in ("BILL", "PAY") for month in range(1, 7))
NUMBERS = ("LIMIT_BAL", "AGE", *STATUS, *AMOUNTS)
MEAN = [167000, 35.5, *[-0.18] * 6, *[45000] * 6, *[5300] * 6]  # rounded: the same for all banks
DEVIATION = [130000, 9.2, *[1.15] * 6, *[66000] * 6, *[17500] * 6]
CATEGORIES = {"SEX": ("1", "2"), "EDUCATION": tuple("0123456"), "MARRIAGE": tuple("0123")}
EDUCATION = {"graduates": 1, "university": 2, "high-school": 3, "others": 4, "unknown": 5, "not-stated": 6}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of the run; which rows are held out stays the same")
    parser.add_argument("--pool", choices=("ray", "local"), default="ray")
    parser.add_argument("--dir", default="runs")
    arguments = parser.parse_args()
    rows = rc.data.Parquet("credit_default.parquet", columns=NUMBERS, categories=CATEGORIES, stack={"numbers": NUMBERS})
    train, test = rc.data.Holdout(rows, "train"), rc.data.Holdout(rows, "test")  # a fifth of the rows is for nobody
    sizes = [len(names) for names in CATEGORIES.values()]
    net = rc.models.Tabular(2, len(NUMBERS), sizes, MEAN, DEVIATION, dropout=0.3)
    task = rc.TabularClassification(net, num_classes=2, inputs=("numbers", *CATEGORIES))
    learner = rc.Optimizer("AdamW", {"lr": 1e-3, "weight_decay": 1e-3}, batch_size=128, keep_state=True)
    shards = train.split(rc.ByColumn("EDUCATION", tuple(EDUCATION.values())))
    parties = [rc.Agent(name, shard, learner) for name, shard in zip(EDUCATION, shards, strict=True)]
    for agents in (parties, [rc.Agent("pooled", train, learner)]):
        result = rc.fit(
            agents,
            rc.chain(rc.Mean()),
            test=test,
            task=task,
            run=rc.RunConfig(num_rounds=arguments.rounds, eval_every=5, seed=arguments.seed, dir=arguments.dir),
            scaling=rc.ScalingConfig(pool=arguments.pool),
            callbacks=[rc.Progress()],
        )
        print(f"{len(agents)} agents: AUC {result.metrics['auc']:.4f}, accuracy {result.metrics['accuracy']:.4f}")


if __name__ == "__main__":
    main()
