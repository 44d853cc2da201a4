"""The two seams, `Embedder` and `VectorStore`, and the optional abilities of stores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagesearch.filters import Filter
from imagesearch.types import (
    CheckResult,
    EmbeddingSpec,
    Hit,
    IndexMeta,
    Metadata,
    Record,
    RecordBatch,
)

if TYPE_CHECKING:
    from typing_extensions import TypeIs

__all__ = [
    "Capability",
    "CheckProgress",
    "Embedder",
    "SupportsAdoption",
    "SupportsBatchSize",
    "SupportsCheck",
    "SupportsDiagnosis",
    "SupportsFilterDeletion",
    "SupportsMetadataUpdate",
    "SupportsNotes",
    "SupportsOptimize",
    "SupportsReadOnly",
    "SupportsWriterRelease",
    "TextEmbedder",
    "VectorStore",
    "missing_members",
    "supports",
]

CheckProgress: TypeAlias = Callable[[int, int], None]
"""Called from time to time with the number of steps done and the total."""


_P = TypeVar("_P")


@runtime_checkable
class Embedder(Protocol):
    """Turns images into vectors.

    An implementation is one class with these three members; nothing is inherited. The conformance
    suite `imagesearch.testing.EmbedderConformance` states the rules as tests.

    Example:
        >>> class MeanColour:
        ...     spec = EmbeddingSpec("mean-colour", dim=3, normalised=False, fingerprint="1")
        ...     def preprocess(self, image):
        ...         return np.asarray(image.resize((1, 1)), np.float32).reshape(3)
        ...     def embed(self, batch):
        ...         return np.stack(batch).astype(np.float32)
        >>> isinstance(MeanColour(), Embedder)
        True
    """

    @property
    def spec(self) -> EmbeddingSpec:
        """Identity and shape of the vectors."""
        ...

    def preprocess(self, image: Image.Image) -> NDArray[Any]:
        """Prepare one image on the CPU.

        Called from several threads at once, ahead of the model.

        Args:
            image: Upright, mode RGB, at least 1 × 1 pixel. It must not be modified.

        Returns:
            The input of `embed` for this image, of the same shape for every image.
        """
        ...

    def embed(self, batch: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Turn prepared images into vectors.

        The vector of an image does not depend on what else is in the batch (to 1e-5). May be
        called from two threads at once, so that the device never waits for the next batch.

        Args:
            batch: n ≥ 1 results of `preprocess`.

        Returns:
            float32 of shape (n, dim), finite; row i belongs to ``batch[i]``.

        Raises:
            EmbeddingError: The model failed.
        """
        ...


@runtime_checkable
class TextEmbedder(Embedder, Protocol):
    """An embedder that also turns texts into the same space.

    Example:
        >>> hasattr(TextEmbedder, "embed_text")
        True
    """

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Turn texts into vectors that are comparable with those of images.

        Args:
            texts: n ≥ 1 texts.

        Returns:
            float32 of shape (n, dim), finite; row i belongs to ``texts[i]``.

        Raises:
            EmbeddingError: The model failed.
        """
        ...


@runtime_checkable
class SupportsBatchSize(Embedder, Protocol):
    """An embedder that states how many images one call of `embed` should get.

    Without it, `ImageIndex.add` passes 32 images at a time.

    Example:
        >>> hasattr(SupportsBatchSize, "preferred_batch_size")
        True
    """

    @property
    def preferred_batch_size(self) -> int:
        """Images in one call of `embed` that use the device fully, ≥ 1.

        Calls get exactly that many, but fewer at the end of a source, where images are unchanged or
        cannot be read, and where the encoded images exceed 64 MiB.
        """
        ...


class Capability(StrEnum):
    """What a store guarantees beyond the protocol; the conformance suite tests what is declared.

    Example:
        >>> Capability.EXACT.value
        'exact'
    """

    EXACT = "exact"
    """Search always returns the true nearest records."""
    PERSISTENT = "persistent"
    """Records are still there after close and a new `open`."""
    FILTER_ANY_FIELD = "filter_any_field"
    """Filters may name any metadata field, without declaring it first."""
    FILTER_IDENTITY = "filter_identity"
    """Filters may name the record's own ``id`` and ``uri``."""
    ORDER_TEXT = "order_text"
    """Filters may compare texts with <, <=, > and >= (by Unicode code point)."""


