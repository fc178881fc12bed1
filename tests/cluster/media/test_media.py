"""Every kind of file comes back as it was written, and limits hold before anything is decoded."""

import base64
import io
import struct
import zlib
from typing import Annotated, Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ValidationError

from cluster.base.batch import objects
from cluster.base.errors import InvalidInput, TooLarge, UnsupportedMedia
from cluster.media import DeepPicture, Mask, Media, Picture, Sound, Waveform, nearest_size

SIDES = st.tuples(st.integers(1, 9), st.integers(1, 9))
TONE = Waveform((np.sin(np.arange(800) / 9) / 2).astype(np.float32), 8_000)
VALUES: list[tuple[Media, Any]] = [
    (Picture(), np.arange(12, dtype=np.uint8).reshape(2, 2, 3)),
    (Mask(), np.array([[0, 1], [300, 65_535]], np.uint16)),
    (DeepPicture(), np.array([[0, 1], [300, 65_535]], np.uint16)),
    (Sound(), TONE),
]


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def recorded(samples: NDArray[Any], kind: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 8_000, format=kind, subtype=subtype)
    return file.getvalue()


def plain(value: Any) -> Any:
    return (
        (value.samples.tolist(), value.rate_hz) if isinstance(value, Waveform) else value.tolist()
    )


@given(hnp.arrays(np.uint16, SIDES))
def test_labels_and_levels_of_sixteen_bits_come_back_exactly(numbers: NDArray[np.uint16]) -> None:
    for kind in (Mask(), DeepPicture()):
        assert (kind.decode(kind.encode(numbers)) == numbers).all()
    with Image.open(io.BytesIO(DeepPicture().encode(numbers))) as image:
        assert (np.asarray(image) == numbers).all()


@given(hnp.arrays(np.int16, st.integers(1, 2_000)), st.integers(1_000, 96_000))
def test_a_sound_of_sixteen_bits_comes_back_exactly(whole: NDArray[np.int16], rate_hz: int) -> None:
    sound = Waveform((whole / 32_768).astype(np.float32), rate_hz)
    back = Sound().decode(Sound().encode(sound))
    assert (back.samples == sound.samples).all()
    assert back.rate_hz == rate_hz


@given(hnp.arrays(np.float32, st.integers(1, 500), elements=st.floats(-1, 1, width=32)))
def test_a_sound_comes_back_within_one_step_of_its_format(samples: NDArray[np.float32]) -> None:
    for subtype, bits in (("PCM_16", 16), ("PCM_24", 24), ("PCM_U8", 8)):
        back = Sound().decode(recorded(samples, subtype=subtype))
        assert np.abs(back.samples - samples).max() <= 2.0 ** (1 - bits)
    back = Sound().decode(Sound().encode(Waveform(samples, 8_000)))
    assert np.abs(back.samples - samples).max() <= 2.0**-15


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=lambda v: type(v).__name__)
def test_a_value_is_the_same_in_memory_at_rest_and_in_json(kind: Media, value: Any) -> None:
    file = kind.encode(value)
    assert kind.encode(value) == file
    assert plain(kind.unpack(kind.pack(objects([value, None])))[0]) == plain(kind.decode(file))
    assert kind.unpack(kind.pack(objects([None])))[0] is None
    text, nothing = kind.to_json(objects([value, None]))
    assert nothing is None
    raw, faults = kind.from_json(objects([text, None, "?", 3]))
    assert (raw[0], sorted(faults)) == (file, [2, 3])
    admitted, bad = kind.admit(objects([value, file, b"", "words", None]))
    assert (admitted[0], admitted[1], sorted(bad)) == (file, file, [2, 3, 4])
    assert kind.size_bytes(kind.pack(objects([file]))) > 128
    example = kind.example(value)
    assert plain(kind.read(example)) == plain(kind.read(f"data:;base64,{example}"))


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=lambda v: type(v).__name__)
def test_a_field_reads_and_writes_files_in_base64(kind: Media, value: Any) -> None:
    class Shape(BaseModel):
        file: Annotated[Any, kind]
        other: Annotated[Any, kind] | None = None

    shape = Shape(file=value)
    text = shape.model_dump_json()
    assert plain(shape.file) == plain(shape.model_dump()["file"])
    assert Shape.model_validate_json(text, strict=True).model_dump_json() == text
    reads, writes = (
        Shape.model_json_schema(mode=mode)["properties"]["file"]["contentMediaType"]
        for mode in ("validation", "serialization")
    )
    assert (reads, writes) == (kind.reads, kind.writes)
    with pytest.raises(ValidationError, match=f"The {kind.noun} is not base64"):
        Shape(file="?")


def test_masks_with_a_palette_and_of_few_bits_keep_their_classes() -> None:
    classes = np.array([[0, 1, 2, 3]], np.uint8)
    palette = Image.fromarray(classes, "P")
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        assert Mask().decode(saved(palette, kind)).tolist() == classes.tolist()
    assert Mask().decode(saved(palette, bits=4)).tolist() == classes.tolist()
    header = struct.pack(">IIBBBBB", 4, 1, 2, 0, 0, 0, 0)  # grey of two bits
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0\x1b")), (b"IEND", b""))
    few = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    assert Mask().decode(few).tolist() == classes.tolist()
    assert Mask().decode(saved(Image.fromarray(classes > 1))).tolist() == [[0, 0, 1, 1]]
    assert Mask().take(classes > 1).tolist() == [[0, 0, 1, 1]]


