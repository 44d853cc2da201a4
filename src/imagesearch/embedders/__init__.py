"""Embedders: each file is one kind, imported only when it is chosen.

What embedders have in common, for those who write one: fingerprints.
"""

from imagesearch.embedders._weights import file_sha256, fingerprint

__all__ = ["file_sha256", "fingerprint"]
