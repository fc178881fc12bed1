"""Hold sounds: mono samples and their rate, read by libsndfile and written as WAV."""

import io
import re
import struct
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cluster.base.errors import InvalidInput, TooLarge, UnsupportedMedia
from cluster.media.media import Media

if TYPE_CHECKING:
    from soundfile import SoundFile

READ = "WAV, FLAC, OGG, MP3 or AIFF"
MAX_SECONDS = 600.0
LEAST_RATE_HZ, MOST_RATE_HZ = 1_000, 384_000
MOST_CHANNELS = 32
BLOCK = 65_536  # frames that are decoded at a time
LOUDEST = 32_768  # of 16 bits
UNKNOWN = 0xFFFFFFFF  # what programs that write into a pipe state as the size of their samples
_BEGINS = tuple(
    (kind, re.compile(begins, re.DOTALL))
    for kind, begins in (
        ("WAV", rb"(?:RIF[FX]|RF64)....WAVE"),
        ("FLAC", rb"fLaC"),
        ("OGG", rb"OggS"),
        ("MP3", rb"ID3|\xff[\xe2-\xe7\xf2-\xf7]"),  # a tag, or a frame's sync word and its layer
        ("AIFF", rb"FORM....AIF[FC]"),
    )
)


class Waveform:
    """A sound in memory.

    Args:
        samples: float32 `[n]`, from -1 to 1.
        rate_hz: how many of them are a second.
    """

    def __init__(self, samples: NDArray[np.float32], rate_hz: int) -> None:
        self.samples = samples
        self.rate_hz = rate_hz

    def __bytes__(self) -> bytes:
        return f"{self.rate_hz} ".encode() + np.ascontiguousarray(self.samples).tobytes()

    def __repr__(self) -> str:
        return f"Waveform({self.seconds:.3f} s at {self.rate_hz:,} Hz)"

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate_hz


