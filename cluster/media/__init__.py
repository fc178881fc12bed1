"""Pictures, masks and sounds: how each is read, written, stored, sent and measured."""

from cluster.media.deep import DeepPicture
from cluster.media.mask import Mask, nearest_size
from cluster.media.media import Media
from cluster.media.picture import Picture, Pixels
from cluster.media.sound import Sound, Waveform

__all__ = [
    "DeepPicture",
    "Mask",
    "Media",
    "Picture",
    "Pixels",
    "Sound",
    "Waveform",
    "nearest_size",
]
