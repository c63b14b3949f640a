"""Text is read once, cut in windows that are views, and dealt out without handing a party another's words."""

import os
import pickle
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import raycollab as rc
from raycollab.agent import Agent
from raycollab.data import ByColumn, Bytes, Characters, Explicit, Holdout, ParquetText, Part, Shard, Text
from raycollab.errors import ConfigError, DataError
from raycollab.experiment_file import parse_experiment, to_yaml

real_data = pytest.mark.skipif(
    not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the folder of the real data sets"
)
LETTERS = Characters("abcdefghij\n")


def text_file(tmp_path, text="abcdefghij", name="a.txt"):
    (tmp_path / name).write_text(text, newline="")
    return str(tmp_path / name)


def windows(source):
    return [LETTERS.decode(row) for row in source.read()["tokens"].tolist()]


# ---- windows


@pytest.mark.parametrize(
    ("stride", "expected"),
    [
        (None, ["abcd", "defg", "ghij"]),  # each token but the first is predicted once
        (3, ["abcd", "defg", "ghij"]),
        (2, ["abcd", "cdef", "efgh", "ghij"]),
        (1, ["abcd", "bcde", "cdef", "defg", "efgh", "fghi", "ghij"]),
    ],
)
def test_windows_by_hand(tmp_path, stride, expected):
    assert windows(Text(text_file(tmp_path), LETTERS, context=3, stride=stride)) == expected


def test_what_does_not_fill_a_window_is_left_out(tmp_path):
    assert windows(Text(text_file(tmp_path), LETTERS, context=4)) == ["abcde", "efghi"]


def test_windows_are_views_and_stay_so_in_a_shard(tmp_path):
    """A thousand windows of 101 tokens in the memory of 1,100 tokens; a pass takes each once, in the seed's order."""
    path = text_file(tmp_path, "abcdefghij" * 110)
    tokens = Text(path, LETTERS, context=100, stride=1).read()["tokens"]
    assert tokens.shape == (1000, 101)
    assert tokens.dtype == torch.int32
    assert tokens.untyped_storage().nbytes() == 4 * 1100
    shard = Shard({"tokens": tokens}, val_fraction=0.0, seed=0)
    batches = list(shard.batches("train", 300, seed=1))
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(1))
    assert torch.equal(torch.cat([batch["tokens"] for batch in batches]), tokens[order])
    assert shard.columns()["tokens"].untyped_storage().nbytes() == 4 * 1100


# ---- files


def test_a_folder_is_read_in_the_order_of_names(tmp_path):
    text_file(tmp_path, "fghij", "b.txt")
    text_file(tmp_path, "abcde", "a.txt")
    text_file(tmp_path, "jjj", "notes.md")
    assert windows(Text(str(tmp_path), LETTERS, context=10)) == ["abcde\nfghij"]
    assert windows(Text(str(tmp_path), LETTERS, context=9, separator="")) == ["abcdefghij"]


def test_spans_cut_the_text_where_nanogpt_does(tmp_path):
    path = text_file(tmp_path)
    parts = [Text(path, LETTERS, context=1, span=span) for span in ((0, 0.25), (0.25, 0.9), (0.9, 1))]
    assert ["".join(pair[0] for pair in windows(part)) for part in parts[:2]] == ["a", "cdefgh"]
    with pytest.raises(
        DataError, match=r"a.txt from 0.9 to 1 of its length: 1 tokens, and a window of context=1 needs 2"
    ):
        parts[2].read()


def test_a_span_over_several_files(tmp_path):
    for name, text in (("a.txt", "abc"), ("b.txt", "de"), ("c.txt", "fghij")):
        text_file(tmp_path, text, name)
    source = Text(str(tmp_path), LETTERS, context=2, span=(0.2, 0.6), separator="")
    assert [document for _, document in source.documents()] == ["c", "de", "f"]
    assert windows(source) == ["cde"]


def test_the_mark_before_a_text_is_no_character(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffabc".encode())
    assert windows(Text(str(tmp_path / "a.txt"), LETTERS, context=2)) == ["abc"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"a.txt: empty text, 0 characters in 1 file\(s\)"),
        (b"ab", r"a.txt: 2 tokens, and a window of context=3 needs 4: give it more text, or lower context"),
        (b"abcdeX", r"a.txt: 'X' \(U\+0058\) after 'abcde' is none of the 11 characters of the alphabet"),
        (b"abc\xff", r"a.txt: not UTF-8 at byte 3; convert it"),
    ],
)
def test_unsuitable_text(tmp_path, content, message):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        Text(str(tmp_path / "a.txt"), LETTERS, context=3).read()


def test_a_separator_that_is_no_character(tmp_path):
    for name in ("a.txt", "b.txt"):
        text_file(tmp_path, "abc", name)
    with pytest.raises(DataError, match=r"Text.separator: '\|' \(U\+007C\) after '' is none of the 11"):
        Text(str(tmp_path), LETTERS, context=2, separator="|").read()


# ---- Parquet


