"""Take a network from transformers by its name, with pretrained weights where they can be had."""

from functools import cache
from typing import TYPE_CHECKING, Any

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
