"""Which rows are in common: hashes by hand, sets by hand, and what is refused."""

import hmac

import numpy as np
import pytest
import torch

from raycollab.errors import ConfigError, DataError
from raycollab.vertical.rows import HASH_BYTES, HeldOut, check_in_common, hashed, in_common, places_of

SALT = bytes(range(32))


def hashes(*ids, salt=SALT):
    return hashed(torch.tensor(ids), salt, "ids")


def test_a_hash_is_the_keyed_one_of_the_id():
    message = b"number" + (1234).to_bytes(8, "little")
    assert hashes(1234)[0] == hmac.digest(SALT, message, "sha256")[:HASH_BYTES]


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.int64])
def test_the_same_ids_have_the_same_hash_whatever_they_are_stored_as(dtype):
    assert hashed(torch.tensor([1, -2, 300], dtype=dtype), SALT, "ids").tolist() == hashes(1, -2, 300).tolist()


def test_another_salt_gives_other_hashes():
    assert not set(hashes(1, 2, 3).tolist()) & set(hashes(1, 2, 3, salt=SALT[::-1]).tolist())


def test_texts_of_different_padding_are_the_same_id():
    """The number 5 is another id than the text with token 5."""
    short, long = torch.tensor([[5, 6, -1]]), torch.tensor([[5, 6, -1, -1, -1]])
    assert hashed(short, SALT, "ids").tolist() == hashed(long, SALT, "ids").tolist()
    assert hashed(torch.tensor([[5]]), SALT, "ids").tolist() != hashes(5).tolist()


def test_those_in_common_come_in_one_order():
    one, two, three = hashes(1, 2, 3, 4), hashes(4, 9, 2, 1), hashes(2, 4, 8)
    common = in_common([one, two, three])
    assert set(common.tolist()) == set(hashes(2, 4).tolist())
    assert common.tolist() == in_common([three, one, two]).tolist()
    for ids, held in (((1, 2, 3, 4), one), ((4, 9, 2, 1), two), ((2, 4, 8), three)):
        places = places_of(common, held)
        assert held[places].tolist() == common.tolist()
        assert {ids[place] for place in places} == {2, 4}


def test_the_held_out_are_the_same_at_all_parties_and_as_many_as_asked():
    common = hashes(*range(4000))
    out = HeldOut(0.2).of(common)
    assert out.mean() == pytest.approx(0.2, abs=0.02)  # three deviations of a binomial
    backwards = HeldOut(0.2).of(common[::-1])
    assert (out == backwards[::-1]).all()
    assert (HeldOut(0.2, seed=1).of(common) != out).any()
    assert not (out & ~HeldOut(0.5).of(common)).any()  # a larger share holds out these and more


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (torch.tensor([1.0, 2.0]), r"ids holds float32 of shape \[2\]; an id is one whole number a row, or a text"),
        (torch.zeros(2, 2, 2, dtype=torch.int64), r"of shape \[2, 2, 2\]"),
        (
            torch.tensor([4, 7, 5, 7, 7]),
            r"ids: rows 1 and 3 have the same id \(2 such pairs\); a row stands for one pers",
        ),
    ],
)
def test_ids_that_are_none(ids, message):
    with pytest.raises(DataError, match=message):
        hashed(ids, SALT, "ids")


def test_an_error_never_holds_an_id():
    with pytest.raises(DataError) as caught:
        hashes(987654321, 987654321)
    assert "987654321" not in str(caught.value)


def test_nothing_in_common():
    with pytest.raises(DataError, match="no row in common, of a 3, b 2,000: do their id columns hold the same ids"):
        check_in_common(np.zeros(0, f"S{HASH_BYTES}"), {"a": 3, "b": 2000})


def test_a_row_that_is_gone():
    with pytest.raises(DataError, match="2 rows are said to be in common and are not here: has the data changed"):
        places_of(np.sort(hashes(1, 2, 3)), hashes(2, 5))


@pytest.mark.parametrize(("settings", "message"), [({"fraction": 1.0}, "between 0 and 1"), ({"seed": -1}, ">= 0")])
def test_held_out_by_something_else(settings, message):
    with pytest.raises(ConfigError, match=message):
        HeldOut(**settings)
