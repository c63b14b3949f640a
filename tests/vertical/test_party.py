from dataclasses import replace

import pytest

import raycollab as rc
from raycollab.errors import ConfigError

from .support import parties


@pytest.fixture
def north(tmp_path):
    return parties(tmp_path)[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": ""}, "Party.name='': must be letters, digits"),
        ({"name": "a/b"}, "Party.name='a/b'"),
        ({"name": "keys"}, "Party.name='keys': .* no word of torch's own"),
        ({"source": "file.parquet"}, r"Party\('north'\).source='file.parquet': must be a Source"),
        ({"net": 3}, r"Party\('north'\).net=3: must be a recipe such as rc.models.MLP"),
        ({"net": None}, r"Party\('north'\).net=None: must be given, unless the party has the labels"),
        ({"id": ""}, "Party.id='': must name the column of ids"),
        ({"salt": ""}, "Party.salt='': must be a file on its node"),
        ({"inputs": ()}, r"Party.inputs=\(\): must name a column"),
        ({"inputs": ("features", "ID")}, "must not name the column of ids or of labels, which never leave"),
        ({"inputs": "label", "label": "label"}, "must not name the column of ids or of labels"),
        ({"bad_rows": "ignore"}, "Party.bad_rows='ignore': must be 'error' or 'drop'"),
        ({"optimizer": "Adam2"}, "Party.optimizer='Adam2': must be one of .*AdamW"),
        ({"args": {"rate": 1.0}}, r"Party\(name='AdamW', args={'rate': 1.0}\)"),
    ],
)
def test_what_is_refused(settings, message, north):
    with pytest.raises(ConfigError, match=message):
        replace(north, **settings)


def test_a_party_with_labels_alone_needs_no_net(north):
    assert replace(north, net=None, label="label").columns == ("features",)


def test_it_is_a_value(north):
    """It prints, compares and has a plain form but for rows in memory; lists become tuples."""
    assert replace(north, inputs=["a", "b"]).inputs == ("a", "b")
    assert replace(north) == north != replace(north, args={"lr": 0.5})
    file = replace(north, source=rc.data.Parquet("a.parquet"))
    assert "Parquet" in repr(file)