@runtime_checkable
class VectorStore(Protocol):
    """Stores records by id and finds those whose vectors are nearest to a query.

    An implementation is one class with these members; nothing is inherited. Options of one store
    only (graph parameters, shards, consistency) are arguments of its constructor. The suite
    `imagesearch.testing.VectorStoreConformance` states the rules as tests.

    Several threads may call one store at once, as in a web server. Methods called before `open` or
    after `close` raise `StoreError`.

    Example:
        >>> from imagesearch.stores.memory import MemoryStore
        >>> isinstance(MemoryStore(), VectorStore)
        True
    """

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this store guarantees beyond the protocol."""
        ...

    def describe(self) -> IndexMeta | None:
        """Return the meta of an existing index, or None; creates nothing, may precede `open`."""
        ...

    def open(self, meta: IndexMeta) -> None:
        """Create the collection, or verify that the existing one holds comparable vectors.

        Raises:
            IncompatibleIndexError: It has another embedder, dimension or metric.
            StoreError: It cannot be reached, created or read.
        """
        ...

    def upsert(self, batch: RecordBatch) -> None:
        """Insert records; those whose id exists are replaced as a whole. Durable on return.

        All or nothing as far as the store can guarantee; after an error the caller may repeat it.

        Raises:
            StoreRequestError: A vector is missing, of another dimension, not finite, or zero
                under the cosine metric, or the store cannot keep a record for another reason;
                nothing was written. Its `ids` are the refused records; without ids the request
                as a whole was refused, and `ImageIndex.add` stops.
            StoreError: The store failed.
        """
        ...

    def search(
        self, vectors: NDArray[np.float32], *, k: int, where: Filter | None = None
    ) -> list[list[Hit]]:
        """Find the nearest records.

        Args:
            vectors: (n, dim) queries, n ≥ 0.
            k: Number of hits for each query, ≥ 1.
            where: Only records that match; min(k, matches) hits come back.

        Returns:
            n lists of at most k hits, sorted by score (best first), then by id.

        Raises:
            UnsupportedFilterError: The store cannot express `where`; it was not contacted.
            StoreRequestError: k is not a whole number ≥ 1, or queries are of another dimension, not
                finite, or zero under the cosine metric.
            StoreError: The store failed.
        """
        ...

    def get(self, ids: Sequence[str], *, vectors: bool = False) -> dict[str, Record]:
        """Return the records that exist among `ids`; missing ids are absent.

        Args:
            ids: Any number of ids, repetitions allowed.
            vectors: Whether records carry their vectors. Under the cosine metric a vector may
                come back scaled to unit length.
        """
        ...

    def delete(self, ids: Sequence[str]) -> int:
        """Delete records by id; unknown ids are ignored, no ids delete nothing.

        Returns:
            How many records were deleted.
        """
        ...

    def scan(
        self, *, where: Filter | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[RecordBatch]:
        """Yield all matching records once, in batches of at most `batch_size`.

        Records that are written or deleted while a scan runs may or may not appear; all others
        appear exactly once. The caller may write between batches.

        Raises:
            UnsupportedFilterError: The store cannot express `where`; it was not contacted.
            StoreRequestError: batch_size is not a whole number ≥ 1.
            StoreError: The store failed.
        """
        ...

    def count(self, where: Filter | None = None) -> int:
        """Return how many records there are, or how many match."""
        ...

    def close(self) -> None:
        """Release files and connections; closing twice is allowed."""
        ...


@runtime_checkable
class SupportsNotes(VectorStore, Protocol):
    """A store that keeps a few small notes about the index, such as a calibration.

    Notes do not affect what the vectors mean, so unlike the meta they may change.

    Example:
        >>> from imagesearch.stores.memory import MemoryStore
        >>> isinstance(MemoryStore(), SupportsNotes)
        True
    """

    def notes(self) -> dict[str, Any]:
        """Return all notes by name; a copy.

        Raises:
            StoreError: The store failed.
        """
        ...

    def note(self, name: str, value: Any) -> None:
        """Write a note, replacing the one of that name; durable on return.

        Args:
            name: The name, not empty.
            value: A JSON value; None removes the note. Every store takes 32 KiB of JSON text;
                a store on a server may refuse more.

        Raises:
            StoreRequestError: The name is empty, or the value is not a JSON value or is larger
                than the store takes; nothing was written.
            StoreError: The store failed.
        """
        ...


def supports(candidate: object, protocol: type[_P]) -> TypeIs[_P]:
    """Return whether an object has all members of a protocol, its own or delegated ones.

    From Python 3.12 on, `isinstance` refuses a wrapper that delegates by ``__getattr__``.

    Example:
        >>> from imagesearch.stores.memory import MemoryStore
        >>> supports(MemoryStore(), VectorStore), supports("photos.idx", VectorStore)
        (True, False)
    """
    return not missing_members(candidate, protocol)


def missing_members(candidate: object, protocol: type) -> list[str]:
    """Return the names of a protocol's members that an object lacks, sorted."""
    from typing_extensions import get_protocol_members

    # As for `isinstance`, None marks a member that a subclass does not support.
    members = get_protocol_members(protocol)
    return sorted(name for name in members if getattr(candidate, name, None) is None)


