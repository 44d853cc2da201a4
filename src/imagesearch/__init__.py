"""Search images by image, by text and by both."""

from imagesearch.filters import Field
from imagesearch.types import *  # noqa
