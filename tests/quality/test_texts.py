"""Texts that are alike: by hand, and in real sentences."""

import pytest
import torch

from raycollab.quality.texts import alike, bags

WORDS = torch.arange(1000, 1030)  # kinds enough to be words


def pairs(tokens):
    """Whether the second row and each later one is like the first."""
    others = torch.arange(1, len(tokens))
    return alike(tokens, torch.zeros_like(others), others).tolist()


def padded(*rows):
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=-1)


def with_word(place):
    return torch.cat([WORDS[:place], torch.tensor([5000]), WORDS[place + 1 :]])


def test_runs_of_words_by_hand():
    """Of 30 words one is another: 27 of 33 runs are shared. Two: 24 of 36, which is less than seven tenths."""
    two = with_word(10)
    two[20] = 5001
    assert pairs(padded(WORDS, with_word(15), two, WORDS.flip(0))) == [True, False, False]


def test_how_long_a_text_is_padded_says_nothing():
    rows = padded(WORDS, with_word(29), WORDS[:28], torch.arange(2000, 2060))
    assert pairs(rows) == [True, True, False]
    assert pairs(rows[:3, :40]) == pairs(rows[:3]) == [True, True]


def test_a_word_again_and_again_is_one_run():
    """What is said twice counts once: the texts of one word are alike at any length but the shortest."""
    rows = padded(torch.full((40,), 700), torch.full((30,), 700), WORDS)
    assert pairs(rows) == [True, False]


def test_texts_of_nothing_are_alike():
    assert pairs(torch.full((2, 6), -1)) == [True]
    assert pairs(padded(torch.empty(0, dtype=torch.int64), WORDS)) == [False]


@pytest.mark.parametrize(("old", "new", "same"), [("brown", "red", True), ("quick brown fox", "sly old dog", False)])
def test_runs_of_characters(old, new, same):
    """By runs of seven, so that a word is told from its letters."""
    text = "the quick brown fox jumps over the lazy dog that sleeps under the old tree by the river"
    rows = padded(*(torch.tensor(list(each.encode())) for each in (text, text.replace(old, new), text[::-1])))
    assert pairs(rows) == [same, False]


def test_bags_do_not_look_at_order_and_have_length_one():
    found = bags(padded(WORDS, WORDS.flip(0), WORDS + 500, WORDS[:25]))
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4))
    assert found[0] @ found[2] < 0.2 < 0.5 < found[0] @ found[3]


def test_what_all_texts_have_says_nothing():
    """Marks of beginning and end, for example."""
    rows = torch.tensor([[900, 1001, 901], [900, 1002, 901]])
    assert abs(float(bags(rows)[0] @ bags(rows)[1])) < 1e-6
