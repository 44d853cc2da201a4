"""ImageIndex: the facade. Two names are the product: `add` and `search`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagesearch._printable import shorten
from imagesearch._validation import at_least, flag
from imagesearch.calibration import Calibration
from imagesearch.config import load_config
from imagesearch.duplicates import NEAR_DISTANCE, TIERS, DuplicateReport, Match, Rules, Tier
from imagesearch.errors import ConfigError
from imagesearch.filters import Filter, as_filter
from imagesearch.index._calibrate import calibrate
from imagesearch.index._check import check_store
from imagesearch.index._duplicates import find_copies, original_of
from imagesearch.index._edit import as_ids, delete_records, update_records
from imagesearch.index._grouping import GroupScore
from imagesearch.index._ingest import OnError, bring_in
from imagesearch.index._open import assemble, fit_into
from imagesearch.index._rerank import Refinement
from imagesearch.index._search import MinScore, Search, as_queries, combined, read_calibration
from imagesearch.plugins import make_embedder, make_store
from imagesearch.protocols import Embedder, SupportsWriterRelease, VectorStore, supports
from imagesearch.types import (
    AddReport,
    CheckReport,
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


class ImageIndex:
    """Images that can be searched by image, and where the embedder can, by text.

    Without an embedder an existing index makes the one that it was built with again, when it is
    first needed; a new index takes ResNet50.

    Args:
        path: Folder of a local index, made on first use. Give this or `store`.
        embedder: Turns images into vectors.
        store: Keeps the vectors.
        metric: How a new index compares vectors; an existing one knows its own.
        batch_size: Images in one group through the model and in one durable write, ≥ 1. Larger
            groups suit a GPU; on a CPU they bring nothing.

    Raises:
        ConfigError: Neither or both of `path` and `store` are given, `path` is not a path, or a number
            is out of range.
        IncompatibleIndexError: The index was made with another embedder or metric.
        WeightsUnavailableError: The embedder's weights cannot be had.
        StoreError: The store cannot be opened.

    Example:
        >>> from PIL import Image
        >>> from imagesearch import DescriptorEmbedder, MemoryStore
        >>> picture = Image.new("RGB", (64, 64), "teal")
        >>> with ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore()) as index:
        ...     report = index.add(picture)
        ...     [hit] = index.search(picture)
        >>> report.added == [hit.id], round(hit.score, 3)
        (True, 1.0)
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        embedder: Embedder | None = None,
        store: VectorStore | None = None,
        metric: Metric | None = None,
        batch_size: int = 32,
    ) -> None:
        self._batch_size = at_least(1, batch_size, "batch_size")
        self._index = assemble(path, store, embedder, metric)

    @classmethod
    def from_config(cls, path: str | os.PathLike[str]) -> ImageIndex:
        r"""Open the index that a TOML file describes.

        Args:
            path: A file with the tables ``[store]`` and, unless the index exists or ResNet50 is
                meant, ``[embedder]``; see `imagesearch.config`.

        Raises:
            ConfigError: The file cannot be read, or an option is wrong.
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
                f'{path} has no table [store]; add one:\n[store]\nkind = "local"\npath = "photos.idx"'
            )
        return cls(
            embedder=make_embedder(config.embedder) if config.embedder is not None else None,
            store=make_store(config.store),
            metric=config.metric,
        )

    @property
    def meta(self) -> IndexMeta:
        """What the index knows about its vectors."""
        return self._index.meta

    @property
    def store(self) -> VectorStore:
        """The store, open."""
        return self._index.store

    @property
    def embedder(self) -> Embedder:
        """The embedder; made on first use when the index was opened without one.

        Raises:
            IncompatibleIndexError: What the index recorded gives another embedder today.
            ConfigError: The index does not say how to make its embedder; pass it.
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
        """Add images, or bring them up to date; what is unchanged is skipped before decoding.

        Args:
            source: A file, folder, glob, CSV or JSONL manifest, URL, bytes, PIL image, array,
                `Item`, or any iterable of these.
            metadata: Fields for every image; an image's own fields win. Where neither is given,
                as for a folder, records keep the fields that they have; a manifest with metadata
                and ``Item(…, metadata={})`` say of an image that it has none.
            on_error: ``"collect"`` reports what failed and goes on; ``"raise"`` raises the first
                failure. Either way, what came before it is stored, also when `source` itself
                raises in the middle.
            progress: Whether to show a bar on standard error; None: if that is a terminal.

        Returns:
            A report in which every input is accounted for. It holds an id for each input.

        Raises:
            SourceNotFoundError: `source` itself names nothing.
            SourceError: `source` is nothing that holds images.
            EmbeddingError: The model failed on all images of a group.
            StoreError: The store failed, or refused all records of a group for a reason that is
                none of theirs; what was written until then stays.

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
        return bring_in(
            self._index,
            source,
            metadata=metadata,
            on_error=on_error,
            progress=progress,
            batch_size=self._batch_size,
            removing=False,
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
        """Add, and remove the records whose image is gone; a moved file keeps its vector.

        For a folder only records below that folder are considered; any other source (manifest,
        glob, iterable) is taken to name all that the index should hold. A moved file keeps its
        metadata too, unless the source brings some.

        Records whose image cannot be looked at now stay, and the report says why: a file or folder
        cannot be read, a symbolic link dangles, a folder is empty although the index has records
        below it (an unmounted disk or share looks like that), or the folder of a file that a
        manifest names is missing. A file that is missing from a folder with other files, and a
        folder that is missing from its parent, are gone.

        Args:
            source: As for `add`.
            metadata: As for `add`.
            on_error: As for `add`; with ``"raise"`` also what cannot be looked at is raised, and
                nothing is removed.
            progress: As for `add`.
            allow_removing: Whether more than ten records may go that are more than a tenth of the
                records considered. Files that were moved do not count.

        Returns:
            A report; ``removed`` lists the ids that went, ``kept`` those that stayed although
            their image cannot be looked at.

        Raises:
            RemovalRefusedError: Too much would go, see `allow_removing`; or no image at all can be
                read but the index has some of this source. Nothing was removed; what was added
                stays. The error has the ids and the report.
            SourceError: As for `add`; also when a manifest has lines that cannot be understood.
                Nothing is removed then. One image by itself is refused before anything is done.
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
        return bring_in(
            self._index,
            source,
            metadata=metadata,
            on_error=on_error,
            progress=progress,
            batch_size=self._batch_size,
            removing=True,
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
        group_score: GroupScore = "best",
        expand: int = 0,
        augment: int = 0,
    ) -> Hits:
        """Find the images that are most like a query.

        Args:
            query: An image (path, URL, bytes, PIL image, array), or a `Query` that combines
                images, texts, ids and vectors. Other query arguments are added to it.
            text: A description; needs an embedder with a text tower.
            id: A record of the index.
            vector: A ready vector of shape (dim,), made by the index's embedder.
            k: Hits wanted, a whole number ≥ 1.
            where: Only records that match, as a filter or in its text form.
            min_score: Only hits with at least this score, not NaN; ``"calibrated"``: the threshold that
                `calibrate` saved with the index, which speaks of plain queries: one whole image,
                record, vector or text, without `expand` and `augment`.
            exclude_self: Leave out the records that the query names by id.
            group_by: A metadata field; of the records that share its value only the best comes
                back, so that k things are found and not k pictures of one. A record without the
                field stands for itself.
            group_score: Whether a group counts as its best record or as the mean of all its
                records; the mean needs a store that can filter on the field, and texts, numbers
                or truth values in it.
            expand: Look for what the query and this many records nearest to it have in common;
                0: for the query alone. Costs one more search. 5 is a good number.
            augment: Judge each of the best max(5 k, 50) records together with this many of the
                others that are most like it; 0: each alone. Costs the reading of their vectors.
                5 is a good number.

        Returns:
            At most k hits, best first; fewer when fewer match. With `group_by` one hit for each
            group, with the group's score. With `expand` or `augment` scores are higher than
            without, and `min_score` is compared with those.

        Raises:
            QueryError: There is no query, it cannot be asked of this index, or options do not go
                together.
            SourceError: The query image cannot be read.
            FilterError: `where` is not a filter, or the store cannot express it.
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
            group_score=group_score,
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
        group_score: GroupScore = "best",
        expand: int = 0,
        augment: int = 0,
    ) -> list[Hits]:
        """Answer many queries in one pass through the model and one call of the store.

        Queries are image sources and `Query` objects; the options are those of `search`.

        Returns:
            One `Hits` for each query, in order.

        Raises:
            ImageSearchError: As for `search`; one query that cannot be asked fails the call.

        Example:
            >>> from PIL import Image
            >>> from imagesearch import DescriptorEmbedder, Item, MemoryStore
            >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
            >>> pictures = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
            >>> _ = index.add([Item(pictures[0], id="red"), Item(pictures[1], id="blue")])
            >>> [hits[0].id for hits in index.search_many(pictures, k=1)]
            ['red', 'blue']
        """
        many = as_queries(queries)
        search = Search(
            k=k,
            where=as_filter(where),
            min_score=min_score,
            exclude_self=exclude_self,
            group_by=group_by,
            group_score=group_score,
            refinement=Refinement(expand, augment),
        )
        return search.answer(self._index, many)

    @overload
    def get(
        self, ids: str | Iterable[str], *, vectors: Literal[True]
    ) -> dict[str, Record[NDArray[np.float32]]]: ...
    @overload
    def get(self, ids: str | Iterable[str], *, vectors: bool = False) -> dict[str, Record]: ...
    def get(self, ids: str | Iterable[str], *, vectors: bool = False) -> dict[str, Record[Any]]:
        """Return the records that exist among one id or many.

        Args:
            ids: One id, or many.
            vectors: Whether the records carry their vectors.

        Raises:
            QueryError: An id is not text.
            StoreError: The store failed.

        Example:
            >>> from PIL import Image
            >>> from imagesearch import DescriptorEmbedder, Item, MemoryStore
            >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
            >>> _ = index.add(Item(Image.new("RGB", (9, 9)), id="a", metadata={"n": 1}))
            >>> index.get(["a", "b"])["a"].metadata
            {'n': 1}
        """
        return self.store.get(as_ids(ids), vectors=flag(vectors, "vectors"))

    def delete(
        self, ids: str | Iterable[str] | None = None, *, where: Filter | str | None = None
    ) -> int:
        """Delete records by id or by filter; no ids delete nothing.

        Args:
            ids: One id or many; unknown ones are ignored.
            where: All records that match. Give this or `ids`.

        Returns:
            How many records are gone.

        Raises:
            QueryError: Neither or both of `ids` and `where` are given, or an id is no text.
            FilterError: `where` is not a filter, or the store cannot express it.
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

    def update_metadata(
        self,
        ids: str | Iterable[str] | None,
        metadata: Metadata,
        *,
        where: Filter | str | None = None,
        replace: bool = False,
    ) -> int:
        """Change the metadata of records; vectors stay as they are.

        Several writers may do this at the same time: fields that they set are all kept, and a
        record that is deleted meanwhile does not come back. That holds for every store of this
        package, see the documentation of Tencent Cloud VectorDB for its limits; a store of another
        package that is not a `SupportsMetadataUpdate` reads each record and writes it as a whole, so
        that the last writer wins.

        Args:
            ids: One id or many; unknown ones are ignored. None with `where`.
            metadata: Fields to set; None removes a field.
            where: All records that match, instead of `ids`.
            replace: Whether all other fields go.

        Returns:
            How many records were found.

        Raises:
            QueryError: Neither or both of `ids` and `where` are given, or an id is no text.
            FilterError: `where` is not a filter, or the store cannot express it.
            StoreRequestError: The metadata are nothing that a store can keep.
            StoreError: The store failed.

        Example:
            >>> from PIL import Image
            >>> from imagesearch import DescriptorEmbedder, Item, MemoryStore
            >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
            >>> _ = index.add(Item(Image.new("RGB", (9, 9)), id="a", metadata={"n": 1}))
            >>> index.update_metadata("a", {"sold": True}), index.get("a")["a"].metadata
            (1, {'n': 1, 'sold': True})
        """
        return update_records(
            self.store, ids, metadata, as_filter(where), keep=not flag(replace, "replace")
        )

    def count(self, where: Filter | str | None = None) -> int:
        """Return how many records there are, or how many match.

        Raises:
            FilterError: `where` is not a filter, or the store cannot express it.
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
        """Go through all matching records once, in batches.

        Args:
            where: Only records that match.
            batch_size: Records in a batch, ≥ 1.
            vectors: Whether the batches carry vectors.

        Raises:
            FilterError: `where` is not a filter, or the store cannot express it.
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

    def fit_projection(
        self,
        into: str | os.PathLike[str] | VectorStore,
        *,
        dim: int = 128,
        progress: bool | None = None,
    ) -> ImageIndex:
        """Write a new index of smaller and better vectors, fitted on this one.

        Vectors are centred, turned onto their principal axes and cut to `dim` elements; nothing
        is embedded again and this index stays as it is. The new index projects queries and later
        additions by itself. When it has grown to several times what it was fitted on, fit anew, on
        this index and into a new path: so what is added to the new index is to be added to this
        one, too, for full vectors cannot be had from projected ones. Repeat a call that was broken
        off to go on with it.

        Args:
            into: Path of a new local index, or a store that holds nothing yet. A store stays open
                when this fails.
            dim: Length of the new vectors, less than that of the embedder's.
            progress: As for `add`.

        Returns:
            The new index, open.

        Raises:
            ConfigError: `dim` is out of range, the metric is not cosine, this index is projected
                itself, `into` is its own store, or has been written already and this index has
                changed since.
            IncompatibleIndexError: `into` holds something else.
            StoreError: A store failed.

        Example:
            >>> from imagesearch import DescriptorEmbedder, MemoryStore
            >>> from imagesearch._demo_images import draw_scene
            >>> index = ImageIndex(embedder=DescriptorEmbedder(), store=MemoryStore())
            >>> _ = index.add([draw_scene("fish", number) for number in range(6)])
            >>> index.fit_projection(MemoryStore(), dim=4).meta.dim
            4
        """
        projected = fit_into(self._index, into, dim=dim, progress=progress)
        return ImageIndex(store=projected, embedder=self._index.embedder.if_made)

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

        The tier ``exact`` compares digests, ``near`` perceptual hashes of the images, which it
        opens from their URIs, and ``semantic`` embeddings, through the store's own search.

        Args:
            tiers: The tiers to use.
            threshold: The lowest score of a ``semantic`` copy; None: the distance (1 - score) is at
                most 8 % of the mean distance in the index, or 3 % if projected.
            near_distance: The largest share of hash bits in which ``near`` copies may differ, 0 to
                0.5; unrelated images differ in about half of them.
            mirrored: Whether ``near`` recognises mirror images.
            where: Only records that match.
            against: Another index: find the images here that are copies of images there.
            progress: As for `add`.
            max_bits: Deprecated: `near_distance` in bits of 512.

        Returns:
            The groups, each with the image to keep: the one with most pixels, or with `against`
            that of the other index.

        Raises:
            ConfigError: An option is out of range, or `against` is this index.
            QueryError: The tier ``semantic`` does not support the metric of this index.
            IncompatibleIndexError: `against` has another embedder, for the tier ``semantic``.
            FilterError: `where` is not a filter, or the store cannot express it.
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
        other = (against.store, against.meta) if against is not None else None
        return find_copies(
            self._index, rules, where=as_filter(where), against=other, progress=progress
        )

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
        """Return the indexed image that an image, such as an upload, is a copy of.

        Args:
            image: A path, URL, bytes, PIL image, array or `Item`; it is not added.
            tiers: As for `duplicates`.
            threshold: As for `duplicates`; None reads 512 records to derive it, so a service
                should pass ``index.duplicates().threshold``.
            near_distance: As for `duplicates`.
            mirrored: As for `duplicates`.
            where: Only records that match.
            max_bits: Deprecated: `near_distance` in bits of 512.

        Returns:
            The strongest match among the 20 nearest records, and for ``exact`` among all that are
            as near as an identical image would be, up to 10,240; or None.

        Raises:
            SourceError: The image cannot be read.
            ConfigError: An option is out of range.
            QueryError: The tier ``semantic`` does not support the metric of this index.
            FilterError: `where` is not a filter, or the store cannot express it.
            StoreError: The store failed.

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
        return original_of(self._index, image, rules, as_filter(where))

    @property
    def calibration(self) -> Calibration | None:
        """What `calibrate` saved with the index; None if nothing.

        Raises:
            QueryError: What is saved cannot be read.
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
        """Learn the score from which on hits can be trusted, for ``search(min_score="calibrated")``.

        Without `source` and `pairs`, records of the index ask for each other, and nothing is
        embedded: hits with the same label are right; where no record has a label, copies are
        (tiers ``exact`` and ``near`` of `duplicates`, which opens every picture), and the threshold
        tells the same picture from others. The precision holds for queries of the same kind, one
        whole image (or text) at a time; learn anew when the index has grown a lot.

        Args:
            source: Labelled query images: class folders, a manifest, items, as `add` takes them.
                A query whose label the index does not know teaches what "no match" looks like.
            label: The field with the label, of queries and records. Where none has it, the name
                of an image's folder is its label, with `source` only.
            pairs: Instead: a CSV file of queries and their relevant records, which must name all
                records that are right; see docs/evaluation.md.
            precision: The share of right hits to be assured with 95 % confidence, 0 to 1.
            save: Keep it with the index, in place of an earlier one.
            k: Hits of each query to learn from, ≥ 1.
            sample: How many records of the index ask at most, ≥ 1.
            seed: Which of them.
            progress: As for `add`.

        Returns:
            The threshold, and what is known about it.

        Raises:
            ConfigError: An option is out of range, or both `source` and `pairs` are given.
            QueryError: Nothing says what is right, or no score assures the precision; the message
                names the best that can be had.
            SourceError: `source` or `pairs` cannot be read at all.
            UnsupportedOperationError: The store keeps no notes; use ``save=False``.
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
        """Look through everything that the store keeps, and name the records that are damaged.

        Nothing is changed without `repair`. An index that is damaged so much that it cannot be
        opened is checked with ``imagesearch check``, or with the store's own `check`.

        Args:
            repair: Embed again the images of damaged vectors, where their files are there; rebuild
                what is kept twice; accept a database that has lost acknowledged writes.
            remove: With `repair`, remove the records that cannot be repaired from the index.
                Without it they stay, and whatever reads them raises `StoreCorruptError`.
            progress: Whether to show a bar on standard error; None: if that is a terminal.

        Returns:
            What was found; with `repair` what is left, and what was done.

        Raises:
            ConfigError: `remove` without `repair`.
            UnsupportedOperationError: The store keeps no checksums, or is read-only and is to be
                repaired.
            StoreCorruptError: It is damaged too much to be repaired.
            StoreLockedError: Another process writes to it, and it is to be repaired.

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
            raise ConfigError("remove=True goes with repair=True")
        return check_store(
            self.store,
            lambda: self._index,
            repair=repair,
            remove=remove,
            batch_size=self._batch_size,
            progress=progress,
        )

    def release(self) -> None:
        """Let other processes write to the index, until this one writes again.

        For programs that run for long and write now and then, such as web services. A local index
        is written by one process at a time: from its first write until it closes, or until this.
        Stores that many may write to at once have nothing to release, and this does nothing.

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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if "_index" not in vars(self):
            # A debugger or an error report may show an object whose construction failed.
            return "<ImageIndex: not open>"
        return f"ImageIndex(embedder={self.meta.embedding.name!r}, store={self.store!r})"
