"""Hold the views of pictures."""

from cluster.features.intake.image_files import read_images, read_item_images
from cluster.features.schema.column import Text
from cluster.features.schema.view import View
from cluster.features.shop import shop
from cluster.media.picture import Picture

labelled_images = View(
    name="images",
    key=("image_id",),
    columns={"image": Picture(), "label": Text()},
    sample=shop.sample_images,
    read=read_images,
    named_by="image",
    description="Pictures and what each of them shows.",
)
images = labelled_images.only("image")
item_images = View(
    name="item_images",
    key=("item_id",),
    columns={"image": Picture()},
    sample=shop.sample_item_images,
    read=read_item_images,
    description="A picture of each item.",
)
