"""Texts as rows of tokens: what is kept of each, and what is said of empty ones."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raycollab.data import Bytes, Characters, Dirichlet, Parquet
from raycollab.errors import ConfigError, DataError


@pytest.fixture
def path(tmp_path):
    rows = {"text": ["ab", "abcd", "", None, "é"], "label": [0, 1, 0, 1, 0]}
    pq.write_table(pa.table(rows), tmp_path / "t.parquet")
    return str(tmp_path / "t.parquet")


def test_tokens_then_zeros(path):
    source = Parquet(path, text={"text": 3}, tokenizer=Bytes(), bad_rows="skip")
    opened = source.open()
    assert opened.columns["text"].tolist() == [[97, 98, 0], [97, 98, 99], [0xC3, 0xA9, 0]]
    assert opened.columns["label"].tolist() == [0, 1, 0]
    reasons = [reason.partition("'text': ")[2] for reason in opened.skipped]
    assert [reason.partition(";")[0] for reason in reasons] == ["row 2 is empty text", "row 3 is null"]


def test_bad_texts_are_refused_with_file_and_row(path):
    with pytest.raises(DataError, match=r"t.parquet: column 'text': row 2 is empty text; fill it .*bad_rows='skip'"):
        Parquet(path, text={"text": 3}, tokenizer=Bytes()).read()
    strange = Parquet(path, text={"text": 3}, tokenizer=Characters("abcd"), bad_rows="skip").open().skipped
    assert "row 4 cannot be tokenized: 'é' (U+00E9) after '' is none of the 4 characters" in strange[2]


def test_settings_are_refused(path):
    with pytest.raises(ConfigError, match=r"Parquet.tokenizer=None: must be set for text={'text': 3}, such as Bytes"):
        Parquet(path, text={"text": 3})
    with pytest.raises(ConfigError, match=r"Parquet.text\['text'\]=0: must be >= 1"):
        Parquet(path, text={"text": 0}, tokenizer=Bytes())
    with pytest.raises(DataError, match=r"not numbers: 'text' \(string\).*, tokenize text with text="):
        Parquet(path).read()


@pytest.mark.skipif(not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the real data sets")
def test_real_sentiment():
    """SST-2's official split, dealt out by label."""
    source = Parquet("sst2.parquet", text={"text": 64}, tokenizer=Bytes(), where={"split": ("validation",)})
    parts = [part.read() for part in source.split(Dirichlet(0.5, 3))]
    assert sum(len(part["label"]) for part in parts) == 872
    whole = source.read()
    assert bytes(token for token in whole["text"][0].tolist() if token).decode().islower()
    assert int((whole["text"] == 0).sum()) > 0
