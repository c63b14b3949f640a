import raycollab as rc
from raycollab.data import beside, table_within, without


def test_a_table_of_pairs_is_read_as_both_sides_were():
    images = rc.data.Parquet("images.parquet", columns=("image",), shapes={"image": (1, 28, 28)}, where={"a": (1,)})
    clips = rc.data.Parquet("clips.parquet", columns=("wav",), audio={"wav": (8000, 1.0)}, where={"b": (2,)})
    found = table_within(rc.data.Holdout(rc.data.Paired(images, rc.data.Distorted(clips, (), "wav")), "test", 0.1))
    assert found.columns == ("image", "wav")
    assert found.shapes == images.shapes
    assert found.audio == clips.audio
    assert found.where == {}


def test_what_both_sides_say_counts_as_the_first_says_it():
    one = rc.data.Parquet("one.parquet", shapes={"image": (1, 2)}, scale=1.0)
    other = rc.data.Parquet("other.parquet", columns=("image",), shapes={"image": (2, 1)}, scale=None)
    found = beside(one, other)
    assert found.shapes == {"image": (1, 2)}
    assert found.scale == 1.0
    assert found.columns is None


def test_nothing_is_said_of_a_column_that_is_left_out():
    table = rc.data.Parquet("x.parquet", shapes={"image": (1, 2)}, audio={"wav": (8000, 1.0)}, where={"wav": (1,)})
    found = without(table, {"wav", "other"})
    assert found == rc.data.Parquet("x.parquet", shapes={"image": (1, 2)}, where={"wav": (1,)})
