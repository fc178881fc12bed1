"""Take a network from transformers by its name, with pretrained weights where they can be had."""

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.base.errors import InvalidInput, nearest

if TYPE_CHECKING:
    from torch import nn

PRETRAINED, RANDOM = "pretrained", "random"


@cache
def weights_of(name: str) -> str:
    """Whether the weights of that name are `pretrained` or, since nobody has them, `random`.

    Args:
        name: a model on the hub, a local folder, or one of transformers' model types.

    Raises:
        InvalidInput: it is none of these.
    """
    from transformers import AutoConfig  # noqa: PLC0415 - seconds, where a backbone is asked for

    try:
        AutoConfig.from_pretrained(name)
    except (OSError, ValueError):
        _model_type(name)
        return RANDOM
    return PRETRAINED


def image_classifier(name: str, *, shape: tuple[int, int, int], classes: int) -> "nn.Module":
    """A transformers image classifier for pictures `[channels, height, width]`."""
    from transformers import AutoModelForImageClassification  # noqa: PLC0415

    channels, height, width = shape
    wanted = {"num_labels": classes, "num_channels": channels, "image_size": max(height, width)}
    return _model(AutoModelForImageClassification, name, wanted)


def export_classifier(given: Path, folder: Path) -> dict[str, str]:
    """Write `model.onnx` and `labels.json` of an image classifier in a folder of transformers.

    Returns:
        How its pictures are made, by its `preprocessor_config.json`, as options of an import.

    Raises:
        InvalidInput: it is no image classifier.
    """
    import torch  # noqa: PLC0415
    from transformers import AutoModelForImageClassification  # noqa: PLC0415

    from cluster.neural.export import export_graph  # noqa: PLC0415

    try:
        model = AutoModelForImageClassification.from_pretrained(
            given, local_files_only=True, use_safetensors=True, trust_remote_code=False
        ).eval()
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"transformers finds no image classifier in {given.name}: {str(error).splitlines()[0]}",
            hint="Give the folder of a model that was saved as AutoModelForImageClassification.",
        ) from None

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.model(pixel_values=pixels).logits  # type: ignore[no-any-return]

    options = _preprocessing(given)
    height, width = options["size"].split("x")
    channels = int(getattr(model.config, "num_channels", 3))
    example = {"pixels": np.zeros((3, channels, int(height), int(width)), np.float32)}
    export_graph(Logits().eval(), example, folder / "model.onnx", varying={})
    names = {str(number): label for number, label in model.config.id2label.items()}
    (folder / "labels.json").write_text(json.dumps(names))
    return options


def _preprocessing(given: Path) -> dict[str, str]:
    """The options that say what `preprocessor_config.json` says."""
    path = given / "preprocessor_config.json"
    if not path.is_file():
        raise InvalidInput(
            f"{given.name} has no preprocessor_config.json, which says how pictures are made.",
            hint="Save the image processor into the same folder.",
        )
    said = json.loads(path.read_bytes())
    size = said.get("crop_size") or said.get("size") or 224
    if isinstance(size, dict):
        side = size.get("shortest_edge", 224)
        size = (size.get("height", side), size.get("width", side))
    else:
        size = (size, size)
    options = {"size": f"{size[0]}x{size[1]}"}
    if said.get("do_rescale", True):
        options["scale"] = f"{1 / said.get('rescale_factor', 1 / 255):.9g}"
    else:
        options["scale"] = "1"
    if said.get("do_normalize", True) and "image_mean" in said:
        options["mean"] = ",".join(map(str, said["image_mean"]))
        options["std"] = ",".join(map(str, said["image_std"]))
    return options


def text_encoder(name: str, *, tokens: int) -> "tuple[nn.Module, int]":
    """A transformers text encoder over `tokens` ids, of which 0 is padding, and its width.

    One with pretrained weights keeps its own vocabulary, which `tokenizer_of` has.
    """
    from transformers import AutoModel  # noqa: PLC0415

    own = weights_of(name) == PRETRAINED
    model: Any = _model(AutoModel, name, {} if own else {"vocab_size": tokens, "pad_token_id": 0})
    return model, int(model.config.hidden_size)


def tokenizer_of(name: str) -> str:
    """The tokenizer that belongs to pretrained weights, as JSON."""
    from transformers import AutoTokenizer  # noqa: PLC0415

    return str(AutoTokenizer.from_pretrained(name, use_fast=True).backend_tokenizer.to_str())


def _model(auto: Any, name: str, wanted: dict[str, int]) -> "nn.Module":
    from transformers import AutoConfig  # noqa: PLC0415

    if weights_of(name) == PRETRAINED:
        return auto.from_pretrained(name, ignore_mismatched_sizes=True, **wanted)  # type: ignore[no-any-return]
    return auto.from_config(AutoConfig.for_model(_model_type(name), **wanted))  # type: ignore[no-any-return]


def _model_type(name: str) -> str:
    """The model type that a name begins with: `google/vit-base-patch16-224` is a `vit`."""
    from transformers import CONFIG_MAPPING  # noqa: PLC0415

    known = list(CONFIG_MAPPING.keys())
    short = name.rsplit("/", maxsplit=1)[-1]
    fitting = [kind for kind in known if short == kind or short.startswith(f"{kind}-")]
    if not fitting:
        raise InvalidInput(
            f"There is no network {name!r}, neither here nor among transformers' model types.",
            hint=nearest(short, known) if nearest(short, known).startswith("Did") else "Try vit.",
        )
    return max(fitting, key=len)
