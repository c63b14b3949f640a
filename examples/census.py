"""Eight associations, each with the census rows of its occupations, learn together who earns more than 50,000 dollars.

20 rounds of a pass over each party's rows: accuracy 0.848 and 0.851 on the official test split with seeds 0 and 1, AUC
0.905 both times; pooled, 20 passes: 0.855 and 0.856. Both together take half a minute on one core.

Set $RAYCOLLAB_DATA to the folder of adult.parquet (UCI Adult, with a column `split`).
"""

import argparse
from dataclasses import replace

import raycollab as rc

NUMBERS = ("age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week")
MEAN, DEVIATION = (38.6, 189778, 10.1, 1078, 87.3, 40.4), (13.6, 105548, 2.57, 7385, 403, 12.3)  # of the training rows
NAMES = ("workclass", "education", "marital_status", "occupation", "relationship", "race", "sex", "native_country")
PARTIES = [
    ("Prof-specialty",),
    ("Craft-repair", "Armed-Forces"),
    ("Exec-managerial",),
    ("Adm-clerical", "Tech-support"),
    ("Sales", "Protective-serv"),
    ("Other-service", "Priv-house-serv"),
    ("Machine-op-inspct", "Transport-moving", "Handlers-cleaners"),
    ("?", "Farming-fishing"),
]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pool", choices=("ray", "local"), default="ray")
    parser.add_argument("--dir", default="runs")
    arguments = parser.parse_args()
    rows = rc.data.Parquet("adult.parquet", columns=NUMBERS, stack={"numbers": NUMBERS})
    categories = {name: rows.categories_of(name) for name in NAMES}  # what an experiment file would write down
    train = replace(rows, categories=categories, where={"split": ("train",)})
    sizes = [len(names) for names in categories.values()]
    net = rc.models.Tabular(2, len(NUMBERS), sizes, MEAN, DEVIATION, dropout=0.1)
    task = rc.TabularClassification(net, num_classes=2, inputs=("numbers", *NAMES))
    learner = rc.Optimizer("AdamW", {"lr": 2e-3, "weight_decay": 1e-3}, batch_size=128, keep_state=True)
    parties = [
        rc.Agent(each[0], replace(train, where={**train.where, "occupation": each}), learner) for each in PARTIES
    ]
    for agents in (parties, [rc.Agent("pooled", train, learner)]):
        result = rc.fit(
            agents,
            rc.chain(rc.Mean()),
            test=replace(train, where={"split": ("test",)}),
            task=task,
            run=rc.RunConfig(num_rounds=arguments.rounds, eval_every=5, seed=arguments.seed, dir=arguments.dir),
            scaling=rc.ScalingConfig(pool=arguments.pool),
            callbacks=[rc.Progress()],
        )
        print(f"{len(agents)} agents: accuracy {result.metrics['accuracy']:.4f}, AUC {result.metrics['auc']:.4f}")


if __name__ == "__main__":
    main()