@runtime_checkable
class SupportsWriterRelease(VectorStore, Protocol):
    """A store that one process writes at a time, and whose lock can be released while it is open.

    Example:
        >>> from imagesearch.stores.local import LocalStore
        >>> from imagesearch.stores.memory import MemoryStore
        >>> local, memory = LocalStore("photos.idx"), MemoryStore()
        >>> isinstance(local, SupportsWriterRelease), isinstance(memory, SupportsWriterRelease)
        (True, False)
    """

    def release_writer_lock(self) -> None:
        """Let other processes write until this store writes again; it stays open.

        Waits for a write of another thread.

        Raises:
            StoreError: The store failed.
        """
        ...


@runtime_checkable
class SupportsReadOnly(Protocol):
    """A store class that can open an existing collection without changing anything.

    Asked of the class, because options are needed before there is a store.

    Example:
        >>> from imagesearch.stores.local import LocalStore
        >>> supports(LocalStore, SupportsReadOnly)
        True
    """

    def read_only_options(
        self, options: Mapping[str, Any], *, timeout: float | None = None
    ) -> dict[str, Any]:
        """Return options for a store that changes nothing; a static method.

        Args:
            options: Options as in a config file.
            timeout: Seconds after which a store on a server gives up, without retries; None for
                what the options say.
        """
        ...


@runtime_checkable
class SupportsAdoption(Protocol):
    """A store class that can open collections that other programs made.

    Example:
        >>> from imagesearch.stores.memory import MemoryStore
        >>> supports(MemoryStore, SupportsAdoption)
        False
    """

    def adoption_hint(self) -> str:
        """Return how a config file opens such a collection, for messages; a static method."""
        ...


@runtime_checkable
class SupportsMetadataUpdate(VectorStore, Protocol):
    """A store that changes the metadata of existing records without writing the records again.

    Without it, `ImageIndex.update_metadata` reads each record and upserts it as a whole: of two
    writers that set different fields at the same time, one can undo the other, and a record that
    is deleted in between comes back.

    Example:
        >>> from imagesearch.stores.memory import MemoryStore
        >>> isinstance(MemoryStore(), SupportsMetadataUpdate)
        True
    """

    def update_metadata(
        self,
        fields: Metadata,
        *,
        ids: Sequence[str] | None = None,
        where: Filter | None = None,
        replace: bool = False,
    ) -> int:
        """Set fields of records that exist; atomic for each record, durable on return.

        Fields that another writer sets at the same time are kept, unless they are the same ones.
        A record that does not exist, or is deleted at the same time, is not created. Vector, URI
        and digest stay as they are.

        Args:
            fields: Fields to set; None removes a field.
            ids: Any number of ids; unknown ones and repetitions are ignored, no ids change nothing.
            where: All records that match. Exactly one of `ids` and `where` is given.
            replace: Whether to remove all other fields.

        Returns:
            How many records there were, whether or not their metadata changed.

        Raises:
            StoreRequestError: Neither or both of `ids` and `where` are given, or the metadata are
                not JSON values that the store can keep; nothing was written.
            UnsupportedFilterError: The store cannot express `where`; nothing was written.
            StoreError: The store failed.
        """
        ...


