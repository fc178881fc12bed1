"""Read requests of vision.classify: from the bytes of the body to checked inputs for a batch."""

import asyncio
import base64
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from starlette.requests import Request
from starlette.types import Message

from cluster.media.pixels import encode
from services.http.app import InputReader
from services.local import catalog
from tests.bench.report import Result, at_most, say, spread, told

ROUNDS, ASKED = 5, 2_000
TASK = "vision.classify"


def results(home: Path) -> Iterator[Result]:
    """Microseconds of a processor that a replica takes to read one request.

    A keyed request names one stored picture; to compare, one that sends a small picture, and one
    that names 100 stored pictures.
    """
    del home
    reader = InputReader(catalog.find(TASK))
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 1), dtype=np.uint8)
    picture = base64.b64encode(encode(pixels)).decode()
    keyed = [_microseconds(reader, [{"image_id": "p000042", "top_k": 3}]) for _ in range(ROUNDS)]
    sent = [_microseconds(reader, [{"image": picture, "top_k": 3}]) for _ in range(ROUNDS)]
    many = [
        _microseconds(reader, [{"image_id": f"p{n}"} for n in range(100)]) for _ in range(ROUNDS)
    ]
    say(f"A keyed request is read in {spread(keyed)} us.")
    yield at_most("reading.keyed", statistics.median(keyed), "us", 60.0, 30.0)
    yield told("reading.picture", statistics.median(sent), "us")
    yield told("reading.keyed-100", statistics.median(many), "us")


def _microseconds(reader: InputReader, rows: list[dict[str, object]]) -> float:
    """How long one request takes to be read, over many."""
    body = json.dumps({"inputs": rows}).encode()
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    headers.append((b"content-length", str(len(body)).encode()))
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def read() -> float:
        began = time.process_time()
        for _ in range(ASKED):
            inputs = await reader.read(Request(dict(scope), receive))
        took = time.process_time() - began
        if len(inputs) != len(rows):
            raise RuntimeError(f"{len(rows)} inputs were read as {len(inputs)}.")
        return took / ASKED * 1e6

    return asyncio.run(read())
