"""Three small parties of the same people, each with columns of its own, in an order of its own."""

import numpy as np

import raycollab as rc
from raycollab.data import Arrays
from raycollab.rng import numpy_generator

LOCAL = rc.ScalingConfig(pool="local")
TASK = rc.Classification(rc.models.MLP(8, 2, (8,)), 2)
FUSION = rc.fusion.Concatenation(8)
WIDTHS = {"north": 3, "south": 2, "bank": 2}  # columns
TEST = rc.vertical.HeldOut(0.25)


def people(num_people=200):
    """Columns by party, and labels that need all of them, for ids 1000, 1007, ... [n]."""
    generator = numpy_generator(0, "people")
    columns = {name: generator.normal(size=(num_people, width)).astype(np.float32) for name, width in WIDTHS.items()}
    label = (sum(each[:, 0] for each in columns.values()) > 0).astype(np.int64)
    return 1000 + 7 * np.arange(num_people), columns, label


def salt_file(folder, name="salt"):
    path = folder / name
    if not path.exists():
        rc.vertical.new_salt(str(path))
        path.write_bytes(bytes(range(32)))  # the same in every test: hashes decide what is held out
    return str(path)


def source(name, drop=0, shuffled=True):
    """A party's rows, without the first few people, in its own order."""
    ids, columns, label = people()
    order = numpy_generator(1, name).permutation(len(ids)) if shuffled else np.arange(len(ids))
    rows = order[order >= drop]
    held = {"ID": ids[rows], "features": columns[name][rows]}
    return Arrays({**held, "label": label[rows]} if name == "bank" else held, name)


def parties(folder, *, dropout=0.0, **changes):
    """North and south without the first 10 and 20 people, and the bank, which has the labels.

    Args:
        folder: Where the salt is.
        dropout: Of north's net.
        changes: Arguments of a party by its name, on top.
    """
    drops = {"north": 10, "south": 20, "bank": 0}
    made = []
    for name, drop in drops.items():
        settings = {
            "source": source(name, drop),
            "id": "ID",
            "salt": salt_file(folder),
            "net": rc.models.Tabular(4, WIDTHS[name], hidden=(8,), dropout=dropout if name == "north" else 0.0,
                                     mean=(0.0,) * WIDTHS[name], deviation=(1.0,) * WIDTHS[name]),
            "label": "label" if name == "bank" else None,
            "args": {"lr": 0.01},
            **changes.get(name, {}),
        }  # fmt: skip
        made.append(rc.vertical.Party(name, **settings))
    return made


def fit(folder, members=None, *, num_rounds=3, name="run", **settings):
    """Fit into `folder/name`."""
    run = settings.pop("run", None) or rc.RunConfig(dir=str(folder), name=name, num_rounds=num_rounds)
    settings = {"fusion": FUSION, "test": TEST, "batch_size": 32, "scaling": LOCAL, **settings}
    return rc.vertical.fit(
        parties(folder) if members is None else members, settings.pop("task", TASK), run=run, **settings
    )


def weights(result):
    """All weights of all parties, by name."""
    found = {}
    for name in WIDTHS:
        part = result.part(name)
        for prefix, module in (("net", part.net), ("top", part.top)):
            found |= {f"{name}.{prefix}.{key}": each for key, each in (module.state_dict() if module else {}).items()}
    return found
