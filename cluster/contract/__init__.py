"""What a capability declares and is lent: all that its author needs, by one import.

Networks come from `cluster.neural`, views that exist from `cluster.features.views`.
"""

from cluster.base.batch import (
    Arrays,
    Batch,
    concat,
    length,
    load_arrays,
    numbered,
    objects,
    save_arrays,
    take,
)
from cluster.base.errors import InvalidInput, LeptonError, NotEnough
from cluster.contract.config import Between, Config, OneOf, Probability
from cluster.contract.inputs import input_of
from cluster.contract.keys import Key
from cluster.contract.labels import (
    as_numbers,
    classification_scores,
    confusion,
    guesses,
    labels_of,
)
from cluster.contract.rows import Resident, Rows
from cluster.contract.run import Run
from cluster.contract.split import ByGroup, ByKey, ByTime, Folds, Given, PerUser
from cluster.contract.task import Evaluation, Objective, Reference, Serving, Task
from cluster.features.schema.category import Category
from cluster.features.schema.column import ALWAYS, Column, Number, Text, Time, Whole
from cluster.features.schema.ragged import Numbers, Texts, Vector
from cluster.features.schema.view import View

__all__ = [
    "ALWAYS",
    "Arrays",
    "Batch",
    "Between",
    "ByGroup",
    "ByKey",
    "ByTime",
    "Category",
    "Column",
    "Config",
    "Evaluation",
    "Folds",
    "Given",
    "InvalidInput",
    "Key",
    "LeptonError",
    "NotEnough",
    "Number",
    "Numbers",
    "Objective",
    "OneOf",
    "PerUser",
    "Probability",
    "Reference",
    "Resident",
    "Rows",
    "Run",
    "Serving",
    "Task",
    "Text",
    "Texts",
    "Time",
    "Vector",
    "View",
    "Whole",
    "as_numbers",
    "classification_scores",
    "concat",
    "confusion",
    "guesses",
    "input_of",
    "labels_of",
    "length",
    "load_arrays",
    "numbered",
    "objects",
    "save_arrays",
    "take",
]
