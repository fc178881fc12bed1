"""What users touch: the catalog, the HTTP applications, the command line of the cluster."""

from typing import TYPE_CHECKING

from cluster.base.settings import settings
from cluster.registry.model import Model
from cluster.registry.versions import Registry
from services.local import catalog

if TYPE_CHECKING:
    from services.local.layer import LocalLayer

__all__ = ["layer", "load"]


def layer() -> "LocalLayer":
    """The feature layer that the environment names: `layer().join(examples, views)`."""
    from services.local.layer import LocalLayer  # noqa: PLC0415 - with Polars, which no replica needs

    return LocalLayer(catalog.layer(settings()))


def load(name: str, reference: str | int = "production") -> Model:
    """Open a version of a model in this process.

    Args:
        name: the capability, as in `vision.classify`.
        reference: a version's number, or `candidate` or `production`.

    Returns:
        The model; `load("vision.classify").predict(rows)` takes a list of dicts or a DataFrame.

    Raises:
        NotFound: there is no such capability or version; the sentence offers the nearest.
        Corrupt: a file of the version is not what was written.
    """
    task = catalog.find(name)
    return Model.open(task, Registry(settings().home).folder(name, reference))
