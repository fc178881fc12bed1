"""Say how encoded arrays become what a model was trained on that was made elsewhere."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from cluster.base.errors import InvalidInput, nearest

Layout = Literal["nchw", "nhwc", "flat"]
KNOWN = ("size", "layout", "scale", "mean", "std", "output")


@dataclass(frozen=True)
class Fitting:
    """How encoded arrays become what the graph was trained on.

    Args:
        size: height and width of pictures, where the graph does not fix them.
        layout: order of a picture's axes: `nchw`, `nhwc`, or `flat` (rows, columns, channels).
        scale: what values are divided by; left out, 255 where bytes become floats.
        mean: subtracted after that, one for all channels or one for each.
        std: divided by after that.
        output: which output answers, where there are several.
    """

    size: tuple[int, int] | None = None
    layout: Layout | None = None
    scale: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    output: str = ""

    @classmethod
    def parse(cls, options: Mapping[str, str]) -> Self:
        """Read options as they are written: `size=224x224 mean=0.485,0.456,0.406`.

        Raises:
            InvalidInput: one is unknown, or has a bad value.
        """
        for name in options:
            if name not in KNOWN:
                hint = nearest(name, KNOWN)
                raise InvalidInput(f"A model has no option {name!r}.", hint=hint)
        layout: Any = options.get("layout")
        if layout not in (None, *get_args(Layout)):
            raise InvalidInput(f"layout={layout} is none of {', '.join(get_args(Layout))}.")
        sides = _numbers("size", options.get("size", "").replace("x", ","))
        if sides and (len(sides) != 2 or min(sides) < 1 or any(side % 1 for side in sides)):
            raise InvalidInput(
                f"size={options['size']} is no height and width.", hint="Write size=224x224."
            )
        scale, std = (
            _numbers("scale", options.get("scale", "")),
            _numbers("std", options.get("std", "")),
        )
        if len(scale) > 1 or 0 in (*scale, *std):
            raise InvalidInput(
                "scale= and std= divide: none may be 0, and scale= is one number.",
                hint="Write scale=255 or std=0.229,0.224,0.225.",
            )
        return cls(
            size=(int(sides[0]), int(sides[1])) if sides else None,
            layout=layout,
            scale=scale[0] if scale else None,
            mean=_numbers("mean", options.get("mean", "")),
            std=std,
            output=options.get("output", ""),
        )


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(",") if part)
    except ValueError:
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise InvalidInput(f"{name}={text} is no number.", hint="Write mean=0.485,0.456,0.406.")
    return numbers
