"""How fast images are decoded, and how soon a large file's first batch is there.

    python -m benchmarks.decoding

Decodes the images of CIFAR-10's test set (10,000 lossless WebP of 32x32), found through $RAYCOLLAB_DATA, and reads them
a second time for another agent of the same process. Then writes a Parquet file of 1 GB (encoded images again, with
`--gigabytes` of another size) into a temporary folder, and asks rc.data.Streamed for a batch of 64. One JSON line.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import raycollab as rc
from raycollab.data import StreamedShard, read_columns
from raycollab.places import candidates
from raycollab.tasks import ImageClassification

COLOURS = {"image": "rgb"}
ROW_GROUP = 5_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    arguments = parser.parse_args()
    print(json.dumps({**decoding("cifar10_test.parquet"), **streaming("cifar10_test.parquet", arguments.gigabytes)}))


def decoding(path: str) -> dict[str, float]:
    """Images a second, and seconds of the second read."""
    source = rc.data.Parquet(path, images=COLOURS)
    read_columns(rc.data.Holdout(source, "test", fraction=0.002))  # imports
    start = time.perf_counter()
    count = len(read_columns(source)["label"])
    first = time.perf_counter() - start
    read_columns(source)
    again = time.perf_counter() - start - first
    return {"images": count, "images_a_second": round(count / first), "second_read_s": round(again, 4)}


def streaming(path: str, gigabytes: float) -> dict[str, float]:
    """Size of the file, seconds until it is opened, and until its first batch is there."""
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/large.parquet"
        size = _write(file, path, int(gigabytes * 1e9))
        start = time.perf_counter()
        source = rc.data.Streamed(rc.data.Parquet(file, images=COLOURS))
        task = ImageClassification(rc.models.ResNet(10), 10)
        shard = StreamedShard(source, task.check, val_fraction=0.0, seed=0)
        opened = time.perf_counter() - start
        next(iter(shard.batches("train", 64, seed=0)))
        first = time.perf_counter() - start
    return {"gigabytes": round(size / 1e9, 2), "opened_s": round(opened, 3), "first_batch_s": round(first, 3)}


def _write(file: str, path: str, num_bytes: int) -> int:
    """Repeat a file's rows until the new one has this many bytes; its size."""
    found = next(place for place in candidates(path) if Path(place).is_file())
    rows = pq.read_table(found, columns=["image", "label"])
    rows = pa.table({name: rows[name].combine_chunks() for name in rows.column_names})
    with pq.ParquetWriter(file, rows.schema, compression="none", use_dictionary=False) as writer:
        while Path(file).stat().st_size < num_bytes:
            writer.write_table(rows, row_group_size=ROW_GROUP)
    return Path(file).stat().st_size


if __name__ == "__main__":
    main()
