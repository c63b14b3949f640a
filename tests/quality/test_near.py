"""Near duplicates of every kind: put there on purpose they are found, and nothing else is."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import raycollab as rc
from raycollab.data import Bytes, Parquet
from raycollab.quality.examination import examine
from raycollab.quality.near import near_duplicates

real_data = pytest.mark.skipif(
    not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the folder of the real data sets"
)
SENTENCES = (
    "The committee will meet again on Thursday to decide whether the bridge over the river is safe to use.",
    "Heavy rain is expected in the north tonight, and farmers were told to bring their animals inside.",
    "A small bakery in the old town has won the prize for the best bread of the whole country this year.",
    "Engineers at the plant found a crack in the second turbine, which will be out of service until May.",
    "The museum opens its new wing with drawings that nobody has seen since the painter died in 1911.",
    "Two goals in the last three minutes gave the visitors a point that they had hardly earned before.",
    "The price of copper fell for the fifth day in a row as factories in the east ordered less of it.",
    "Doctors at the clinic report that the new treatment shortens the time in hospital by about a week.",
)
EXACT = SENTENCES[0]
NEAR = (SENTENCES[2].replace("bread", "cake"), SENTENCES[5] + ".", SENTENCES[7].replace("about a", "around one"))


def texts(tmp_path, sentences, length=128):
    path = str(tmp_path / "t.parquet")
    pq.write_table(pa.table({"text": sentences, "label": [i % 2 for i in range(len(sentences))]}), path)
    return Parquet(path, text={"text": length}, tokenizer=Bytes())


def task():
    return rc.TextClassification(rc.models.Module(torch.nn.Identity), 2)


def test_texts_that_differ_in_a_word_or_a_stop(tmp_path):
    found = examine("here", texts(tmp_path, [*SENTENCES, EXACT, *NEAR]), task(), frozenset(), b"salt")
    assert (found.duplicates, found.near_duplicates) == (1, 3)
    assert examine("here", texts(tmp_path, SENTENCES), task(), frozenset(), b"salt").near_duplicates == 0


@real_data
def test_real_sentences(tmp_path):
    """Film reviews with twenty of them again, each with one word put in: those are found, and hardly another."""
    source = Parquet("sst2.parquet", text={"text": 256}, tokenizer=Bytes(), where={"split": ("validation",)})
    table = pq.read_table(f"{os.environ['RAYCOLLAB_DATA']}/sst2.parquet").to_pydict()
    rows = [text for text, split in zip(table["text"], table["split"], strict=True) if split == "validation"]
    long = [text for text in rows if 100 < len(text) < 200][:20]
    again = [text.replace(" ", " very ", 1) for text in long]
    clean = examine("here", source, task(), frozenset(), b"salt")
    found = examine("here", texts(tmp_path, [*rows, *again], 256), task(), frozenset(), b"salt")
    assert clean.examples == 872
    assert clean.near_duplicates <= 2
    assert found.near_duplicates - clean.near_duplicates >= 18


def table(num_rows, num_names, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {f"c{i}": torch.randint(0, 4, (num_rows,), generator=generator) for i in range(num_names)}


def test_rows_of_names_that_differ_in_one_of_ten():
    """One of twelve names is another: near. Two are: not, and neither is one of eight."""
    columns = table(200, 12)
    rows = torch.cat([torch.arange(200), torch.tensor([7, 9])])
    again = {name: column[rows].clone() for name, column in columns.items()}
    assert near_duplicates(columns) == 0
    again["c3"][200] = (again["c3"][200] + 1) % 4
    again["c4"][201] = (again["c4"][201] + 1) % 4
    assert near_duplicates(again) == 2
    again["c5"][201] = (again["c5"][201] + 1) % 4
    assert near_duplicates(again) == 1
    few = {name: torch.cat([column, column[:1]]) for name, column in table(100, 8).items()}
    few["c0"][100] = (few["c0"][100] + 1) % 4
    assert near_duplicates(few) == 0


def test_a_row_is_near_in_all_that_it_holds():
    """Numbers that hardly differ are no near duplicates where the names are others, and the other way round."""
    generator = torch.Generator().manual_seed(0)
    columns = {"numbers": torch.randn(200, 4, generator=generator), **table(200, 3)}
    for name, number, near in (("c0", 0.0, 0), ("", 1e-4, 1), ("c0", 1e-4, 0), ("", 3.0, 0)):
        again = {key: torch.cat([column, column[:1]]) for key, column in columns.items()}
        again["numbers"][200] += number
        if name:
            again[name][200] = (again[name][200] + 1) % 4
        assert near_duplicates(again) == near, (name, number)


def test_each_of_several_copies_counts_but_the_first():
    image = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    copies = image[:1] + 1e-3 * torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    assert near_duplicates({"image": torch.cat([image, copies])}) == 4


def test_pixels_as_bytes_are_numbers():
    image = (255 * torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))).to(torch.uint8)
    again = torch.cat([image, image[:1]])
    again[50, 0, 0, 0] ^= 1
    assert near_duplicates({"image": again}) == 1


@real_data
def test_real_people_of_a_table():
    """Adults by work, education and more: a row with one other name out of fourteen columns is found."""
    names = ("workclass", "education", "marital_status", "occupation", "relationship", "race", "sex", "native_country")
    reader = Parquet("adult.parquet", columns=names)
    known = {name: reader.categories_of(name) for name in names}
    numbers = {"numbers": ("age", "fnlwgt", "hours_per_week")}
    source = Parquet("adult.parquet", columns=names, categories=known, stack=numbers).split(rc.IID(20))[0]
    inputs = ("numbers", *names)
    task = rc.tasks.TabularClassification(rc.models.Tabular(2, 3, tuple(map(len, known.values()))), 2, inputs=inputs)
    columns = source.read()
    found = examine("here", rc.data.Arrays(columns), task, frozenset(), b"salt")
    assert found.near_duplicates <= 0.02 * found.examples
    moved = {name: torch.cat([column, column[:30]]) for name, column in columns.items()}
    moved["numbers"][-30:, 1] += 1.0
    again = examine("here", rc.data.Arrays(moved), task, frozenset(), b"salt")
    assert again.near_duplicates - found.near_duplicates >= 28
    assert np.isfinite(again.agreement)
    assert again.unjudged in ("", "examples alike do not share them")
