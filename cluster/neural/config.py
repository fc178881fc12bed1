"""The knobs that every network shares."""

from typing import Annotated, Literal

from cluster.contract.config import Between, Config

Precision = Literal["auto", "fp32", "bf16"]


class NeuralConfig(Config):
    """The knobs that every network shares; a capability adds its own and may change defaults.

    `epochs` and `batch_size` are obeyed where they are given. Left out, they fit the rows: a batch
    is about their square root, from `min_batch` to 256, and as many passes are made as give
    `min_steps`, and `min_epochs` at least. Such a training also ends early, its rate brought down
    to zero, where for a share `patience` of its steps the watched rows saw nothing better (1 for
    never).
    """

    epochs: Annotated[int | None, Between(1, 1_000)] = None
    min_epochs: Annotated[int, Between(1, 1_000)] = 8
    min_steps: Annotated[int, Between(1, 1_000_000)] = 1_000
    patience: Annotated[float, Between(0.01, 1.0)] = 0.4
    batch_size: Annotated[int | None, Between(1, 8_192)] = None
    min_batch: Annotated[int, Between(1, 256)] = 16
    lr: Annotated[float, Between(1e-5, 10.0, log=True)] = 3e-3
    optimizer: Literal["adamw", "sgd", "muon"] = "adamw"
    schedule: Literal["onecycle", "cosine", "constant"] = "onecycle"
    warmup: Annotated[float, Between(0.0, 0.9)] = 0.2
    momentum: Annotated[float, Between(0.0, 0.999)] = 0.9
    weight_decay: Annotated[float, Between(0.0, 1.0)] = 1e-4
    l1: Annotated[float, Between(0.0, 1.0)] = 0.0
    dropout: Annotated[float, Between(0.0, 0.9)] = 0.0
    label_smoothing: Annotated[float, Between(0.0, 0.5)] = 0.0
    clip_norm: Annotated[float, Between(0.0, 1_000.0)] = 0.0
    ema: Annotated[float, Between(0.0, 0.9999)] = 0.0
    precision: Precision = "auto"
