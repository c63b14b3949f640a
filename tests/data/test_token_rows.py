"""Texts as rows of tokens: what is kept of each, and what is said of empty ones."""

import json
import os
from dataclasses import dataclass, replace
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

import raycollab as rc
from raycollab.data import Bytes, Characters, Dirichlet, Holdout, JSONLines, Parquet, PretrainedTokenizer
from raycollab.errors import ConfigError, DataError


@pytest.fixture
def path(tmp_path):
    rows = {"text": ["ab", "abcd", "", None, "é"], "label": [0, 1, 0, 1, 0]}
    pq.write_table(pa.table(rows), tmp_path / "t.parquet")
    return str(tmp_path / "t.parquet")


def test_tokens_then_what_is_no_token(path):
    source = Parquet(path, text={"text": 3}, tokenizer=Bytes(), bad_rows="skip")
    opened = source.open()
    assert opened.columns["text"].tolist() == [[97, 98, -1], [97, 98, 99], [0xC3, 0xA9, -1]]
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
    assert bytes(token for token in whole["text"][0].tolist() if token >= 0).decode().islower()
    assert int((whole["text"] == -1).sum()) > 0


@pytest.fixture
def words(tmp_path):
    """A tokenizer of transformers that cuts `playing` in two and puts marks around a text."""
    known = ["[UNK]", "[CLS]", "[SEP]", "play", "##ing", "Ann", "likes", "chess", "."]
    made = Tokenizer(models.WordPiece({word: place for place, word in enumerate(known)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    made.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    return PretrainedTokenizer(str(tmp_path))


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_rows_keep_their_marks(words, tmp_path):
    """A text that is too long is cut inside: the mark of its end stays."""
    path = lines(tmp_path / "t.jsonl", {"text": "Ann likes chess ."}, {"text": "Ann"})
    found = JSONLines(path, text={"text": 5}, tokenizer=words, label=None).read()["text"]
    assert found.tolist() == [[1, 5, 6, 7, 2], [1, 5, 2, -1, -1]]
    assert words.encode("Ann", "here").tolist() == [5]


def test_labels_of_words_go_to_their_first_tokens(words, tmp_path):
    """As lists of words, or as text that is cut at white space; by number or by name; what is cut off has none."""
    tokens = [[1, 5, 6, 3, 4, 7, 2], [1, 5, 2, -1, -1, -1, -1]]
    expected = [[-100, 1, 0, 2, -100, 0, -100], [-100, 1, -100, -100, -100, -100, -100]]
    names = ("O", "PER", "ACT")
    rows = [(["Ann", "likes", "playing", "chess"], [1, 0, 2, 0]), (["Ann"], [1])]
    whole = [{"text": text, "tags": tags} for text, tags in rows]
    joined = [{"text": " ".join(text), "tags": [names[tag] for tag in tags]} for text, tags in rows]
    source = JSONLines(
        lines(tmp_path / "a.jsonl", *whole), text={"text": 7}, tokenizer=words, label="tags", per_word="text"
    )
    named = replace(source, path=lines(tmp_path / "b.jsonl", *joined), categories={"tags": names})
    for each in (source, named):
        found = each.read()
        assert found["text"].tolist() == tokens
        assert found["label"].tolist() == expected
    short = replace(source, text={"text": 5}).read()
    assert short["text"].tolist()[0] == [1, 5, 6, 3, 2]
    assert short["label"].tolist()[0] == [-100, 1, 0, 2, -100]
    assert replace(source, label=None, columns=("text",)).read()["text"].tolist() == tokens
    assert len(Holdout(source, "train", fraction=0.5).read()["text"]) == 1


def test_labels_that_do_not_fit_their_words(words, tmp_path):
    good = {"text": ["Ann", "likes"], "tags": ["PER", "O"]}
    bad = [
        {"text": ["Ann", "likes"], "tags": ["PER"]},
        {"text": ["Ann"], "tags": ["PRE"]},
        {"text": [], "tags": []},
        {"text": None, "tags": ["O"]},
        {"text": ["Ann"], "tags": None},
    ]
    path = lines(tmp_path / "t.jsonl", good, *bad)
    settings = {"text": {"text": 4}, "tokenizer": words, "label": "tags", "categories": {"tags": ("O", "PER")}}
    source = JSONLines(path, per_word="text", **settings)
    with pytest.raises(
        DataError, match=r"t.jsonl: column '\w+': row \d .* or leave such rows out with bad_rows='skip'"
    ):
        source.read()
    opened = replace(source, bad_rows="skip").open()
    assert opened.columns["label"].tolist() == [[-100, 1, 0, -100]]
    said = [reason.partition("column ")[2] for reason in opened.skipped]
    assert said[0] == "'tags': row 1 has 1 labels for 2 words; give each word one"
    assert said[1].startswith(
        "'tags': row 2 has a label that holds 'PRE', which is none of: O, PER; did you mean 'PER'?"
    )
    assert said[2].startswith("'text': row 3 is empty text; fill it")
    assert said[3].startswith("'text': row 4 is null; fill it")
    assert said[4] == "'tags': row 5 has 0 labels for 1 words; give each word one"
    with pytest.raises(ConfigError, match=r"JSONLines.per_word='words': must be a column of text={'text': 4}"):
        JSONLines(path, per_word="words", **settings)
    with pytest.raises(
        DataError, match="Bytes does not tell which word a token is of, which labels per word need: use P"
    ):
        replace(source, tokenizer=Bytes(), bad_rows="skip").read()


@dataclass(frozen=True)
class Counting(Bytes):
    """Bytes, and how many texts were tokenized in how many calls."""

    calls: ClassVar[list[int]] = []

    def encode_rows(self, texts, length):
        self.calls.append(len(texts))
        return super().encode_rows(texts, length)


def test_a_text_is_tokenized_once(tmp_path):
    """By whoever holds it, in one call each, and never again: four rounds of two passes read tokens only."""
    rows = [{"text": f"text number {i}", "label": i % 2} for i in range(40)]
    source = JSONLines(lines(tmp_path / "t.jsonl", *rows), text={"text": 16}, tokenizer=Counting())
    task = rc.TextClassification(_bert(), 2)
    Counting.calls.clear()
    rc.fit(
        [rc.Agent(f"a{i}", part, rc.SGD(lr=0.1, epochs=2)) for i, part in enumerate(source.split(rc.IID(num_parts=2)))],
        rc.chain(rc.Mean()),
        test=replace(source, path=lines(tmp_path / "test.jsonl", *rows[:7])),
        task=task,
        run=rc.RunConfig(num_rounds=4, dir=str(tmp_path)),
        scaling=rc.ScalingConfig(pool="local"),
    )
    assert sorted(Counting.calls) == [7, 20, 20]


def _bert():
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = {"model_type": "bert", "vocab_size": 256, "max_position_embeddings": 16, **sizes}
    return rc.models.Transformers(head="sequence-classification", pretrained=False, num_labels=2, config=config)
