"""Images: whatever holds an image → an upright 8-bit RGB image, by one documented policy."""

from imagesearch.images._decoder_pool import DecoderPool
from imagesearch.images.array import from_array
from imagesearch.images.blank import is_blank
from imagesearch.images.convert import upright_rgb
from imagesearch.images.decode import decode
from imagesearch.images.limits import MAX_DECODED_BYTES, MAX_PIXELS, MAX_SIDE
from imagesearch.images.names import IMAGE_SUFFIXES, looks_like_image_name

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
