"""Hold what items look like and what is written on them, as vectors that models make."""

from cluster.features.derived.modelview import model_view
from cluster.features.schema.ragged import Vector
from cluster.features.views.images import item_images
from cluster.features.views.interactions import items

SIZE = 64  # the default of vision.embed and nlp.embed

item_image_vector = model_view(
    "item_image_vector",
    "vision.embed@production",
    over=item_images,
    columns={"vector": Vector(SIZE)},
    description="What an item looks like.",
)
item_text_vector = model_view(
    "item_text_vector",
    "nlp.embed@production",
    over=items,
    inputs={"text": "title"},
    columns={"vector": Vector(SIZE)},
    description="What the title of an item says.",
)
