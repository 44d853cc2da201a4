"""The data types of the library: items, records, queries, hits, reports and index metadata."""

from imagesearch.types.check import CheckReport, CheckResult, CheckStatus
from imagesearch.types.meta import METRICS, EmbeddingSpec, IndexMeta, Metric, Projection
from imagesearch.types.query import FOCUS, Box, IdTerm, ImageTerm, Query, Term, TextTerm, VectorTerm
from imagesearch.types.records import (
    MAX_ID_BYTES,
    RESERVED_FIELDS,
    Failure,
    ImageSource,
    Item,
    Metadata,
    MetadataValue,
    Record,
    RecordBatch,
    VectorBatch,
    canonical_metadata,
    check_id,
    check_metadata,
    updated_metadata,
)
from imagesearch.types.results import AddReport, Hit, Hits
from imagesearch.types.secret import Secret

__all__ = [
    "FOCUS",
    "MAX_ID_BYTES",
    "METRICS",
    "RESERVED_FIELDS",
    "AddReport",
    "Box",
    "CheckReport",
    "CheckResult",
    "CheckStatus",
    "EmbeddingSpec",
    "Failure",
    "Hit",
    "Hits",
    "IdTerm",
    "ImageSource",
    "ImageTerm",
    "IndexMeta",
    "Item",
    "Metadata",
    "MetadataValue",
    "Metric",
    "Projection",
    "Query",
    "Record",
    "RecordBatch",
    "Secret",
    "Term",
    "TextTerm",
    "VectorBatch",
    "VectorTerm",
    "canonical_metadata",
    "check_id",
    "check_metadata",
    "updated_metadata",
]