def turns(tmp_path, **columns):
    held = {"speaker": ["ann", "bob", "ann", "cid"], "text": ["abc", "ddd", "efg", "hij"], **columns}
    path = tmp_path / "turns.parquet"
    pq.write_table(pa.table(held), path)
    return str(path)


def test_rows_are_documents(tmp_path):
    path = turns(tmp_path)
    assert windows(ParquetText(path, LETTERS, context=14)) == ["abc\nddd\nefg\nhij"]
    assert windows(ParquetText(path, LETTERS, context=6, by="speaker", values=["ann"])) == ["abc\nefg"]
    both = ParquetText(path, LETTERS, context=6, by="speaker", values=("cid", "bob"))
    assert windows(both) == ["ddd\nhij"]
    assert both.describe() == f"{path} of speaker=cid, bob"


def test_dealt_out_by_column_each_party_reads_its_own_rows(tmp_path):
    source = ParquetText(turns(tmp_path), LETTERS, context=2)
    ann, cid = source.split(ByColumn("speaker", ("ann", "cid")))
    assert ann == replace(source, by="speaker", values=("ann",))
    assert windows(ann) == ["abc", "c\ne", "efg"]
    assert windows(cid) == ["hij"]


def test_dealt_out_by_windows(tmp_path):
    source = ParquetText(turns(tmp_path), LETTERS, context=2)
    parts = source.split(rc.IID(3))
    assert sorted(window for part in parts for window in windows(part)) == sorted(windows(source))


@pytest.mark.parametrize("kind", [pa.int16(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_parties_by_other_types(tmp_path, kind):
    names = [7, 8, 7, 9] if pa.types.is_integer(kind) else ["7", "8", "7", "9"]
    path = turns(tmp_path, speaker=pa.array(names, kind) if pa.types.is_integer(kind) else pa.array(names).cast(kind))
    assert windows(ParquetText(path, LETTERS, context=6, by="speaker", values=(names[0],))) == ["abc\nefg"]


@pytest.mark.parametrize(
    ("columns", "settings", "message"),
    [
        (
            {"text": ["a", "", "b", "c"]},
            {},
            r"turns.parquet: row 1 of column 'text' is empty text; fill it or drop the",
        ),
        (
            {"text": ["a", "b", "c", None]},
            {},
            r"turns.parquet: row 3 of column 'text' is null; fill it or drop the row",
        ),
        ({"text": ["a", "b", "cX", "d"]}, {}, r"row 2 of column 'text': 'X' \(U\+0058\) after 'c' is none of the 11"),
        ({"text": [1, 2, 3, 4]}, {}, r"turns.parquet: column 'text' holds int64, not text: name a column of strings"),
        ({}, {"column": "words"}, r"turns.parquet: no column 'words'; there are: speaker, text"),
        ({}, {"by": "role", "values": ("ann",)}, r"turns.parquet: no column 'role'; there are: speaker, text"),
        (
            {},
            {"by": "speaker", "values": ("Ann",)},
            r"of speaker=Ann: no row of it; column 'speaker' holds: ann, bob, c",
        ),
        (
            {"speaker": [1, 2, 3, 4]},
            {"by": "speaker", "values": ("ann",)},
            r"column 'speaker' holds int64, and values=\('ann',\) are not",
        ),
    ],
)
def test_unsuitable_rows(tmp_path, columns, settings, message):
    with pytest.raises(DataError, match=message):
        ParquetText(turns(tmp_path, **columns), LETTERS, context=2, **settings).read()


@pytest.mark.parametrize(("bad", "what"), [("", " is empty text"), (None, " is null"), ("cX", ": 'X' (U+0058)")])
def test_rows_without_text_can_be_skipped(tmp_path, bad, what):
    """And are counted, once among all parts that the windows are dealt out to."""
    source = ParquetText(turns(tmp_path, text=["abc", bad, "efg", "hij"]), LETTERS, context=2)
    with pytest.raises(DataError, match="row 1 of column 'text'"):
        source.read()
    skipping = source.tolerant()
    assert skipping == replace(source, bad_rows="skip")
    assert windows(skipping) == ["abc", "c\ne", "efg", "g\nh", "hij"]
    (reason,) = skipping.open().skipped
    assert f"turns.parquet: row 1 of column 'text'{what}" in reason
    assert [len(part.open().skipped) for part in skipping.split(Explicit(((1, 2), (0, 3), (4,))))] == [0, 1, 0]
    ann, bob = skipping.split(ByColumn("speaker", ("ann", "bob")))
    assert ann.open().skipped == ()
    with pytest.raises(DataError, match=r"speaker=bob: 0 tokens, .*; 1 documents are skipped: .*row 1"):
        bob.read()


def test_a_row_keeps_its_number_where_only_some_are_read(tmp_path):
    path = turns(tmp_path, text=["abc", "d", "", "hij"])
    with pytest.raises(DataError, match="row 2 of column 'text' is empty text"):
        ParquetText(path, LETTERS, context=2, by="speaker", values=("ann",)).read()


def test_no_rows_and_no_file(tmp_path):
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "empty.parquet")
    with pytest.raises(DataError, match=r"empty.parquet: 0 rows; an agent needs at least one"):
        ParquetText(str(tmp_path / "empty.parquet"), LETTERS, context=2).read()
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"cut.parquet: cannot be read as Parquet: .*copy or write the file again"):
        ParquetText(str(tmp_path / "cut.parquet"), LETTERS, context=2).read()


# ---- overlapping windows are not dealt out one by one


def test_overlapping_windows_are_not_dealt_out(tmp_path):
    path = text_file(tmp_path)
    apart, over = (Text(path, LETTERS, context=3, stride=stride) for stride in (None, 1))
    words = r"windows at stride=1 hold the text of their neighbours: set stride=null, which is context=3, or give each"
    with pytest.raises(ConfigError, match=f"Part.source=.*{words}"):
        over.split(rc.IID(2))
    with pytest.raises(ConfigError, match=f"Holdout.source=.*{words}"):
        Holdout(over, "train")
    with pytest.raises(ConfigError, match=rf"Agent\('north'\).val_fraction=0.1: must be 0: {words}"):
        Agent("north", over, rc.SGD())
    assert Agent("north", over, rc.SGD(), val_fraction=0.0).shard.overlap()
    assert Agent("north", Part(Holdout(apart, "train"), rc.IID(1), 0), rc.SGD()).shard.overlap() == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": ""}, "Text.path='': must name a file, a folder, a glob or a URI"),
        ({"tokenizer": "characters"}, "Text.tokenizer='characters': must be a Tokenizer such as rc.data.Characters"),
        ({"context": 0}, "Text.context=0: must be >= 1"),
        ({"stride": 0}, "Text.stride=0: must be in 1..context=8, or null for windows one after another"),
        ({"bad_rows": "drop"}, "Text.bad_rows='drop': must be 'error' or 'skip'"),
        ({"stride": 9}, "Text.stride=9: must be in 1..context=8"),
        ({"span": (0.5, 0.5)}, r"Text.span=\(0.5, 0.5\): must be \(begin, end\) with 0 <= begin < end <= 1"),
    ],
)
def test_text_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        Text(**{"path": "a.txt", "tokenizer": Bytes(), "context": 8, **settings})


