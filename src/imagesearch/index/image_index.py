"""ImageIndex: an embedder and a store as one searchable index."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from typing import Any, Concatenate, Literal, ParamSpec, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagesearch._deprecation import warn_deprecated
from imagesearch._printable import shorten
from imagesearch._tables import VectorType, to_arrow
from imagesearch._validation import flag, whole
from imagesearch.calibration import Calibration
from imagesearch.config import load_config
from imagesearch.copying import copy_projected
from imagesearch.duplicates import (
    NEAR_DISTANCE,
    TIERS,
    CrossIndexFinder,
    DuplicateFinder,
    DuplicateReport,
    Match,
    Rules,
    Tier,
    find_original,
)
from imagesearch.errors import ConfigError, MissingDependencyError
from imagesearch.filters import Filter, as_filter
from imagesearch.index._calibrate import calibrate
from imagesearch.index._check import check_store, optimize_store
from imagesearch.index._ingest import (
    VECTOR_BATCH,
    OnError,
    delete_records,
    id_list,
    ingest,
    make_progress,
    update_records,
    vector_items,
)
from imagesearch.index._open import local_store, open_index
from imagesearch.index._query_vectors import QueryVectors
from imagesearch.index._rerank import Rerank
from imagesearch.index._search import (
    MinScore,
    Search,
    as_queries,
    combined,
    read_calibration,
)
from imagesearch.plugins import make_embedder, make_store
from imagesearch.protocols import (
    Embedder,
    SupportsWriterRelease,
    VectorStore,
    supports,
)
from imagesearch.sources import open_thumbnail, read
from imagesearch.types import (
    AddReport,
    CheckReport,
    EmbeddingSpec,
    Hits,
    ImageSource,
    IndexMeta,
    Item,
    Metadata,
    Metric,
    Query,
    Record,
    RecordBatch,
    VectorBatch,
)

__all__ = ["ImageIndex"]

_P = ParamSpec("_P")


def _accepts_ids_first(
    method: Callable[Concatenate[ImageIndex, _P], int],
) -> Callable[Concatenate[ImageIndex, _P], int]:
    """Accept the order of 0.1, ``update_metadata(ids, metadata)``, with a warning."""

    @functools.wraps(method)
    def call(self: ImageIndex, /, *args: Any, **kwargs: Any) -> int:
        if len(args) == 2 or (len(args) == 1 and "metadata" in kwargs):
            warn_deprecated("update_metadata(ids, metadata)", "update_metadata(metadata, ids=ids)")
            kwargs["ids"] = args[0]
            args = args[1:]
        return method(self, *args, **kwargs)

    return call


class ImageIndex:
    """Images that can be searched by image and, if the embedder has a text tower, by text.

    Without `embedder`, an existing index creates the one it was built with when it is first
    needed; a new index uses ResNet50.

    Args:
        path: Folder of a local index, created on first use. Give this or `store`.
        embedder: Turns images into vectors. An `EmbeddingSpec`, such as
            ``EmbeddingSpec("my-model", dim=512)``, makes an index of vectors from elsewhere, which
            cannot embed images and texts itself.
        store: Stores the vectors.
        metric: How a new index compares vectors; an existing index has its own.
        batch_size: Images that are embedded and stored together, ≥ 1; None for what the embedder
            prefers (`SupportsBatchSize`), or 32.

    Raises:
        ConfigError: Neither or both of `path` and `store` are given, `path` is not a path, or a
            number is out of range.
        IncompatibleIndexError: The index was built with another embedder or metric.
        WeightsUnavailableError: The embedder's weights cannot be loaded or downloaded.
        StoreError: The store cannot be opened.

    Example:
        >>> from PIL import Image
        >>> from imagesearch import DescriptorEmbedder, MemoryStore
        >>> image = Image.new("RGB", (64, 64), "teal")
        >>> with ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore()) as index:
        ...     report = index.add(image)
        ...     [hit] = index.search(image)
        >>> report.added == [hit.id], round(hit.score, 3)
        (True, 1.0)
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        embedder: Embedder | EmbeddingSpec | None = None,
        store: VectorStore | None = None,
        metric: Metric | None = None,
        batch_size: int | None = None,
    ) -> None:
        if batch_size is not None:
            batch_size = whole(batch_size, "batch_size", least=1)
        self._batch_size = batch_size
        self._index = open_index(path, store, embedder, metric)

    @classmethod
    def from_config(cls, path: str | os.PathLike[str]) -> ImageIndex:
        r"""Open the index that a TOML file describes.

        Args:
            path: A file with a ``[store]`` table and optionally an ``[embedder]`` table; see
                `imagesearch.config`.

        Raises:
            ConfigError: The file cannot be read, or an option is invalid.
            ImageSearchError: As the constructor.

        Example:
            >>> import pathlib, tempfile
            >>> file = pathlib.Path(tempfile.mkdtemp()) / "imagesearch.toml"
            >>> _ = file.write_text('[embedder]\nkind="descriptors"\n[store]\nkind="memory"')
            >>> with ImageIndex.from_config(file) as index:
            ...     index.count()
            0
        """
        config = load_config(path)
        if config.store is None:
            raise ConfigError(
                f'{path} has no [store] table; add one:\n[store]\nkind = "local"\npath = "photos.idx"'
            )
        return cls(
            embedder=make_embedder(config.embedder) if config.embedder is not None else None,
            store=make_store(config.store),
            metric=config.metric,
        )

    @property
    def meta(self) -> IndexMeta:
        """What the index records about its vectors."""
        return self._index.meta

    @property
    def store(self) -> VectorStore:
        """The open store."""
        return self._index.store

    @property
    def embedder(self) -> Embedder:
        """The embedder; created on first use if the index was opened without one.

        Raises:
            IncompatibleIndexError: The recorded options now give a different embedder.
            ConfigError: The index does not record how to create its embedder; pass it.
        """
        return self._index.embedder()

    def add(
        self,
        source: object,
        *,
        metadata: Metadata | None = None,
        on_error: OnError = "collect",
        progress: bool | None = None,
    ) -> AddReport:
        """Add or update images; unchanged images are skipped before they are decoded.

        Args:
            source: A file, folder, glob, CSV or JSONL manifest, URL, bytes, PIL image, array,
                `Item`, or an iterable of these.
            metadata: Fields for every image; an image's own fields take precedence. Records keep
                their fields if neither is given.
            on_error: ``"collect"`` reports failures and continues; ``"raise"`` raises the first.
                What came before a failure is stored, even if `source` itself raises.
            progress: Whether to show a progress bar on standard error; None: if it is a terminal.

        Returns:
            A report with an id or a failure for every input.

        Raises:
            SourceNotFoundError: `source` itself is a path or glob that matches nothing.
            SourceError: `source` cannot contain images.
            EmbeddingError: The model failed on all images of a batch.
            StoreError: The store failed, or rejected a whole batch; earlier batches stay.

        Example:
            >>> import numpy as np
            >>> from imagesearch import DescriptorEmbedder, Item, MemoryStore
            >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
            >>> grey = np.full((40, 60, 3), 128, np.uint8)
            >>> print(index.add([Item(grey, id="grey"), b"not an image"]))
            1 added, 0 updated, 0 unchanged, 1 failed; 1 of one colour only
            >>> print(index.add(Item(grey, id="grey")))
            0 added, 0 updated, 1 unchanged, 0 failed
        """
        return ingest(
            self._index,
            source,
            metadata=metadata,
            on_error=on_error,
            progress=progress,
            group_size=self._batch_size,
        )

    def add_vectors(
        self,
        ids: Iterable[str],
        vectors: ArrayLike,
        uris: Iterable[str] | None = None,
        metadata: Iterable[Metadata] | None = None,
        *,
        on_error: OnError = "collect",
        progress: bool | None = None,
    ) -> AddReport:
        """Add or update records by their vectors; no image is read.

        Vectors are stored in batches of 1000. An index with a projection projects those that have
        the embedder's dimension.

        Args:
            ids: n ids.
            vectors: Shape (n, dim), from the embedder of the index.
            uris: n URIs: where the images are; None for ``sha256:…`` of the vector.
            metadata: n dicts of fields; None keeps those of existing records.
            on_error: As for `add`.
            progress: As for `add`.

        Returns:
            A report with an id or a failure for every vector.

        Raises:
            StoreRequestError: `vectors` has another dimension, or is not a matrix of numbers.
            QueryError: Lengths differ, or `ids`, `uris` or `metadata` is not a list.
            StoreError: The store failed; earlier batches stay.

        Example:
            >>> from imagesearch import EmbeddingSpec, MemoryStore
            >>> index = ImageIndex(embedder=EmbeddingSpec("mine", dim=2), store=MemoryStore())
            >>> print(index.add_vectors(["a", "b"], [[1, 0], [0, 1]], metadata=[{"n": 1}, {"n": 2}]))
            2 added, 0 updated, 0 unchanged, 0 failed
            >>> index.search(vector=[0.9, 0.1], k=1).ids
            ['a']
        """
        return ingest(
            self._index,
            vector_items(self.meta, ids, vectors, uris, metadata),
            metadata=None,
            on_error=on_error,
            progress=progress,
            group_size=VECTOR_BATCH,
        )

    def sync(
        self,
        source: object,
        *,
        metadata: Metadata | None = None,
        on_error: OnError = "collect",
        progress: bool | None = None,
        allow_removing: bool = False,
    ) -> AddReport:
        """Add a source as `add` does, and remove the records whose images no longer exist.

        For a folder, only records below it are considered; any other source lists everything that
        the index should contain. A moved file keeps its vector and its metadata. Records stay if
        their images may only be unreachable, as on a share that is not mounted; see "What sync
        removes" in the documentation of sources.

        Args:
            source: As for `add`.
            metadata: As for `add`.
            on_error: As for `add`; ``"raise"`` also raises for images that cannot be reached, and
                then removes nothing.
            progress: As for `add`.
            allow_removing: Whether to remove more than ten records if they are more than a tenth
                of the records considered. Moved files do not count.

        Returns:
            A report; ``removed`` lists the removed ids, ``kept`` those of unreachable images.

        Raises:
            RemovalRefusedError: Too many records would be removed, or no image can be read but the
                index has some of this source. Nothing is removed; additions stay.
            SourceError: As for `add`; also for a single image, and for a manifest with invalid
                lines. Nothing is removed.
            StoreError: The store failed.

        Example:
            >>> from PIL import Image
            >>> from imagesearch import DescriptorEmbedder, Item, MemoryStore
            >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
            >>> red, blue = (Item(Image.new("RGB", (9, 9), name), id=name) for name in ("red", "blue"))
            >>> _ = index.add([red, blue])
            >>> index.sync([blue]).removed
            ['red']
        """
        return ingest(
            self._index,
            source,
            metadata=metadata,
            on_error=on_error,
            progress=progress,
            group_size=self._batch_size,
            prune=True,
            allow_removing=flag(allow_removing, "allow_removing"),
        )

    def search(
        self,
        query: Query | ImageSource | None = None,
        *,
        text: str | None = None,
        id: str | None = None,
        vector: ArrayLike | None = None,
        k: int = 10,
        where: Filter | str | None = None,
        min_score: MinScore = None,
        exclude_self: bool = True,
        group_by: str | None = None,
        expand: int = 0,
        augment: int = 0,
    ) -> Hits:
        """Find the images that are most similar to a query.

        Args:
            query: An image (path, URL, bytes, PIL image, array), or a `Query` that combines
                images, texts, ids and vectors. The other query arguments are added to it.
            text: A description; needs an embedder with a text tower.
            id: The id of a record of the index.
            vector: A vector of shape (dim,) from the index's embedder.
            k: Number of hits, ≥ 1.
            where: Only matching records; a filter or its text form.
            min_score: Minimum score of a hit, or ``"calibrated"`` for the threshold that
                `calibrate` saved, which applies to a single whole image, record, vector or text
                without `expand` and `augment`.
            exclude_self: Whether to leave out the records that the query names by id.
            group_by: A metadata field; only the best of the records that share a value is
                returned. Records without the field are not grouped.
            expand: Number of nearest records added to the query before the search (alpha query
                expansion); 0 for none. Costs one more search. 5 is a good number.
            augment: Number of neighbours added to each of the max(5 k, 50) best records before
                they are ranked (database-side augmentation); 0 for none. Reads their vectors. 5 is
                a good number.

        Returns:
            At most k hits, best first. `expand` and `augment` raise scores, and `min_score` is
            compared with the raised ones.

        Raises:
            QueryError: The query is missing or does not suit this index, or options cannot be
                combined.
            SourceError: The query image cannot be read.
            FilterError: `where` is invalid, or the store does not support it.
            StoreError: The store failed.

        Example:
            >>> from PIL import Image
            >>> from imagesearch import DescriptorEmbedder, Field, Item, MemoryStore
            >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
            >>> _ = index.add([
            ...     Item(Image.new("RGB", (9, 9), c), id=c, metadata={"warm": c != "blue"})
            ...     for c in ("red", "orange", "blue")])
            >>> index.search(id="red", where=Field("warm") == True, k=1).ids
            ['orange']
        """
        [hits] = self.search_many(
            [combined(query, text, id, vector)],
            k=k,
            where=where,
            min_score=min_score,
            exclude_self=exclude_self,
            group_by=group_by,
            expand=expand,
            augment=augment,
        )
        return hits

    def search_many(
        self,
        queries: Iterable[Query | ImageSource],
        *,
        k: int = 10,
        where: Filter | str | None = None,
        min_score: MinScore = None,
        exclude_self: bool = True,
        group_by: str | None = None,
        expand: int = 0,
        augment: int = 0,
    ) -> list[Hits]:
        """Answer many queries with one pass through the model and one call of the store.

        Queries are image sources and `Query` objects; the options are those of `search`.

        Returns:
            One `Hits` for each query, in order.

        Raises:
            ImageSearchError: As for `search`; one invalid query fails the call.

        Example:
            >>> from PIL import Image
            >>> from imagesearch import DescriptorEmbedder, Item, MemoryStore
            >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
            >>> images = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
            >>> _ = index.add([Item(images[0], id="red"), Item(images[1], id="blue")])
            >>> [hits[0].id for hits in index.search_many(images, k=1)]
            ['red', 'blue']
        """
        search = Search(
            k=k,
            where=as_filter(where),
            min_score=min_score,
            exclude_self=exclude_self,
            group_by=group_by,
            rerank=Rerank(expand, augment),
        )
        return search.run(self._index, as_queries(queries))

    @overload
    def get(
        self, ids: str | Iterable[str], *, vectors: Literal[True]
    ) -> dict[str, Record[NDArray[np.float32]]]: ...
    @overload
    def get(self, ids: str | Iterable[str], *, vectors: bool = False) -> dict[str, Record]: ...
    def get(self, ids: str | Iterable[str], *, vectors: bool = False) -> dict[str, Record[Any]]:
        """Return the existing records among one or many ids, with their vectors on request.

        Raises:
            QueryError: An id is not a str.
            StoreError: The store failed.

        Example:
            >>> from PIL import Image
            >>> from imagesearch import DescriptorEmbedder, Item, MemoryStore
            >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
            >>> _ = index.add(Item(Image.new("RGB", (9, 9)), id="a", metadata={"n": 1}))
            >>> index.get(["a", "b"])["a"].metadata
            {'n': 1}
        """
        return self.store.get(id_list(ids), vectors=flag(vectors, "vectors"))

    def delete(
        self, ids: str | Iterable[str] | None = None, *, where: Filter | str | None = None
    ) -> int:
        """Delete records by id or by filter.

        Args:
            ids: One id or many; unknown ids are ignored.
            where: All matching records. Give this or `ids`.

        Returns:
            The number of deleted records.

        Raises:
            QueryError: Neither or both of `ids` and `where` are given, or an id is not a str.
            FilterError: `where` is invalid, or the store does not support it.
            StoreError: The store failed.

        Example:
            >>> from PIL import Image
            >>> from imagesearch import DescriptorEmbedder, Item, MemoryStore
            >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
            >>> _ = index.add(Item(Image.new("RGB", (9, 9)), id="a", metadata={"n": 1}))
            >>> index.delete(where="n > 5"), index.delete("a")
            (0, 1)
        """
        return delete_records(self.store, ids, as_filter(where))

    @_accepts_ids_first
    def update_metadata(
        self,
        metadata: Metadata,
        *,
        ids: str | Iterable[str] | None = None,
        where: Filter | str | None = None,
        replace: bool = False,
    ) -> int:
        """Change the metadata of records; their vectors stay as they are.

        Concurrent writers do not lose each other's fields with a store that is a
        `SupportsMetadataUpdate`, as all of this package are. With others the last writer wins.

        Args:
            metadata: Fields to set; a field that is None is removed.
            ids: One id or many; unknown ids are ignored.
            where: All matching records. Give this or `ids`.
            replace: Whether to remove all other fields.

        Returns:
            The number of matching records.

        Raises:
            QueryError: Neither or both of `ids` and `where` are given, or an id is not a str.
            FilterError: `where` is invalid, or the store does not support it.
            StoreRequestError: The metadata cannot be stored.
            StoreError: The store failed.

        Example:
            >>> from PIL import Image
            >>> from imagesearch import DescriptorEmbedder, Item, MemoryStore
            >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
            >>> _ = index.add(Item(Image.new("RGB", (9, 9)), id="a", metadata={"n": 1}))
            >>> index.update_metadata({"sold": True}, ids="a"), index.get("a")["a"].metadata
            (1, {'n': 1, 'sold': True})
        """
        return update_records(
            self.store, metadata, ids, as_filter(where), replace=flag(replace, "replace")
        )

    def count(self, where: Filter | str | None = None) -> int:
        """Return the number of records, or of matching records.

        Raises:
            FilterError: `where` is invalid, or the store does not support it.
            StoreError: The store failed.
        """
        return self.store.count(as_filter(where))

    @overload
    def scan(
        self, *, where: Filter | str | None = None, batch_size: int = 1000, vectors: Literal[True]
    ) -> Iterator[VectorBatch]: ...
    @overload
    def scan(
        self, *, where: Filter | str | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[RecordBatch]: ...
    def scan(
        self, *, where: Filter | str | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[RecordBatch[Any]]:
        """Iterate over all matching records once, in batches.

        Args:
            where: Only matching records.
            batch_size: Records in a batch, ≥ 1.
            vectors: Whether the batches contain vectors.

        Raises:
            FilterError: `where` is invalid, or the store does not support it.
            StoreError: The store failed.

        Example:
            >>> from PIL import Image
            >>> from imagesearch import DescriptorEmbedder, Item, MemoryStore
            >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
            >>> _ = index.add(Item(Image.new("RGB", (9, 9)), id="a"))
            >>> [record.id for batch in index.scan() for record in batch]
            ['a']
        """
        return self.store.scan(
            where=as_filter(where), batch_size=batch_size, vectors=flag(vectors, "vectors")
        )

    def to_numpy(
        self, *, where: Filter | str | None = None
    ) -> tuple[list[str], NDArray[np.float32]]:
        """Return the ids and the vectors of all matching records.

        Records are read in batches, so no more memory is used than the result needs.

        Args:
            where: Only matching records.

        Returns:
            n ids, and float32 of shape (n, dim), as the store keeps the vectors: of unit length
            under the metric ``cosine``, and projected if the index is.

        Raises:
            FilterError: `where` is invalid, or the store does not support it.
            StoreError: The store failed.

        Example:
            >>> from imagesearch import EmbeddingSpec, MemoryStore
            >>> index = ImageIndex(embedder=EmbeddingSpec("mine", dim=2), store=MemoryStore())
            >>> _ = index.add_vectors(["a", "b"], [[1, 0], [0, 1]])
            >>> ids, vectors = index.to_numpy()
            >>> ids, vectors.shape
            (['a', 'b'], (2, 2))
        """
        filter = as_filter(where)
        ids: list[str] = []
        vectors = np.empty((self.store.count(filter), self.meta.dim), np.float32)
        for batch in self.scan(where=filter, vectors=True):
            end = len(ids) + len(batch)
            if end > len(vectors):  # records were added meanwhile
                vectors = np.resize(vectors, (end + len(ids) // 2, self.meta.dim))
            vectors[len(ids) : end] = batch.vectors
            ids += batch.ids
        return ids, vectors[: len(ids)]

    def to_arrow(self, *, where: Filter | str | None = None, vectors: bool = True) -> Any:
        """Return all matching records as a ``pyarrow.Table``.

        The columns are described in the guide on tables: ``id``, ``uri``, ``digest``, one for each
        metadata field, and ``vector``. Needs the extra ``parquet``. For more records than fit into
        memory, use ``imagesearch export``.

        Args:
            where: Only matching records.
            vectors: Whether the table has the column ``vector``.

        Raises:
            MissingDependencyError: pyarrow is not installed.
            FilterError: `where` is invalid, or the store does not support it.
            StoreError: The store failed.

        Example:
            >>> from imagesearch import EmbeddingSpec, MemoryStore
            >>> index = ImageIndex(embedder=EmbeddingSpec("mine", dim=2), store=MemoryStore())
            >>> _ = index.add_vectors(["a"], [[1, 0]], metadata=[{"n": 1}])
            >>> index.to_arrow(vectors=False).to_pylist()[0]["n"]
            1
        """
        kind: VectorType | None = "float32" if flag(vectors, "vectors") else None
        return to_arrow(self.store, self.meta, as_filter(where), kind)

    def to_pandas(self, *, where: Filter | str | None = None, vectors: bool = True) -> Any:
        """Return all matching records as a ``pandas.DataFrame``, with the columns of `to_arrow`.

        Args:
            where: Only matching records.
            vectors: Whether the frame has the column ``vector``, an array for each record.

        Raises:
            MissingDependencyError: pandas or pyarrow is not installed.
            FilterError: `where` is invalid, or the store does not support it.
            StoreError: The store failed.

        Example:
            >>> from imagesearch import EmbeddingSpec, MemoryStore
            >>> index = ImageIndex(embedder=EmbeddingSpec("mine", dim=2), store=MemoryStore())
            >>> _ = index.add_vectors(["a"], [[1, 0]], metadata=[{"n": 1}])
            >>> list(index.to_pandas().columns)
            ['id', 'uri', 'digest', 'n', 'vector']
        """
        table = self.to_arrow(where=where, vectors=vectors)
        try:
            return table.to_pandas()
        except ImportError as error:
            raise MissingDependencyError(
                "to_pandas() needs the package pandas", remedy="pip install pandas"
            ) from error

    def fit_projection(
        self,
        into: str | os.PathLike[str] | VectorStore,
        *,
        dim: int = 128,
        progress: bool | None = None,
    ) -> ImageIndex:
        """Write a new index with centred vectors, reduced to `dim` principal axes (PCA).

        Nothing is embedded again, and this index does not change. The new index projects queries
        and additions itself; add new images to this index too, so that a projection can be fitted
        again when the index has grown (see the documentation on quality). A call that was
        interrupted can be repeated.

        Args:
            into: Path of a new local index, or an empty store, which stays open if this fails.
            dim: Length of the new vectors, less than that of the embedder's.
            progress: As for `add`.

        Returns:
            The new index, open.

        Raises:
            ConfigError: `dim` is out of range, the metric is not cosine, this index is projected
                itself, `into` is its own store, or `into` is complete and this index has changed
                since.
            IncompatibleIndexError: `into` contains another index.
            StoreError: A store failed.

        Example:
            >>> from imagesearch import DescriptorEmbedder, MemoryStore
            >>> from imagesearch._demo_images import draw_scene
            >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
            >>> _ = index.add([draw_scene("fish", number) for number in range(6)])
            >>> index.fit_projection(MemoryStore(), dim=4).meta.dim
            4
        """
        if not isinstance(into, str | os.PathLike) and not supports(into, VectorStore):
            raise ConfigError(f"into must be a path or a store, got {shorten(into)}")
        if into is self.store:
            raise ConfigError(
                "into must be another store or a new path: this index keeps its own vectors"
            )
        with ExitStack() as on_failure:
            if isinstance(into, str | os.PathLike):
                into = on_failure.enter_context(closing(local_store(into)))
            with closing(make_progress(progress, 2 * self.count(), unit="record")) as bar:
                copy_projected(self.store, into, self.meta, dim, advance=bar.advance)
            on_failure.pop_all()
        return ImageIndex(store=into, embedder=self._index.embedder.if_made)

    def duplicates(
        self,
        *,
        tiers: Iterable[Tier] = TIERS,
        threshold: float | None = None,
        near_distance: float = NEAR_DISTANCE,
        mirrored: bool = True,
        where: Filter | str | None = None,
        against: ImageIndex | None = None,
        progress: bool | None = None,
        max_bits: int | None = None,
    ) -> DuplicateReport:
        """Find groups of images that are copies of each other; nothing is deleted.

        Args:
            tiers: Ways to compare: ``exact`` by digest, ``near`` by a perceptual hash of the image
                file, ``semantic`` by embedding.
            threshold: Minimum score of a ``semantic`` copy; None: a distance (1 - score) of at
                most 8 % of the mean distance in the index, or 3 % if it is projected.
            near_distance: Maximum share of differing hash bits of ``near`` copies, 0 to 0.5;
                unrelated images differ in about half of them.
            mirrored: Whether ``near`` finds mirror images.
            where: Only matching records.
            against: Another index; finds the images here that are copies of images there.
            progress: As for `add`.
            max_bits: Deprecated; `near_distance` in bits of 512.

        Returns:
            The groups, each with the image to keep: the one with most pixels, or with `against`
            the one of the other index.

        Raises:
            ConfigError: An option is out of range, or `against` is this index.
            QueryError: The metric does not suit tier ``semantic``.
            IncompatibleIndexError: `against` has another embedder, for tier ``semantic``.
            FilterError: `where` is invalid, or the store does not support it.
            StoreError: A store failed.

        Example:
            >>> from imagesearch import DescriptorEmbedder, Item, MemoryStore
            >>> from imagesearch._demo_images import draw_scene
            >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
            >>> fish, boat = draw_scene("fish", 1), draw_scene("boat", 1)
            >>> _ = index.add([Item(fish, id="a"), Item(fish, id="b"), Item(boat, id="c")])
            >>> [group.ids for group in index.duplicates(tiers=["exact"])]
            [('a', 'b')]
        """
        rules = Rules.of(
            tiers,
            threshold=threshold,
            near_distance=near_distance,
            mirrored=mirrored,
            max_bits=max_bits,
        )
        if against is not None and not isinstance(against, ImageIndex):
            raise ConfigError(
                f"against must be an ImageIndex, got {shorten(against)}; open it with ImageIndex(…)"
            )
        if against is not None and against.store is self.store:
            raise ConfigError(
                "against must be another index, got this one; leave it out to search within it"
            )
        store, meta, filter = self.store, self.meta, as_filter(where)
        total = store.count(filter) + (against.count() if against is not None else 0)
        with closing(make_progress(progress, total * len(rules.tiers))) as bar:
            if against is None:
                finder: DuplicateFinder | CrossIndexFinder = DuplicateFinder(
                    store, meta, rules, filter, advance=bar.advance, load=open_thumbnail
                )
            else:
                finder = CrossIndexFinder(
                    store,
                    meta,
                    against.store,
                    against.meta,
                    rules,
                    filter,
                    advance=bar.advance,
                    load=open_thumbnail,
                )
            return finder.run()

    def is_duplicate(
        self,
        image: ImageSource | Item,
        *,
        tiers: Iterable[Tier] = TIERS,
        threshold: float | None = None,
        near_distance: float = NEAR_DISTANCE,
        mirrored: bool = True,
        where: Filter | str | None = None,
        max_bits: int | None = None,
    ) -> Match | None:
        """Return the record that an image, such as an upload, is a copy of.

        The image is a path, URL, bytes, PIL image, array or `Item`, and is not added; the options
        are those of `duplicates`. Without `threshold` each call derives one from 512 records, so a
        service should pass ``index.duplicates().threshold``.

        Returns:
            The strongest match among the 20 nearest records, and for ``exact`` among up to 10,240
            that are as near as the image itself would be; or None.

        Raises:
            SourceError: The image cannot be read.
            ImageSearchError: As for `duplicates`.

        Example:
            >>> from imagesearch import DescriptorEmbedder, Item, MemoryStore
            >>> from imagesearch._demo_images import draw_scene
            >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
            >>> _ = index.add(Item(draw_scene("fish", 1), id="fish"))
            >>> index.is_duplicate(draw_scene("fish", 1)).tier
            'exact'
            >>> index.is_duplicate(draw_scene("boat", 1)) is None
            True
        """
        rules = Rules.of(
            tiers,
            threshold=threshold,
            near_distance=near_distance,
            mirrored=mirrored,
            max_bits=max_bits,
        )
        filter = as_filter(where)
        payload = read(image if isinstance(image, Item) else Item(image))
        vector = QueryVectors(self.store, self.meta, self._index.embedder).of_image(payload)
        return find_original(self.store, self.meta, payload, vector, rules=rules, where=filter)

    @property
    def calibration(self) -> Calibration | None:
        """The calibration that `calibrate` saved in the index, or None.

        Raises:
            QueryError: The saved calibration cannot be read.
            StoreError: The store failed.
        """
        return read_calibration(self.store)

    def calibrate(
        self,
        source: object = None,
        *,
        label: str = "label",
        pairs: str | os.PathLike[str] | None = None,
        precision: float = 0.95,
        save: bool = True,
        k: int = 10,
        sample: int = 1000,
        seed: int = 0,
        progress: bool | None = None,
    ) -> Calibration:
        """Learn a score threshold, for ``search(min_score="calibrated")``.

        Without `source` and `pairs`, records of the index are the queries: hits with the same
        label are relevant or, if no record has a label, copies (tiers ``exact`` and ``near`` of
        `duplicates`). The guide on calibration describes what the threshold applies to.

        Args:
            source: Labelled query images: class folders, a manifest or items, as for `add`. A
                query whose label is not in the index contributes scores of wrong hits.
            label: Metadata field with the label. If none has it, the label is the name of the
                image's folder (with `source` only).
            pairs: A CSV file of queries with all their relevant records, instead of `source`.
            precision: Share of relevant hits to ensure with 95 % confidence, between 0 and 1.
            save: Whether to save the calibration in the index, replacing an earlier one.
            k: Hits of each query to learn from, ≥ 1.
            sample: Maximum number of records of the index to use as queries, ≥ 1.
            seed: Seed of that sample.
            progress: As for `add`.

        Returns:
            The threshold with its measured precision and recall.

        Raises:
            ConfigError: An option is out of range, or both `source` and `pairs` are given.
            QueryError: No labels or copies are available, or no score ensures the precision; the
                message gives the best precision available.
            SourceError: `source` or `pairs` cannot be read.
            UnsupportedOperationError: The store does not support notes; use ``save=False``.
            StoreError: The store failed.

        Example:
            >>> from PIL import Image
            >>> from imagesearch import DescriptorEmbedder, Item, MemoryStore
            >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
            >>> _ = index.add(
            ...     Item(Image.new("RGB", (9, 9), (c, 255 - c, n)), id=f"{c}-{n}", metadata={"label": c})
            ...     for c in (0, 250) for n in range(0, 80, 2))
            >>> calibration = index.calibrate(precision=0.9)
            >>> calibration.queries, calibration.precision, index.calibration == calibration
            (80, 1.0, True)
            >>> len(index.search(Image.new("RGB", (9, 9), "blue"), min_score="calibrated"))
            0
        """
        return calibrate(
            self._index,
            source,
            label=label,
            pairs=pairs,
            precision=precision,
            save=save,
            k=k,
            sample=sample,
            seed=seed,
            progress=progress,
        )

    def check(
        self, *, repair: bool = False, remove: bool = False, progress: bool | None = None
    ) -> CheckReport:
        """Verify everything that the store keeps, and list the damaged records.

        For an index that is too damaged to be opened, use ``imagesearch check``.

        Args:
            repair: Whether to repair: embed the images of damaged vectors again if their files
                exist, rebuild derived data, and accept a database that lost acknowledged writes.
            remove: With `repair`, whether to remove records that cannot be repaired. Otherwise
                they stay, and reading them raises `StoreCorruptError`.
            progress: As for `add`.

        Returns:
            The findings and, with `repair`, the repairs.

        Raises:
            ConfigError: `remove` without `repair`.
            UnsupportedOperationError: The store has no checksums, or is read-only and `repair` is
                given.
            StoreCorruptError: The index is too damaged to be repaired.
            StoreLockedError: Another process writes to the index and `repair` is given.

        Example:
            >>> import tempfile
            >>> from PIL import Image
            >>> from imagesearch import DescriptorEmbedder
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     with ImageIndex(folder, embedder=DescriptorEmbedder()) as index:
            ...         _ = index.add(Image.new("RGB", (32, 32), "red"))
            ...         report = index.check()
            >>> report.ok, report.damaged
            (True, ())
        """
        repair, remove = flag(repair, "repair"), flag(remove, "remove")
        if remove and not repair:
            raise ConfigError("remove=True requires repair=True")
        return check_store(
            self.store,
            lambda: self._index,
            repair=repair,
            remove=remove,
            group_size=self._batch_size,
            progress=progress,
        )

    def optimize(self, *, progress: bool | None = None) -> None:
        """Complete the search graph of a local index now, with all processors.

        The graph grows while images are added. After many fast additions, or if the graph was lost,
        searches scan the images that it lacks, which is slower but finds the same. Does nothing for
        stores without such a graph.

        Args:
            progress: As for `add`.

        Raises:
            StoreLockedError: Another process writes to the index.
            UnsupportedOperationError: The store was opened read-only.
            StoreError: The store failed.

        Example:
            >>> import tempfile
            >>> from PIL import Image
            >>> from imagesearch import DescriptorEmbedder
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     with ImageIndex(folder, embedder=DescriptorEmbedder()) as index:
            ...         _ = index.add(Image.new("RGB", (32, 32), "red"))
            ...         index.optimize()
        """
        optimize_store(self.store, progress)

    def release(self) -> None:
        """Let other processes write to the index until this one writes again.

        A local index has one writing process at a time, from its first write until it closes or
        calls this. Does nothing for stores without such a lock.

        Raises:
            StoreError: The store failed.

        Example:
            >>> import tempfile
            >>> from PIL import Image
            >>> from imagesearch import DescriptorEmbedder
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     with ImageIndex(folder, embedder=DescriptorEmbedder()) as index:
            ...         report = index.add(Image.new("RGB", (32, 32), "red"))
            ...         index.release()
            ...         with ImageIndex(folder) as other:
            ...             report = other.add(Image.new("RGB", (32, 32), "blue"))
            ...         index.count()
            2
        """
        if supports(self.store, SupportsWriterRelease):
            self.store.release_writer_lock()

    def close(self) -> None:
        """Release files and connections; the index cannot be used afterwards."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if "_index" not in vars(self):
            # A debugger or an error report may show an object whose construction failed.
            return "<ImageIndex: not open>"
        return f"ImageIndex(embedder={self.meta.embedding.name!r}, store={self.store!r})"
