"""Documents that cannot be used: an error that names the row, or left out and counted."""

from dataclasses import replace

import pytest

import raycollab as rc
from raycollab.data import ParquetText
from raycollab.errors import DataError

from .test_text import LETTERS, turns, windows


def test_texts_that_cannot_be_used_are_left_out_and_counted(tmp_path):
    """As if their rows were not there, with no separator for them."""
    path = turns(tmp_path, text=["abc", "", "X", "hij"])
    source = ParquetText(path, LETTERS, context=6, bad_rows="skip")
    assert windows(source) == ["abc\nhij"]
    reasons = [reason.partition("turns.parquet: ")[2] for reason in source.open().skipped]
    assert reasons[0] == "row 1 of column 'text' is empty text; fill it or drop the row"
    assert reasons[1].startswith("row 2 of column 'text': 'X' (U+0058) after '' is none of the 11")
    assert replace(source, bad_rows="error").tolerant() == source
    with pytest.raises(DataError, match=r"row 1 of column .* drop the row, or leave such documents out with bad_rows="):
        replace(source, bad_rows="error").read()
    with pytest.raises(DataError, match=r"3 tokens, and a window .*; 3 documents are skipped: .*row 1 of col"):
        replace(source, path=turns(tmp_path, text=["abc", None, "", "X"])).read()
    with pytest.raises(DataError, match=r"0 tokens, .*; 4 documents are skipped"):
        replace(source, path=turns(tmp_path, text=["", None, "", "X"])).read()


def test_a_tokenizer_that_is_not_there_is_no_fault_of_a_text(tmp_path):
    source = ParquetText(turns(tmp_path), rc.data.PretrainedTokenizer("no-such"), context=2, bad_rows="skip")
    with pytest.raises(DataError, match=r"^PretrainedTokenizer.path='no-such'"):
        source.read()
