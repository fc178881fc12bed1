import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, PngImagePlugin

from cluster.base.batch import objects
from cluster.base.errors import InvalidInput, TooLarge, UnsupportedMedia
from cluster.media.headers import measure
from cluster.media.picture import Picture
from cluster.media.pixels import decode, encode, from_pillow

KINDS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM"]
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from((1, 3)))


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(mode: str) -> Image.Image:
    ramp = Image.fromarray(np.arange(96, dtype=np.uint8).reshape(8, 12) * 2)
    return ramp.convert(mode)


@given(hnp.arrays(np.uint8, SHAPES))
def test_pixels_survive_encoding_and_pillow_reads_them_too(pixels: np.ndarray) -> None:
    data = encode(pixels)
    assert (decode(data) == pixels).all()
    assert decode(data).shape == pixels.shape
    assert (np.asarray(Image.open(io.BytesIO(data))).reshape(pixels.shape) == pixels).all()


@pytest.mark.parametrize(
    ("mode", "kind", "channels"),
    [
        ("L", "PNG", 1),
        ("RGB", "PNG", 3),
        ("1", "PNG", 1),
        ("LA", "PNG", 1),
        ("RGBA", "PNG", 3),
        ("P", "PNG", 1),
        ("L", "GIF", 1),
        ("L", "JPEG", 1),
        ("RGB", "JPEG", 3),
        ("CMYK", "JPEG", 3),
        ("RGB", "WEBP", 3),
        ("RGBA", "WEBP", 3),
        ("RGB", "BMP", 3),
        ("L", "BMP", 1),
        ("L", "TIFF", 1),
        ("RGBA", "TIFF", 3),
        ("CMYK", "TIFF", 3),
        ("P", "TIFF", 1),
        ("RGB", "AVIF", 3),
        ("RGBA", "AVIF", 3),
        ("L", "JPEG2000", 1),
        ("RGB", "JPEG2000", 3),
        ("L", "PPM", 1),
        ("RGB", "PPM", 3),
    ],
)
def test_every_mode_becomes_grey_or_rgb(mode: str, kind: str, channels: int) -> None:
    options = {"quality": 100} if kind == "AVIF" else {"lossless": True} if kind == "WEBP" else {}
    data = saved(picture(mode), kind, **options)
    pixels = decode(data)
    assert measure(data) == (kind, 12, 8)
    assert pixels.shape == (8, 12, channels)
    assert pixels.dtype == np.uint8
    if mode != "1":
        assert abs(pixels[0, 1:].astype(int).mean() - 12) < 6


def test_a_palette_with_colours_becomes_rgb() -> None:
    colours = Image.new("P", (2, 1))
    colours.putpalette([255, 0, 0, 0, 0, 255])
    colours.putdata([0, 1])
    assert decode(saved(colours)).tolist() == [[[255, 0, 0], [0, 0, 255]]]
    assert decode(saved(colours, "GIF")).tolist() == [[[255, 0, 0], [0, 0, 255]]]


