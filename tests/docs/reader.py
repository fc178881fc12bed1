"""Make the files that a reader of the pages has: pictures, reviews, orders, a catalogue."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from cluster.media.pixels import encode


def write_files(folder: Path) -> None:
    """Small files by the names that the pages call them."""
    rng = np.random.default_rng(0)
    for number, kind in enumerate(("boots", "sandals")):
        (folder / "photos" / kind).mkdir(parents=True)
        for one in range(4):
            pixels = rng.integers(0, 120, (16, 16), dtype=np.uint8) + 100 * number
            (folder / "photos" / kind / f"{one}.png").write_bytes(encode(pixels.astype(np.uint8)))
    (folder / "shoe.png").write_bytes((folder / "photos" / "boots" / "0.png").read_bytes())
    bodies = [f"{word} film, number {number}" for number in range(20) for word in ("good", "dull")]
    pl.DataFrame({"body": bodies, "stars": ["5", "1"] * 20}).write_csv(folder / "reviews.csv")
    pl.DataFrame({"text": bodies[:3]}).write_ndjson(folder / "texts.jsonl")
    at = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(20)]
    orders = {"customer": ["7", "8"] * 10, "sku": ["42", "1", "2", "3"] * 5, "at": at}
    pl.DataFrame(orders).write_parquet(folder / "orders.parquet")
    pl.DataFrame(
        {"id": ["42", "1", "2", "3"], "title": ["Lamp", "Star", "Kite", "Plate"]}
    ).with_columns(categories=pl.lit("home|gift")).write_csv(folder / "catalog.csv")
    pl.DataFrame({"item_id": ["42"], "event_time": [at[-1]]}).write_parquet(
        folder / "asked.parquet"
    )
