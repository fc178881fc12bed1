"""Open the feature layer in a replica when something is looked up, and not before."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.base.settings import Settings

if TYPE_CHECKING:
    from cluster.features.layer import Layer


@dataclass(frozen=True)
class Opening:
    """Opens the layer that the settings name.

    Args:
        here: the settings of whoever deployed.
    """

    here: Settings

    def __call__(self) -> "Layer":
        """The layer, with all views that there are."""
        from services.local import catalog  # noqa: PLC0415 - imports every capability, and Polars

        return catalog.layer(self.here)