def test_what_is_no_mask_says_why() -> None:
    colours = Image.new("RGB", (2, 2))
    with pytest.raises(UnsupportedMedia, match=r"is a JPEG file, which may have changed its label"):
        Mask().decode(saved(colours, "JPEG"))
    with pytest.raises(InvalidInput, match=r"of mode RGB: its pixels have several numbers"):
        Mask().decode(saved(colours))
    with pytest.raises(
        InvalidInput, match=r"An array of float64 with shape \(2, 2\) is not a mask"
    ):
        Mask().take(np.zeros((2, 2)))
    with pytest.raises(InvalidInput, match=r"labels are from -1 to 3"):
        Mask().take(np.array([[-1, 3]]))


def test_a_mask_is_resized_to_labels_that_it_has() -> None:
    mask = np.array([[0, 7], [300, 7]], np.uint16)
    assert nearest_size([mask], 4, 2)[0].tolist() == [[0, 7], [0, 7], [300, 7], [300, 7]]
    assert nearest_size([mask], 2, 2)[0].tolist() == mask.tolist()
    assert nearest_size([mask, mask[:1]], 1, 1).shape == (2, 1, 1)


def test_levels_are_kept_and_colours_are_none() -> None:
    twelve = np.array([[0, 1, 4_095]], np.uint16)
    for kind in ("PNG", "TIFF"):
        assert DeepPicture().decode(saved(Image.fromarray(twelve), kind)).tolist() == [[0, 1, 4095]]
    grey = Image.fromarray(np.array([[3, 200]], np.uint8))
    assert DeepPicture().decode(saved(grey.convert("RGB"))).tolist() == [[3, 200]]
    with pytest.raises(InvalidInput, match=r"of mode RGB, in colour or transparent"):
        DeepPicture().decode(saved(Image.new("RGB", (1, 1), (1, 2, 3))))


@pytest.mark.parametrize("kind", [Picture(), Mask(), DeepPicture()])
def test_a_picture_that_states_too_many_pixels_is_not_decoded(kind: Media) -> None:
    body = struct.pack(">IIBBBBB", 60_000, 60_000, 16, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + body
    bomb += struct.pack(">I", zlib.crc32(b"IHDR" + body)) + bytes(12)
    with pytest.raises(TooLarge, match=r"3,600,000,000 pixels .* the limit is 25,000,000"):
        kind.read(bomb)


def test_a_sound_that_states_hours_is_not_decoded() -> None:
    wav = bytearray(Sound().encode(TONE))
    wav[40:44] = struct.pack("<I", 400_000_000)
    with pytest.raises(TooLarge, match=r"25,000\.0 seconds long; the limit is 600\. Cut it"):
        Sound().decode(bytes(wav))
    silence = recorded(np.zeros(8_000 * 700, np.float32), "FLAC")
    assert len(silence) < 100_000
    with pytest.raises(TooLarge, match=r"700\.0 seconds long"):
        Sound().decode(silence)
    with pytest.raises(TooLarge, match=r"0\.1 seconds long; the limit is 0\.05"):
        Sound(max_seconds=0.05).take(TONE)
    with pytest.raises(TooLarge, match=r"The sound has 1,644 bytes; the limit is 1,000"):
        Sound(max_bytes=1_000).read(Sound().encode(TONE))


def test_a_sound_from_a_pipe_states_no_length() -> None:
    wav = bytearray(Sound().encode(TONE))
    wav[40:44] = b"\xff" * 4
    assert len(Sound().decode(bytes(wav)).samples) == 800


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_sounds_of_every_format_become_mono_at_the_rate_that_is_wanted(kind: str) -> None:
    stereo = np.stack([TONE.samples, -TONE.samples], axis=1)
    assert np.abs(Sound().decode(recorded(stereo, kind)).samples).max() < 0.05
    sound = Sound(rate_hz=16_000).decode(recorded(TONE.samples, kind))
    assert sound.rate_hz == 16_000
    assert sound.seconds == pytest.approx(0.1, abs=0.05)


def test_what_is_no_sound_says_why() -> None:
    for data, said in (
        (b"", r"is empty \(0 bytes\)"),
        (saved(Image.new("L", (1, 1))), r"begins with 89 50 .* Send WAV, FLAC, OGG, MP3 or AIFF"),
        (Sound().encode(TONE)[:-4], r"states 1,600 bytes of samples and has 1,596: it is trunc"),
        (Sound().encode(TONE)[:44], r"states 1,600 bytes of samples and has 0"),
        (recorded(np.array([np.nan], np.float32), subtype="FLOAT"), r"not one row of numbers"),
        (b"fLaC" + bytes(40), r"The FLAC sound of 44 bytes is truncated or broken"),
    ):
        with pytest.raises(InvalidInput, match=said):
            Sound().decode(data)
    with pytest.raises(InvalidInput, match=r"A value of type list is not a sound"):
        Sound().take([0.0])
    with pytest.raises(InvalidInput, match=r"has 7 samples a second; 1,000 to 384,000 are read"):
        Sound().take(Waveform(TONE.samples, 7))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_damaged_sound_is_decoded_or_refused_and_nothing_else(source: st.DataObject) -> None:
    kind = source.draw(st.sampled_from(["WAV", "FLAC", "OGG", "AIFF"]))
    data = bytearray(recorded(TONE.samples, kind))
    for _ in range(source.draw(st.integers(1, 6))):
        data[source.draw(st.integers(0, len(data) - 1))] = source.draw(st.integers(0, 255))
    try:
        sound = Sound().read(base64.b64encode(data).decode())
    except InvalidInput as error:
        assert error.message.endswith(".")  # noqa: PT017 - either outcome is right
    else:
        assert np.isfinite(sound.samples).all()