def test_bad_rows_are_an_error_or_skipped():
    with pytest.raises(ConfigError, match=r"ParquetText.bad_rows='drop': must be 'error' or 'skip'"):
        ParquetText("a.parquet", Bytes(), 8, bad_rows="drop")


@pytest.mark.parametrize("settings", [{"by": "speaker"}, {"values": ("ann",)}])
def test_whose_rows_are_read_is_said_in_full(settings):
    with pytest.raises(ConfigError, match=r"ParquetText.values=.*must name whose rows are read exactly if by="):
        ParquetText("a.parquet", Bytes(), 8, **settings)


def test_values():
    text = Text("a.txt", Characters(), 8, span=[0, 0.5])
    assert pickle.loads(pickle.dumps(text)) == text == Text("a.txt", Characters(), 8, span=(0, 0.5))
    assert len({text, Text("a.txt", Characters(), 8, span=(0, 0.5)), Text("a.txt", Characters(), 8)}) == 2


def test_an_experiment_file_names_them(tmp_path):
    """By speaker, in YAML: the same value as in Python, and back."""
    yaml = """
task: {class_path: CausalLM, init_args: {net: {class_path: GPT, init_args: {vocab_size: 96}}, vocab_size: 96}}
agents:
  class_path: Split
  init_args:
    source:
      class_path: ParquetText
      init_args: {path: turns.parquet, tokenizer: {class_path: Characters}, context: 64}
    partition: {class_path: ByColumn, init_args: {column: speaker, values: [ann, bob]}}
    learners: [{class_path: SGD}]
chain: [{class_path: Mean, init_args: {weights: tokens}}]
test: {class_path: Text, init_args: {path: test.txt, tokenizer: {class_path: Characters}, context: 64, span: [0.9, 1]}}
"""
    experiment = parse_experiment(yaml, "here")
    assert experiment.agents.partition == ByColumn("speaker", ("ann", "bob"))
    assert [agent.shard.values for agent in experiment.agents.agents()] == [("ann",), ("bob",)]
    assert experiment.test == Text("test.txt", Characters(), 64, span=(0.9, 1.0))
    assert parse_experiment(to_yaml(experiment), "there") == experiment


@real_data
def test_tiny_shakespeare():
    whole = Text("tiny_shakespeare.txt", Characters(), context=64)
    columns = whole.read()["tokens"]
    assert columns.shape == ((1_115_394 - 1) // 64, 65)
    assert Characters().decode(columns[0, :14].tolist()) == "First Citizen:"
    romeo = ParquetText("tiny_shakespeare_turns.parquet", Characters(), 64, by="speaker", values=("ROMEO",))
    assert len(romeo.read()["tokens"]) > 300