def test_sixteen_bits_of_grey_keep_their_upper_eight() -> None:
    deep = Image.fromarray(np.array([[0, 0x1234, 0xFFFF]], dtype=np.uint16))
    assert decode(saved(deep))[..., 0].tolist() == [[0, 0x12, 0xFF]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG2000"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_deep_grey_keeps_the_upper_eight_bits_of_its_real_depth(kind: str, bits: int) -> None:
    ramp = np.linspace(0, (1 << bits) - 1, 512).astype(np.uint16).reshape(2, 256)
    pixels = decode(saved(Image.fromarray(ramp), kind))[..., 0]
    assert (pixels == ramp >> bits - 8).all()
    assert len(np.unique(pixels)) == 256


def test_pixels_without_a_known_black_and_white_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"are floats, .* Scale them to whole numbers"):
        decode(saved(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"))
    with pytest.raises(InvalidInput, match="from 0 to 70,000, more than 16 bits hold"):
        decode(saved(Image.fromarray(np.array([[0, 70_000]], np.int32)), "TIFF"))


def test_transparency_lies_on_white() -> None:
    clear = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    assert (decode(saved(clear)) == 255).all()
    keyed = saved(Image.new("L", (2, 2), 7), transparency=7)
    assert decode(keyed).tolist() == [[[255], [255]], [[255], [255]]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_is_turned_upright_as_its_exif_says(turn: int, kind: str) -> None:
    upright = np.zeros((8, 16), np.uint8)
    upright[:4, :8] = 255
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[turn]
    stored = Image.fromarray(upright)
    if undo is not None:
        stored = stored.transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[0x0112] = turn
    data = saved(stored, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    pixels = decode(data)
    assert (abs(pixels[..., 0].astype(int) - upright) < 20).all()
    for opened in (Image.open(io.BytesIO(data)), Image.open(io.BytesIO(data))):
        opened.getexif()  # looked at by the caller before or not
        assert np.array_equal(from_pillow(opened), pixels)
    assert np.array_equal(from_pillow(Image.open(io.BytesIO(data))), pixels)


def test_a_turn_that_is_set_on_an_open_picture_counts() -> None:
    image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    image.getexif()[0x0112] = 3
    assert from_pillow(image)[..., 0].tolist() == [[5, 4, 3], [2, 1, 0]]


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("L", (3, 2), shade) for shade in (10, 200)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode(data) == 10).all()


def test_a_bomb_is_found_before_it_is_decoded() -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = struct.pack(">IIBBBBB", 13_000, 13_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(TooLarge, match=r"169,000,000 pixels .* the limit is 25,000,000") as caught:
        decode(bomb)
    assert caught.value.limit == 25_000_000
    assert caught.value.actual == 169_000_000


def test_a_gif_whose_frame_is_larger_than_it_states_is_refused() -> None:
    data = bytearray(saved(Image.new("L", (300, 300)), "GIF"))
    data[6:10] = struct.pack("<HH", 1, 1)
    with pytest.raises(TooLarge, match="90,000 pixels"):
        decode(bytes(data), max_pixels=1000)


def test_pixels_that_unpack_to_more_than_stated_are_refused() -> None:
    data = encode(np.zeros((4, 4), np.uint8))
    body = zlib.compress(bytes(10_000_000))
    bad = data[:33] + struct.pack(">I", len(body)) + b"IDAT" + body
    bad += struct.pack(">I", zlib.crc32(b"IDAT" + body)) + data[-12:]
    assert decode(bad).shape == (4, 4, 1)  # Pillow leaves the surplus unread


def test_a_png_with_long_texts_or_a_large_colour_profile_is_read() -> None:
    about = PngImagePlugin.PngInfo()
    about.add_text("Comment", "x" * 3_000_000, zip=True)
    about.add_itxt("XML:com.adobe.xmp", "y" * 3_000_000, zip=True)
    exif = Image.Exif()
    exif[0x0112] = 3
    image = picture("RGB")
    data = saved(image, pnginfo=about, icc_profile=bytes(3_000_000), exif=exif)
    assert np.array_equal(decode(data), np.asarray(image)[::-1, ::-1])
    for at in (b"IDAT", b"zTXt"):
        with pytest.raises(InvalidInput):
            decode(data[: data.index(at) + 9])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF", "JPEG2000"])
def test_a_truncated_picture_is_refused_at_every_length(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), kind)
    for length in [*range(60), len(data) // 2, len(data) - 30]:
        with pytest.raises(InvalidInput):
            decode(data[:length])


def test_an_avif_without_its_pixels_is_refused() -> None:
    data = saved(picture("RGB"), "AVIF")
    at = data.index(b"mdat") + 4
    with pytest.raises(InvalidInput, match=r"The AVIF picture of .* is truncated or broken"):
        decode(data[:at] + bytes(len(data) - at))


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_picture_is_decoded_or_refused_and_nothing_else(source: st.DataObject) -> None:
    kind = source.draw(st.sampled_from(KINDS))
    mode = source.draw(st.sampled_from(["L", "RGB"]))
    data = bytearray(saved(picture(mode), kind))
    for _ in range(source.draw(st.integers(1, 6))):
        data[source.draw(st.integers(0, len(data) - 1))] = source.draw(st.integers(0, 255))
    try:
        pixels = decode(bytes(data), max_pixels=100_000)
    except InvalidInput as error:
        assert error.message.endswith(".")  # noqa: PT017 - either outcome is right
    else:
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] in (1, 3)


def test_what_is_no_picture_is_refused_with_what_may_be_sent() -> None:
    with pytest.raises(UnsupportedMedia, match="Send PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF, JPEG"):
        decode(b"no picture")
    with pytest.raises(UnsupportedMedia, match="which is no known format"):
        decode(b"BMW is the name of a car and of a text about it")
    with pytest.raises(
        UnsupportedMedia, match=r"is HEIC, which is not read here\. Save it as JPEG"
    ):
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(InvalidInput, match="empty"):
        decode(b"")


def test_an_array_that_is_no_picture_is_refused_with_its_shape() -> None:
    with pytest.raises(InvalidInput, match=r"shape \(2, 2, 2\)"):
        encode(np.zeros((2, 2, 2), np.uint8))
    with pytest.raises(InvalidInput, match="type float64"):
        encode(np.zeros((2, 2)))


def test_rows_take_pictures_of_every_format_and_say_what_another_is() -> None:
    sent = [saved(picture("RGB"), kind) for kind in KINDS]
    phone = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    _, faults = Picture().admit(objects([*sent, phone]))
    assert faults == {len(sent): "is not usable: The picture is HEIC, which is not read here"}


def test_stored_pictures_are_the_bytes_that_were_sent() -> None:
    sent = saved(picture("RGB"), "JPEG")
    column = Picture()
    grey = np.zeros((2, 3), np.uint8)
    admitted, faults = column.admit(np.array([sent, grey, b"x", "y"], dtype=object))
    assert list(faults) == [2, 3]
    packed = column.pack(admitted[:2])
    assert packed[0].as_py() == sent
    assert [pixels.shape for pixels in column.unpack(packed)] == [(8, 12, 3), (2, 3, 1)]
    assert column.size_bytes(packed) == 3 * 96 + 3 * 6 + 2 * 128
