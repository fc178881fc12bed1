"""Serve the network as Ray's own tutorials do: `python -m tests.bench.plain_serve FOLDER PORT`.

The proxy, `@serve.batch` and torch in eager mode behind a FastAPI ingress are at their defaults.
One is not: a replica may have 100 requests in flight, since with the default of 5 the proxy turns
most of 32 connections away for a while, and the comparison would be with that. It answers what
vision.classify answers: the five likeliest labels.
"""

import io
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from fastapi import FastAPI, Request
from PIL import Image
from ray import serve
from safetensors.torch import load_file

from vision.classify import Classify

app = FastAPI()


@serve.deployment(max_ongoing_requests=100)
@serve.ingress(app)
class Plain:
    """The trained network, in torch.

    Args:
        folder: the version whose weights it takes.
    """

    def __init__(self, folder: Path) -> None:
        task = Classify.load(folder)
        self.labels: list[str] = task.state["labels"]
        self.network = task.network(task.state)
        self.network.load_state_dict(load_file(folder / "weights.safetensors"))
        self.network.eval()

    @serve.batch
    async def predict(self, pictures: list[torch.Tensor]) -> list[dict[str, Any]]:
        """The five likeliest labels of each picture."""
        with torch.inference_mode():
            chances = self.network(torch.stack(pictures)).softmax(1)
        best, which = chances.topk(5)
        return [
            {
                "label": self.labels[numbers[0]],
                "probability": row[0],
                "top": self._named(numbers, row),
            }
            for row, numbers in zip(best.tolist(), which.tolist(), strict=True)
        ]

    @app.post("/")
    async def classify(self, request: Request) -> dict[str, Any]:
        """Decode a PNG and join the next batch."""
        image = Image.open(io.BytesIO(await request.body())).convert("L")
        pixels = torch.from_numpy(np.array(image, dtype=np.uint8)[None])
        return await self.predict(pixels)

    def _named(self, numbers: list[int], chances: list[float]) -> list[dict[str, Any]]:
        return [
            {"label": self.labels[number], "probability": chance}
            for number, chance in zip(numbers, chances, strict=True)
        ]


def main() -> None:
    """Serve until the process is ended."""
    folder, port, cores = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    ray.init(address="local", num_cpus=cores, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    plain: Any = Plain  # Ray's decorators hide their types
    serve.run(plain.bind(folder))
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main()
