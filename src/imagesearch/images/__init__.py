"""Images: whatever holds an image → an upright 8-bit RGB image, by one documented policy."""

from imagesearch.images._array import from_array
from imagesearch.images._convert import is_blank, upright_rgb
from imagesearch.images._decode import decode
from imagesearch.images._decoder_pool import DecoderPool
from imagesearch.images._limits import (
    IMAGE_SUFFIXES,
    MAX_DECODED_BYTES,
    MAX_PIXELS,
    MAX_SIDE,
    looks_like_image_name,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_DECODED_BYTES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "DecoderPool",
    "decode",
    "from_array",
    "is_blank",
    "looks_like_image_name",
    "upright_rgb",
]
