"""Answer a Parquet file of any size with a version of a model, a batch of rows at a time."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import services


def answered(source: Path, task: str, *, rows: int = 1_000) -> Iterator[pa.Table]:
    """The rows of the file with the answers beside them; one batch is in memory."""
    model = services.load(task)  # the version in production
    for batch in pq.ParquetFile(source).iter_batches(rows):
        asked = batch.to_pylist()
        outputs = model.predict(asked)
        yield pa.Table.from_pylist(
            [row | answer.model_dump() for row, answer in zip(asked, outputs, strict=True)]
        )


def main(source: Path, target: Path, task: str) -> None:
    """Write the answered rows to a file that is whole or not there."""
    partial, writer = target.with_suffix(".partial"), None
    for table in answered(source, task):
        writer = writer or pq.ParquetWriter(partial, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()
        partial.rename(target)
        print(pq.read_metadata(target).num_rows, "rows answered")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
