"""Binary fields: paths, bytes, Pillow images and arrays all arrive as the same picture."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from cluster.media.picture import Picture
from cluster.media.pixels import decode
from lepton import BadType, BadValue, MissingFile
from lepton._fields import Field
from lepton._files import png, to_base64
from tests.lepton.toy import Toy

PIXELS: NDArray[np.uint8] = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def sent(image: object) -> bytes:
    """What arrives at the server for one picture."""
    toy = Toy()
    toy.client().vision.classify(image=image)
    return base64.b64decode(str(toy.predictions()[0][0]["image"]))


def decoded(image: object) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(sent(image))))


@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3]), st.integers(0, 2**32 - 1))
def test_the_png_that_is_written_decodes_to_the_same_array(
    height: int, width: int, channels: int, seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    file = png(pixels.tobytes(), height=height, width=width, channels=channels)
    with Image.open(io.BytesIO(file)) as image:
        image.verify()
    read = np.asarray(Image.open(io.BytesIO(file)))
    np.testing.assert_array_equal(read.reshape(pixels.shape), pixels)


@pytest.mark.parametrize(
    "array",
    [PIXELS, PIXELS[:, :, 0], PIXELS[:, :, :1], PIXELS[::-1, ::2], PIXELS.transpose(1, 0, 2)],
    ids=["colour", "grey", "one channel", "strided", "transposed"],
)
def test_an_array_arrives_as_a_picture(array: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(decoded(array), array.squeeze())
    np.testing.assert_array_equal(decoded(array.data), array.squeeze())


class Tensor:
    """As torch has it: an array only when asked."""

    shape = PIXELS.shape

    def __array__(self) -> NDArray[np.uint8]:
        return PIXELS


def test_a_tensor_arrives_as_a_picture() -> None:
    np.testing.assert_array_equal(decoded(Tensor()), PIXELS)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "CMYK"])
def test_a_pillow_image_arrives_as_a_picture(mode: str) -> None:
    image = Image.fromarray(PIXELS).convert(mode)
    arrived = Image.open(io.BytesIO(sent(image)))
    assert arrived.size == (3, 2)
    if mode in {"RGB", "L", "RGBA"}:
        np.testing.assert_array_equal(np.asarray(arrived), np.asarray(image))


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_pillow_image_arrives_turned_as_its_file_would(
    tmp_path: Path, turn: int, kind: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    path = tmp_path / "phone"
    pixels = np.arange(16 * 24, dtype=np.uint8).reshape(16, 24) // 2
    Image.fromarray(pixels).convert("RGB").save(path, kind, exif=exif)
    with Image.open(path) as image:
        assert np.array_equal(decode(sent(image)), decode(path.read_bytes()))
        assert np.array_equal(Picture().read(image), decode(path.read_bytes()))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16"])
def test_a_pillow_image_is_the_same_to_the_client_and_in_process(mode: str) -> None:
    image = Image.fromarray(np.arange(16 * 16, dtype=np.uint8).reshape(16, 16)).convert(mode)
    assert np.array_equal(decode(sent(image)), Picture().read(image))


def test_a_pillow_image_of_floats_is_refused() -> None:
    with pytest.raises(BadType, match=r"image is a Pillow image of floats.* Scale it to 0\.\.255"):
        sent(Image.fromarray(np.ones((2, 2), np.float32)))


def test_broken_exif_does_not_hide_a_picture() -> None:
    image = Image.fromarray(PIXELS)
    image.info["exif"] = b"Exif\0\0no"
    assert np.array_equal(decode(sent(image)), PIXELS)


def test_files_and_bytes_arrive_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "shoe.png"
    path.write_bytes(b"any bytes \x00\xff")
    everything = [path, str(path), path.read_bytes(), bytearray(path.read_bytes())]
    everything += [memoryview(path.read_bytes()), base64.b64encode(path.read_bytes()).decode()]
    for image in everything:
        assert sent(image) == b"any bytes \x00\xff"


def test_a_list_of_pictures_is_a_batch(tmp_path: Path) -> None:
    path = tmp_path / "shoe.png"
    path.write_bytes(b"shoe")
    toy = Toy()
    outputs = toy.client().vision.classify(image=[path, b"boot", PIXELS], top_k=3)
    assert len(outputs) == 3
    assert [row["top_k"] for row in toy.predictions()[0]] == [3, 3, 3]


def test_an_array_of_objects_is_a_batch_of_pictures() -> None:
    pictures = np.empty(2, dtype=object)
    pictures[:] = [b"boot", b"shoe"]
    assert len(Toy().client().vision.classify(image=pictures)) == 2


@pytest.mark.parametrize("image", ["nowhere/shoe.png", Path("nowhere/shoe.png")])
def test_a_missing_file_is_named(image: object) -> None:
    with pytest.raises(MissingFile, match=r"image .*nowhere/shoe\.png.*Check the path"):
        sent(image)
    with pytest.raises(FileNotFoundError):
        sent(image)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="Is a directory"):
        sent(tmp_path)


def test_a_data_uri_is_sent_as_its_base64() -> None:
    assert to_base64("data:image/png;base64,YWJj", Field("image")) == "YWJj"


@pytest.mark.parametrize("text", ["no/base64!" * 500, "null\0byte"])
def test_text_that_is_no_path_and_no_base64_is_cut_short(text: str) -> None:
    with pytest.raises(MissingFile, match="neither an existing file nor base64") as caught:
        to_base64(text, Field("image"))
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("kind", ["float32", "bool", "int8", "uint16"])
def test_an_array_that_is_not_uint8_says_how_to_make_it_so(kind: str) -> None:
    with pytest.raises(BadType, match=r"a picture is uint8.*astype\('uint8'\)"):
        sent(PIXELS.astype(kind))


@pytest.mark.parametrize(
    "shape", [(3, 4, 5), (4, 5, 2), (4, 5, 4), (2, 4, 5, 3), (0, 4), (4, 0, 3)]
)
def test_an_array_of_another_shape_says_which_shapes_there_are(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadValue, match=r"of shape \(.*\[height, width, 3\]"):
        sent(np.zeros(shape, np.uint8))


def test_what_is_no_picture_says_what_is() -> None:
    with pytest.raises(TypeError, match=r"image is of type int, .* Give a path, bytes"):
        sent(3)
    with pytest.raises(TypeError, match="image is of type list"):
        Toy().client().predict("vision.classify", [{"image": [b"a", b"b"]}])
