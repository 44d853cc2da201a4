"""The facade: an embedder and a store as one searchable index."""

from imagesearch.index.image_index import ImageIndex

__all__ = ["ImageIndex"]
