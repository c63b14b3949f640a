"""Three institutions know different things of the same people, and learn together who will not pay next month.

One knows what they paid, one their bills and limits, one who they are and who did not pay. Columns and labels stay;
rows are found by salted hashes of the customers' numbers.

Set $RAYCOLLAB_DATA to the folder of credit_default.parquet (UCI Default of Credit Card Clients, Taiwan).
"""

import argparse
from pathlib import Path

import raycollab as rc

FILE, MONTHS = "credit_default.parquet", range(1, 7)
PAID = (*(f"PAY_{month}" for month in (0, 2, 3, 4, 5, 6)), *(f"PAY_AMT{month}" for month in MONTHS))
BILLS = ("LIMIT_BAL", *(f"BILL_AMT{month}" for month in MONTHS))
NAMES = {"SEX": ("1", "2"), "EDUCATION": tuple("0123456"), "MARRIAGE": tuple("0123")}
SIZES = [len(names) for names in NAMES.values()]


def net(mean: list[float], deviation: list[float], sizes: list[int]) -> rc.models.Tabular:
    return rc.models.Tabular(16, len(mean), sizes, mean, deviation, hidden=(64,), dropout=0.1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--pool", choices=("ray", "local"), default="ray")
    parser.add_argument("--dir", default="runs")
    arguments = parser.parse_args()
    salt = Path(arguments.dir).absolute() / "salt"  # in a real run each party has this file on its own node
    salt.parent.mkdir(parents=True, exist_ok=True)
    if not salt.exists():
        rc.vertical.new_salt(str(salt))
    paid = rc.data.Parquet(FILE, ("ID", *PAID), label=None, stack={"numbers": PAID})
    bills = rc.data.Parquet(FILE, ("ID", *BILLS), label=None, stack={"numbers": BILLS})
    people = rc.data.Parquet(FILE, ("ID", "AGE", *NAMES), categories=NAMES)
    paying = net([-0.18] * 6 + [5300] * 6, [1.15] * 6 + [17500] * 6, [])  # rounded means and deviations
    billing, being = net([167000, *[45000] * 6], [130000, *[66000] * 6], []), net([35.5], [9.2], SIZES)
    parties = [
        rc.vertical.Party("payments", paid, "ID", str(salt), paying, inputs="numbers"),
        rc.vertical.Party("bills", bills, "ID", str(salt), billing, inputs="numbers"),
        rc.vertical.Party("people", people, "ID", str(salt), being, inputs=("AGE", *NAMES), label="label"),
    ]
    result = rc.vertical.fit(
        parties,
        rc.Classification(rc.models.MLP(64, 2, (64,)), num_classes=2),
        fusion=rc.fusion.Concatenation(64),
        batch_size=256,
        run=rc.RunConfig(num_rounds=arguments.rounds, dir=arguments.dir),
        scaling=rc.ScalingConfig(pool=arguments.pool),
        watch=lambda row: print(f"round {row['round']}: loss {row['train_loss']:.4f}, AUC {row['auc']:.4f}"),
    )
    print(f"{result.report()}\n\nrun folder: {result.path}\nAUC {result.metrics['auc']:.4f}")


if __name__ == "__main__":
    main()
