"""The library open_clip, imported with torchvision mended, or refused with the line to install it."""

from __future__ import annotations

from imagesearch.embedders.torchvision_repair import import_torchvision
from imagesearch.errors import MissingDependencyError

__all__ = ["open_clip"]

try:
    import_torchvision()
    import open_clip
except ImportError as error:
    raise MissingDependencyError(
        f"the embedder 'clip' needs the package open_clip_torch ({error}): "
        'pip install "imagesearch-index[clip]"'
    ) from error