@dataclass(frozen=True)
class Sound(Media):
    """A sound. In memory a `Waveform`: several channels are averaged.

    Files are read by libsndfile, which knows FLAC, OGG and MP3 beside WAV of every depth, and
    written as WAV of 16 bits.

    Args:
        max_seconds: the longest sound taken.
        rate_hz: what every sound is resampled to; None keeps the rate of each.
    """

    max_seconds: float = MAX_SECONDS
    rate_hz: int | None = None
    noun = "sound"
    reads = "audio/*"
    writes = "audio/wav"
    measure = "loudness"

    @property
    def about(self) -> str:
        """The formats and the limit."""
        return f"A {READ} file in base64, of at most {self.max_seconds:g} seconds."

    def decode(self, data: bytes) -> Waveform:
        """The samples of a file.

        Raises:
            TooLarge: its header states more than `max_seconds`, or its samples last longer.
            UnsupportedMedia: it is of no format that is read.
            InvalidInput: it is truncated or broken, holds no samples, or some that are no numbers.
        """
        import soundfile  # noqa: PLC0415 - with libsndfile, which replicas of pictures do not need

        kind = sniff(data)
        if kind == "WAV":
            self._check_wav(data)
        try:
            with soundfile.SoundFile(_Bytes(data)) as file:
                self._check_header(kind, file)
                rate_hz, blocks = file.samplerate, [*self._blocks(file)]
        except soundfile.LibsndfileError as error:
            raise InvalidInput(
                f"The {kind} sound of {len(data)} bytes is truncated or broken: "
                f"{error.error_string.rstrip('.')}.",
                hint="Send the whole file, or save it as WAV.",
            ) from None
        return self.take(Waveform(np.concatenate([np.zeros(0, np.float32), *blocks]), rate_hz))

    def encode(self, value: Waveform) -> bytes:
        """WAV of 16 bits; what is louder than they can say is cut off."""
        whole = np.rint(value.samples.astype(np.float64) * LOUDEST)
        file = io.BytesIO()
        with wave.open(file, "wb") as wav:
            wav.setnchannels(1)
            wav.setsampwidth(2)
            wav.setframerate(value.rate_hz)
            wav.writeframes(whole.clip(-LOUDEST, LOUDEST - 1).astype("<i2").tobytes())
        return file.getvalue()

    def take(self, value: object) -> Waveform:
        """A `Waveform`, at the rate that is wanted."""
        if not isinstance(value, Waveform):
            raise InvalidInput(
                f"A value of type {type(value).__name__} is not a sound.",
                hint="Send the bytes of its file in base64, or a Waveform.",
            )
        samples = np.asarray(value.samples, np.float32)
        if samples.ndim != 1 or not samples.size or not np.isfinite(samples).all():
            raise InvalidInput(
                "The sound holds no samples." if not samples.size
                else f"The sound's samples of shape {samples.shape} are not one row of numbers.",
                hint="Send a sound of at least one sample, without NaN.",
            )  # fmt: skip
        self._check_rate(value.rate_hz)
        if value.seconds > self.max_seconds:
            raise self._too_long(value.seconds)
        if self.rate_hz in (None, value.rate_hz):
            return Waveform(samples, value.rate_hz)
        import soxr  # noqa: PLC0415 - where sounds come at another rate alone

        resampled = soxr.resample(samples, value.rate_hz, self.rate_hz)
        return Waveform(np.asarray(resampled, np.float32), int(self.rate_hz or 0))

    def decoded_bytes(self, data: bytes) -> int:
        """Four bytes a sample, at the rate that is wanted."""
        import soundfile  # noqa: PLC0415 - as above

        with soundfile.SoundFile(_Bytes(data)) as file:
            return int(4 * file.frames * (self.rate_hz or file.samplerate) / file.samplerate)

    def example(self, value: Waveform) -> str:
        """The first twentieth of a second."""
        return self.base64(Waveform(value.samples[: value.rate_hz // 20 + 1], value.rate_hz))

    def _check_wav(self, data: bytes) -> None:
        """Refuse a WAV that states more seconds than may be, or more bytes than it has."""
        rate_bytes, stated, there = _wav_sizes(data)
        if stated in (0, UNKNOWN) or not rate_bytes:
            return
        if stated / rate_bytes > self.max_seconds:
            raise self._too_long(stated / rate_bytes)
        if stated > there:
            raise InvalidInput(
                f"The WAV sound states {stated:,} bytes of samples and has {there:,}: it is "
                "truncated.",
                hint="Send the whole file.",
            )

    def _check_header(self, kind: str, file: "SoundFile") -> None:
        self._check_rate(file.samplerate)
        if file.channels > MOST_CHANNELS:
            raise InvalidInput(
                f"The {kind} sound has {file.channels} channels; {MOST_CHANNELS} are read.",
                hint="Send it in mono.",
            )
        if file.frames / file.samplerate > self.max_seconds and file.frames < 2**62:
            raise self._too_long(file.frames / file.samplerate)

    def _blocks(self, file: "SoundFile") -> Iterator[NDArray[np.float32]]:
        """Mono, block by block: a header may state less than what follows."""
        left = int(self.max_seconds * file.samplerate) + 1
        while left > 0:
            block = file.read(min(BLOCK, left), dtype="float32", always_2d=True)
            if not len(block):
                return
            left -= len(block)
            yield block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)

    def _check_rate(self, rate_hz: int) -> None:
        if not LEAST_RATE_HZ <= rate_hz <= MOST_RATE_HZ:
            raise InvalidInput(
                f"The sound has {rate_hz:,} samples a second; {LEAST_RATE_HZ:,} to "
                f"{MOST_RATE_HZ:,} are read.",
                hint="Save it again at 16,000 or 44,100.",
            )

    def _too_long(self, seconds: float) -> TooLarge:
        return TooLarge(
            f"The sound is {seconds:,.1f} seconds long; the limit is {self.max_seconds:g}.",
            hint="Cut it into shorter ones.",
            limit=self.max_seconds,
            actual=seconds,
        )


class _Bytes(io.BytesIO):
    """Bytes in which libsndfile may seek to before the start, as it does in broken MP3."""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go there, or stay."""
        try:
            return super().seek(offset, whence)
        except ValueError:
            return self.tell()


def sniff(data: bytes) -> str:
    """Which of the formats that are read the bytes begin like.

    Raises:
        InvalidInput: there are no bytes.
        UnsupportedMedia: they begin like none of them.
    """
    if not data:
        raise InvalidInput("The sound is empty (0 bytes).", hint="Send the bytes of the file.")
    for kind, begins in _BEGINS:
        if begins.match(data):
            return kind
    raise UnsupportedMedia(
        f"The sound begins with {data[:8].hex(' ')}, which is no format that is read.",
        hint=f"Send {READ}.",
    )


def _wav_sizes(data: bytes) -> tuple[int, int, int]:
    """The bytes that a second takes, and of the samples the bytes that are stated and are there.

    All are 0 where the chunks of the file cannot be walked; libsndfile then says what is wrong.
    """
    order = ">" if data.startswith(b"RIFX") else "<"
    at, rate_bytes = 12, 0
    while at + 8 <= len(data):
        name, size = struct.unpack_from(f"{order}4sI", data, at)
        if name == b"fmt " and at + 20 <= len(data):
            rate_bytes = struct.unpack_from(f"{order}I", data, at + 16)[0]
        if name == b"data":
            return rate_bytes, size, len(data) - at - 8
        at += 8 + size + size % 2
    return 0, 0, 0
