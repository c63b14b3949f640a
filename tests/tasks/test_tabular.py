"""Rows of a table: several columns, names by their numbers, and what is said of rows that do not fit the net."""

import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import raycollab as rc
from raycollab.errors import DataError
from raycollab.models import MLP, Tabular
from raycollab.tasks import TabularClassification, TabularRegression

NET = Tabular(2, numbers=2, categories=(3, 2))


def columns(**changes):
    held = {
        "numbers": torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
        "work": torch.tensor([0, 2, 1]),
        "sex": torch.tensor([1, 0, 1]),
        "label": torch.tensor([0, 1, 0]),
    }
    return {**held, **changes}


def task(kind=TabularClassification, **settings):
    given = {"num_classes": 2} if kind is TabularClassification else {}
    return kind(NET, inputs=("numbers", "work", "sex"), **given, **settings)


def test_the_net_is_given_numbers_then_names():
    assert task().inputs_of(columns()).tolist() == [[1, 2, 0, 1], [3, 4, 2, 0], [5, 6, 1, 1]]
    model = task().model().eval()
    assert task().statistics(model, columns()).compute()["loss"] > 0
    assert set(task().predict(model, columns())) == {"prediction", "probability"}


@pytest.mark.parametrize("kind", [TabularClassification, TabularRegression])
def test_rows_that_fit(kind):
    assert task(kind).check(columns(), "here").tolist() == [True] * 3
    one = kind(NET, **({"num_classes": 2} if kind is TabularClassification else {}))
    features = torch.tensor([[0.5, 0.5, 2.0, 1.0]] * 3)
    assert one.check({"features": features, "label": torch.tensor([0, 1, 0])}, "here").all()


@pytest.mark.parametrize("kind", [TabularClassification, TabularRegression])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"work": torch.tensor([0, 3, 1])},
            r"north: row 1 of column 'work' holds 3, and the net knows names 0..2 \(1 ",
        ),
        ({"sex": torch.tensor([0, 1, -1])}, "north: row 2 of column 'sex' holds -1, and the net knows names 0..1"),
        ({"sex": torch.tensor([0.5, 1, 1])}, "north: row 0 of column 'sex' holds 0.5, and the net knows"),
        (
            {"numbers": torch.zeros(3, 4)},
            r"north: inputs=.* hold 6 values a row, and the net takes numbers=2 and 2 names",
        ),
        ({"numbers": torch.tensor([[1.0, math.nan]] * 3)}, "north: row 0 of column 'numbers' holds NaN"),
    ],
)
def test_rows_that_do_not(kind, changes, message):
    with pytest.raises(DataError, match=message):
        task(kind).check(columns(**changes), "north")


def test_one_wide_column_is_named_by_entry():
    held = {"features": torch.tensor([[0.5, 0.5, 2.0, 2.0]]), "label": torch.tensor([0])}
    with pytest.raises(DataError, match="row 0 of column 'features', entry 3, holds 2"):
        TabularClassification(NET, num_classes=2).check(held, "here")


def test_of_other_nets_nothing_is_known():
    other = TabularClassification(MLP(3, 2), num_classes=2, inputs=("numbers", "work"))
    assert other.check(columns(work=torch.tensor([7, 8, 9])), "here").all()


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "rows.parquet"
    held = {
        "age": [20, 30, 40, 50],
        "hours": [1.0, 2.0, math.nan, 4.0],
        "work": ["a", "b", "zoo", "a"],
        "label": ["no", "yes", "no", "yes"],
    }
    pq.write_table(pa.table(held), path)
    return str(path)


def test_names_are_asked_for_offline(table):
    rows = rc.data.Parquet(table, columns=("age",))
    assert rows.categories_of("work") == ("a", "b", "zoo")
    assert rows.categories_of("age") == ("20", "30", "40", "50")
    with pytest.raises(DataError, match=r"no column 'job'; there are: age, hours, work, label"):
        rows.categories_of("job")
    with pytest.raises(DataError, match="column 'hours' holds double, which are no names"):
        rows.categories_of("hours")


def test_unknown_names_are_an_error_skipped_or_other(table):
    labels = {"label": ("no", "yes")}
    rows = rc.data.Parquet(table, columns=("age", "work"), categories={"work": ("a", "b"), **labels})
    with pytest.raises(DataError, match=r"rows.parquet: column 'work': row 2 holds 'zoo', .* other= .*bad_rows='skip'"):
        rows.read()
    skipping = rc.data.Parquet(table, columns=("age",), categories={"work": ("a", "b"), **labels}, bad_rows="skip")
    opened = skipping.open()
    assert opened.columns["work"].tolist() == [0, 1, 0]
    assert len(opened.skipped) == 1
    other = rc.data.Parquet(
        table, columns=("age",), categories={"work": ("a", "b", "else"), **labels}, other={"work": "else"}
    )
    assert other.read()["work"].tolist() == [0, 1, 2, 0]
    assert other.keys(("work",))["work"].tolist() == [0, 1, 2, 0]


def test_other_is_one_of_the_categories(table):
    with pytest.raises(rc.errors.ConfigError, match=r"other\['work'\]='else': must be one of categories\['work'\]"):
        rc.data.Parquet(table, categories={"work": ("a", "b")}, other={"work": "else"})


def test_unknown_labels_name_file_and_row(table):
    rows = rc.data.Parquet(table, columns=("age",), categories={"label": ("no", "maybe")})
    with pytest.raises(
        DataError, match=r"rows.parquet: column 'label': row 1 holds 'yes', which is none of: no, maybe"
    ):
        rows.read()


def test_targets_of_text_are_refused_by_the_file(table):
    """Regression on a label that is text: it has to be numbers, or a classification of categories."""
    with pytest.raises(
        DataError, match=r"rows.parquet: not numbers: 'label' \(string\).* number names with categories="
    ):
        rc.data.Parquet(table, columns=("age",)).read()


def test_rows_that_are_left_out_are_counted(table, tmp_path):
    """An agent's summary counts rows that the file's reader skipped, and those that the task dropped."""
    rows = rc.data.Parquet(
        table,
        columns=("age", "hours"),
        stack={"numbers": ("age", "hours")},
        categories={"work": ("a", "b"), "label": ("no", "yes")},
        bad_rows="skip",
    )
    net = Tabular(2, numbers=2, categories=(2,), hidden=(4,))
    own = TabularClassification(net, num_classes=2, inputs=("numbers", "work"), bad_rows="drop")
    summaries = []

    class Listen(rc.Callback):
        def on_start(self, started):
            summaries.extend(card.summary for card in started.cards)

    result = rc.fit(
        [rc.Agent("north", rows, rc.SGD(lr=0.1), val_fraction=0.0)],
        rc.chain(rc.Mean()),
        test=rows,
        task=own,
        run=rc.RunConfig(num_rounds=1, dir=str(tmp_path)),
        scaling=rc.ScalingConfig(pool="local"),
        callbacks=[Listen()],
    )
    assert summaries == ["3 examples (0 for validation), 1 rejected, 2 of 2 labels"]
    model = result.model()
    predicted = model.predict({"numbers": torch.zeros(2, 2), "work": torch.tensor([0, 1])})
    assert len(predicted["prediction"]) == 2
    with pytest.raises(DataError, match="predict: no column 'work'; there are: numbers"):
        model.predict({"numbers": torch.zeros(2, 2)})
    again = model.source(table, labelled=False)
    assert again.columns == ("age", "hours", "work")
