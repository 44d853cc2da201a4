"""Protocols are checked by their members, wherever these come from."""

import pytest
from PIL import Image

from imagesearch import ImageIndex, MemoryStore
from imagesearch.errors import ConfigError
from imagesearch.protocols import SupportsWriterRelease, VectorStore, missing_members, supports
from tests.small_embedder import SmallEmbedder


class Delegating:
    """Passes everything on, as wrappers that count or log do."""

    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)


def test_a_store_that_delegates_its_members_is_a_store():
    store = Delegating(MemoryStore())
    assert supports(store, VectorStore)
    assert not supports(store, SupportsWriterRelease)
    with ImageIndex(store=store, embedder=Delegating(SmallEmbedder())) as index:
        index.add(Image.new("RGB", (9, 9), "red"))
        unchanged = index.add(Image.new("RGB", (9, 9), "red")).unchanged
        assert index.update_metadata({}, ids=unchanged) == 1


def test_what_lacks_members_is_refused_and_named():
    with pytest.raises(ConfigError, match="cannot be used as store"):
        ImageIndex(store=Delegating(object()), embedder=SmallEmbedder())
    assert "upsert" in missing_members(object(), VectorStore)