@runtime_checkable
class SupportsFilterDeletion(VectorStore, Protocol):
    """A store that deletes all records that match a filter in one step.

    Without it, `ImageIndex.delete` reads the ids that match and deletes those: a record that stops
    matching in between is deleted all the same.

    Example:
        >>> from imagesearch.stores.memory import MemoryStore
        >>> isinstance(MemoryStore(), SupportsFilterDeletion)
        True
    """

    def delete_where(self, where: Filter) -> int:
        """Delete all records that match.

        Returns:
            How many records were deleted.

        Raises:
            UnsupportedFilterError: The store cannot express `where`; nothing was deleted.
            StoreError: The store failed.
        """
        ...


@runtime_checkable
class SupportsDiagnosis(Protocol):
    """A class of embedders or stores that checks what they need, for ``imagesearch doctor``.

    Asked of the class, because an embedder may not even be constructed without its weights.

    Example:
        >>> from imagesearch.stores.local import LocalStore
        >>> supports(LocalStore, SupportsDiagnosis)
        True
    """

    def diagnose(self, options: Mapping[str, Any]) -> Iterable[CheckResult]:
        """Check what an instance with these options needs: weights, a server; a class method.

        It takes seconds at most, and creates, changes and downloads nothing. An embedder does not
        load its model; it runs in a process of its own with ``HF_HUB_OFFLINE=1``.

        Args:
            options: All arguments of the constructor, checked, with the defaults of those that
                the config omits; read-only ones for a class that `SupportsReadOnly`.

        Returns:
            Results with the topic ``store`` or ``weights``, each warning and problem with a remedy.

        Raises:
            ImageSearchError: What is wrong; reported as a problem with the error's remedy. A
                `WeightsUnavailableError` with a `repository` means that the weights are not in the
                cache and are downloaded on first use.
        """
        ...


@runtime_checkable
class SupportsOptimize(VectorStore, Protocol):
    """A store whose search structures grow in the background and can be completed at once.

    Example:
        >>> from imagesearch.stores.local import LocalStore
        >>> from imagesearch.stores.memory import MemoryStore
        >>> supports(LocalStore("photos.idx"), SupportsOptimize), supports(MemoryStore(), SupportsOptimize)
        (True, False)
    """

    def optimize(self, *, progress: CheckProgress | None = None) -> None:
        """Complete what makes searches fast; results do not depend on it.

        An interrupted call keeps what is done.

        Args:
            progress: Called with how many records are done, and how many there are.

        Raises:
            StoreLockedError: Another process writes to the store.
            UnsupportedOperationError: The store was opened read-only.
            StoreError: The store failed.
        """
        ...


@runtime_checkable
class SupportsCheck(VectorStore, Protocol):
    """A store that keeps checksums of its own.

    Example:
        >>> from imagesearch.stores.local import LocalStore
        >>> from imagesearch.stores.memory import MemoryStore
        >>> isinstance(LocalStore("photos.idx"), SupportsCheck), isinstance(MemoryStore(), SupportsCheck)
        (True, False)
    """

    def check(self, *, progress: CheckProgress | None = None) -> Iterator[CheckResult]:
        """Look through everything that is stored, and change nothing; may precede `open`.

        A result with the topic ``vectors`` names records that are sound but for their vector:
        embedding their images again repairs them.

        Raises:
            StoreError: There is no index, or it cannot be read at all.
        """
        ...

    def repair(
        self, *, remove: bool = False, progress: CheckProgress | None = None
    ) -> list[CheckResult]:
        """Repair what needs no images; may precede `open`.

        Args:
            remove: Whether to remove what is damaged beyond repair. Records with sound metadata
                and a damaged vector stay.
            progress: As for `check`.

        Returns:
            What was done, with the ids of removed records; `check` says what is left.

        Raises:
            StoreCorruptError: It is damaged too much to be repaired.
            StoreLockedError: Another process writes to it.
            StoreError: It cannot be read or written.
        """
        ...
