"""Records as Arrow tables and Parquet files, and records from files of vectors.

The guide on vectors and tables describes the schema and the files.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imagesearch.errors import (
    ConfigError,
    ImageSearchError,
    IncompatibleIndexError,
    ManifestError,
    MissingDependencyError,
    SourceNotFoundError,
    StoreError,
)
from imagesearch.filters import Filter
from imagesearch.protocols import VectorStore
from imagesearch.sources import Payload, read
from imagesearch.sources._manifests import CsvManifest
from imagesearch.types import Failure, IndexMeta, Item, RecordBatch

__all__ = [
    "TableSchema",
    "VectorFile",
    "VectorType",
    "import_arrow",
    "open_vector_file",
    "to_arrow",
]

_FORMAT = 1
_SCHEMA_KEY = b"imagesearch"
VectorType: TypeAlias = Literal["float32", "float16"]

_PREFIX = "metadata."
_BATCH = 1000
_ROW_GROUP_BYTES = 64 * 2**20
_SCALARS = {bool: "bool", int: "int64", float: "float64", str: "string"}
_ANY_LIST = "list"
_JSON = "json"


def import_arrow(purpose: str) -> Any:
    """Return the module pyarrow.

    Raises:
        MissingDependencyError: It is not installed; `purpose` is what needs it.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError(
            f"{purpose} needs the package pyarrow",
            remedy='pip install "imagesearch-index[parquet]"',
        ) from error
    return pa


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The columns of a table of some records.

    Attributes:
        meta: The index's meta.
        where: Only matching records.
        fields: Metadata fields, sorted, with the Arrow type of their values, or ``json``.
        vectors: Type of the vectors' elements; None for a table without vectors.
        arrow: The ``pyarrow.Schema``.
    """

    meta: IndexMeta
    where: Filter | None
    fields: Mapping[str, str]
    vectors: VectorType | None
    arrow: Any

    @classmethod
    def infer(
        cls,
        store: VectorStore,
        meta: IndexMeta,
        where: Filter | None,
        vectors: VectorType | None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> TableSchema:
        """Return the schema of the records of a store, from one scan without vectors.

        Raises:
            MissingDependencyError: pyarrow is not installed.
            StoreError: The store failed.
        """
        pa = import_arrow("a table")
        kinds: dict[str, str] = {}
        for batch in store.scan(where=where, batch_size=_BATCH):
            for metadata in batch.metadata:
                for name, value in metadata.items():
                    kind = _kind_of(value)
                    kinds[name] = _merged(kinds.get(name, kind), kind)
            advance(len(batch))
        fields = {
            name: _JSON if kinds[name] == _ANY_LIST else kinds[name] for name in sorted(kinds)
        }
        columns = [(name, pa.string()) for name in ("id", "uri", "digest")]
        columns += [(_column(name), _arrow_type(pa, kind)) for name, kind in fields.items()]
        if vectors is not None:
            element = pa.float16() if vectors == "float16" else pa.float32()
            columns.append(("vector", pa.list_(element, meta.dim)))
        described = {
            "format": _FORMAT,
            "index": meta.to_dict(),
            "fields": {
                _column(name): {"name": name, "json": kind == _JSON}
                for name, kind in fields.items()
            },
        }
        arrow = pa.schema(columns, metadata={_SCHEMA_KEY: json.dumps(described).encode()})
        return cls(meta, where, fields, vectors, arrow)

    def groups(self, store: VectorStore) -> Iterator[Any]:
        """Yield tables of about 64 MiB of vectors, which become row groups.

        Raises:
            ConfigError: A vector exceeds the range of float16.
            StoreError: The store failed, or a record that was written meanwhile does not fit.
        """
        pa = import_arrow("a table")
        most = max(_BATCH, _ROW_GROUP_BYTES // (4 * self.meta.dim))
        group: list[Any] = []
        for batch in store.scan(
            where=self.where, batch_size=_BATCH, vectors=self.vectors is not None
        ):
            group.append(self._rows(pa, batch))
            if _BATCH * len(group) >= most:
                yield pa.Table.from_batches(group, schema=self.arrow)
                group = []
        yield pa.Table.from_batches(group, schema=self.arrow)

    def write(
        self, store: VectorStore, path: Path, advance: Callable[[int], None] = lambda _: None
    ) -> int:
        """Write a Parquet file, which appears when it is complete; return the number of records.

        Raises:
            OSError: The file cannot be written.
            ImageSearchError: As for `groups`.
        """
        partial = path.with_name(f".{path.name}.{os.getpid()}.part")
        count = 0
        try:
            with import_arrow("a table").parquet.ParquetWriter(partial, self.arrow) as writer:
                for table in self.groups(store):
                    writer.write_table(table)
                    count += table.num_rows
                    advance(table.num_rows)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return count

    def _rows(self, pa: Any, batch: RecordBatch) -> Any:
        columns = [pa.array(list(v), pa.string()) for v in (batch.ids, batch.uris, batch.digests)]
        if any(metadata.keys() - self.fields.keys() for metadata in batch.metadata):
            raise _changed()
        for name, kind in self.fields.items():
            values: Iterable[Any] = (metadata.get(name) for metadata in batch.metadata)
            if kind == _JSON:
                values = (_json(metadata, name) for metadata in batch.metadata)
            try:
                columns.append(pa.array(list(values), _arrow_type(pa, kind)))
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise _changed() from error
        if self.vectors is not None:
            with np.errstate(over="ignore"):
                flat = np.ascontiguousarray(batch.vectors, self.vectors).reshape(-1)
            if not np.isfinite(flat).all():
                raise ConfigError("a vector exceeds the range of float16; use float32")
            columns.append(pa.FixedSizeListArray.from_arrays(pa.array(flat), self.meta.dim))
        return pa.RecordBatch.from_arrays(columns, schema=self.arrow)


def to_arrow(
    store: VectorStore, meta: IndexMeta, where: Filter | None, vectors: VectorType | None
) -> Any:
    """Return records as a ``pyarrow.Table``; see `ImageIndex.to_arrow`."""
    schema = TableSchema.infer(store, meta, where, vectors)
    return import_arrow("a table").concat_tables(schema.groups(store))


def _changed() -> StoreError:
    return StoreError(
        "records with other fields were written during the export; repeat it", retryable=True
    )


def _json(metadata: Mapping[str, Any], name: str) -> str | None:
    return json.dumps(metadata[name], ensure_ascii=False) if name in metadata else None


def _column(name: str) -> str:
    own = name in {"digest", "vector"} or name.startswith(_PREFIX)
    return f"{_PREFIX}{name}" if own else name


def _kind_of(value: object) -> str:
    if isinstance(value, list):
        kinds = set(map(_kind_of, value))
        kind = kinds.pop() if len(kinds) == 1 else ""
        return _ANY_LIST if not value else f"list<{kind}>" if kind in _SCALARS.values() else _JSON
    return _SCALARS.get(type(value), _JSON)


def _merged(kind: str, other: str) -> str:
    if kind == other or (other == _ANY_LIST and kind.startswith("list")):
        return kind
    return other if kind == _ANY_LIST and other.startswith("list") else _JSON


def _arrow_type(pa: Any, kind: str) -> Any:
    if kind.startswith("list<"):
        return pa.list_(_arrow_type(pa, kind.removeprefix("list<").removesuffix(">")))
    return pa.string() if kind == _JSON else pa.type_for_alias(kind)


_CLIP_VECTORS = re.compile(r"img_emb_(\d+)\.npy")
_VECTOR_COLUMNS = ("vector", "embedding", "embeddings")
_Fields = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class VectorFile:
    """Records in a file or folder.

    Attributes:
        path: The file or folder.
        meta: The meta of the index that the file was exported from; None for other files.
        count: Number of rows.
        dim: Length of the vectors; None if it may differ between rows.
        rows: Yields each row, or why it cannot be read, in bounded memory.
    """

    path: Path
    meta: IndexMeta | None
    count: int
    dim: int | None
    rows: Callable[[], Iterator[Payload | Failure]]


def open_vector_file(path: Path) -> VectorFile:
    """Open a file of vectors; the guide on vectors and tables describes the kinds.

    Raises:
        SourceNotFoundError: There is no such file, or the table of an array is missing.
        ConfigError: The file is of another kind, damaged, or has no vectors.
        IncompatibleIndexError: A newer version wrote it.
        ManifestError: The numbers of vectors and of rows differ, or the CSV file is malformed.
        MissingDependencyError: pyarrow is not installed.
    """
    if path.is_dir():
        return _open_folder(path)
    if path.suffix.lower() == ".npy":
        table = path.with_suffix(".csv")
        vectors = _load_array(path, table)
        manifest = CsvManifest(str(table), images=False)
        return _array_file(path, vectors, manifest.count(), lambda: iter(manifest))
    return _open_parquet(path)


def _open_parquet(path: Path) -> VectorFile:
    schema, count = _parquet_schema(path)
    column = next((name for name in _VECTOR_COLUMNS if name in schema.names), None)
    if column is None:
        names = ", ".join(map(repr, schema.names[:8]))
        raise ConfigError(f"{path} has no column 'vector', but {names}")
    meta, fields = _described(path, schema)
    dim = getattr(schema.field(column).type, "list_size", None)
    if meta is not None and dim != meta.dim:
        raise IncompatibleIndexError(
            f"{path} has vectors of {dim} elements and describes an index of {meta.dim}"
        )

    def rows() -> Iterator[Payload | Failure]:
        number = 0
        for batch in _parquet_batches(path):
            vectors = _vectors_of(batch.column(column))
            for vector, row in zip(vectors, batch.drop_columns([column]).to_pylist(), strict=True):
                number += 1
                id, uri = row.pop("id", None), row.pop("uri", None)
                digest = row.pop("digest", None) or ""
                metadata = _foreign_metadata(row) if fields is None else _metadata(row, fields)
                item = Item(id=id, uri=uri, metadata=metadata, vector=vector)
                yield _row(f"{path}:{number}", item, digest)

    return VectorFile(path, meta, count, dim, rows)


def _open_folder(folder: Path) -> VectorFile:
    inner = folder / "img_emb" if (folder / "img_emb").is_dir() else folder
    names = {int(m[1]): m[1] for p in inner.iterdir() if (m := _CLIP_VECTORS.fullmatch(p.name))}
    parts = [_open_clip(folder, inner, names[number]) for number in sorted(names)]
    if not parts:
        raise ConfigError(f"{folder} has no files img_emb_*.npy, as clip-retrieval writes them")
    dims = {part.dim for part in parts}
    if len(dims) > 1:
        raise ConfigError(f"the arrays in {folder} have vectors of different lengths")
    count = sum(part.count for part in parts)
    return VectorFile(
        folder, None, count, dims.pop(), lambda: (row for part in parts for row in part.rows())
    )


def _open_clip(folder: Path, inner: Path, number: str) -> VectorFile:
    name = f"metadata_{number}.parquet"
    beside = folder / "metadata" / name
    table = beside if beside.exists() else inner / name
    path = inner / f"img_emb_{number}.npy"
    vectors = _load_array(path, table)

    def items() -> Iterator[Item]:
        for batch in _parquet_batches(table):
            for row in map(_foreign_metadata, batch.to_pylist()):
                id, uri = row.pop("id", None), row.pop("uri", None)
                uri = uri or row.pop("url", None) or row.pop("image_path", None)
                yield Item(id=id, uri=uri, metadata=row)

    return _array_file(path, vectors, _parquet_schema(table)[1], items)


def _array_file(
    path: Path, vectors: NDArray[Any], count: int, items: Callable[[], Iterator[Item | Failure]]
) -> VectorFile:
    if len(vectors) != count:
        raise ManifestError(
            f"{path} has {len(vectors)} vectors and its table {count} rows; give one row per vector"
        )

    def rows() -> Iterator[Payload | Failure]:
        for number, (item, vector) in enumerate(zip(items(), vectors, strict=True), 1):
            if isinstance(item, Failure):
                yield item
            else:
                yield _row(f"{path}:{number}", replace(item, vector=vector), "")

    return VectorFile(path, None, count, vectors.shape[1], rows)


def _load_array(path: Path, table: Path) -> Any:
    if not table.exists():
        raise SourceNotFoundError(
            f"{table} does not exist; it must have a row for each vector of {path}"
        )
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ConfigError(f"{path} is not an array of numbers: {error}") from error
    except OSError as error:
        raise SourceNotFoundError(f"{path} cannot be read: {error.strerror}") from error
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise ConfigError(
            f"{path} must have numbers of shape (n, dim), got {array.dtype} of shape {array.shape}"
        )
    return array


def _row(name: str, item: Item, digest: str) -> Payload | Failure:
    id = item.id if item.id is None else str(item.id)
    try:
        payload = read(replace(item, id=id, uri=item.uri or None))
    except ImageSearchError as error:
        return Failure(name, error, id)
    return replace(payload, digest=digest) if digest else payload


def _parquet_schema(path: Path) -> tuple[Any, int]:
    pa = import_arrow("a Parquet file")
    if not path.exists():
        raise SourceNotFoundError(f"{path} does not exist")
    try:
        with pa.parquet.ParquetFile(path) as file:
            return file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise ConfigError(f"{path} is not a Parquet file: {error}") from error


def _parquet_batches(path: Path) -> Iterator[Any]:
    pa = import_arrow("a Parquet file")
    try:
        with pa.parquet.ParquetFile(path) as file:
            # Binary columns are images, which an index does not hold.
            columns = [c.name for c in file.schema_arrow if "binary" not in str(c.type)]
            yield from file.iter_batches(batch_size=_BATCH, columns=columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def _described(path: Path, schema: Any) -> tuple[IndexMeta | None, _Fields | None]:
    """Return the meta and the fields by column that an export wrote into a schema."""
    text = (schema.metadata or {}).get(_SCHEMA_KEY)
    if text is None:
        return None, None
    try:
        described = json.loads(text)
        if described["format"] > _FORMAT:
            raise IncompatibleIndexError(
                f"{path} has format {described['format']}, and this version reads formats up to "
                f"{_FORMAT}; upgrade imagesearch"
            )
        meta = IndexMeta.from_dict(described["index"])
        fields = {
            column: {"name": str(entry["name"]), "json": bool(entry["json"])}
            for column, entry in described["fields"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ImageSearchError):
            raise
        raise IncompatibleIndexError(
            f"the metadata of {path} cannot be read ({error!r}); export it again"
        ) from error
    return meta, fields


def _vectors_of(column: Any) -> Any:
    """Return the vectors of an Arrow column, as one array if all have the same length."""
    lengths = set(column.value_lengths().to_pylist()) if "list" in str(column.type) else set()
    if len(lengths) != 1 or lengths & {None, 0}:
        return column.to_pylist()
    flat = column.flatten()
    return flat.to_numpy(zero_copy_only=False).reshape(len(column), -1)


def _metadata(row: Mapping[str, Any], fields: _Fields) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for column, entry in fields.items():
        value = row.get(column)
        if value is not None:
            metadata[entry["name"]] = value
            if entry["json"]:
                with suppress(ValueError):
                    metadata[entry["name"]] = json.loads(value)
    return metadata


def _foreign_metadata(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return another program's columns as metadata: no empty cells, dates and decimals as text."""
    return {
        name: value if isinstance(value, str | int | float | list | dict) else str(value)
        for name, value in row.items()
        if value is not None and not (isinstance(value, float) and not math.isfinite(value))
    }
