"""Two parties with a Parquet file each, in the working directory."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

LOCAL = "--scaling.pool=local"


def write(name="parties.yaml", **changes):
    """An experiment file with two parties, each with a Parquet file of 30 good rows, and something changed."""
    for party in ("north", "south", "test"):
        if not Path(f"{party}.parquet").exists():
            table(f"{party}.parquet")
    agents = [agent(party) for party in ("north", "south")]
    net = {"class_path": "MLP", "init_args": {"num_features": 4, "num_outputs": 3}}
    plain = {
        "task": {"class_path": "Classification", "init_args": {"net": net, "num_classes": 3}},
        "agents": {"class_path": "Parties", "init_args": {"members": agents}},
        "chain": [{"class_path": "Mean"}],
        "test": parquet("test"),
        "run": {"num_rounds": 2},
        **changes,
    }
    Path(name).write_text(yaml.safe_dump(plain))
    return name


def parquet(name):
    return {"class_path": "Parquet", "init_args": {"path": f"{Path.cwd()}/{name}.parquet", "shapes": {"features": [4]}}}


def agent(name, **more):
    return {"name": name, "shard": parquet(name), "learner": {"class_path": "SGD", "init_args": {"lr": 0.1}}, **more}


def table(path, rows=30, label=None, value=None, seed=0):
    """Write a table of features and labels 0 to 2; row 7 gets this label or this value."""
    features, labels = np.random.default_rng(seed).normal(size=(rows, 4)).astype(np.float32), np.arange(rows) % 3
    labels[7:8] = labels[7:8] if label is None else label
    features[7:8, 0] = features[7:8, 0] if value is None else value
    pq.write_table(pa.table({"features": pa.array(list(features), pa.list_(pa.float32())), "label": labels}), path)
