"""The glossary: one small type for each thing that the library talks about."""

from imagesearch.types.check import CheckReport, CheckResult, CheckStatus
from imagesearch.types.hit import Hit
from imagesearch.types.hits import Hits
from imagesearch.types.item import Failure, ImageSource, Item
from imagesearch.types.meta import METRICS, EmbeddingSpec, IndexMeta, Metric
from imagesearch.types.metadata import (
    RESERVED_FIELDS,
    Metadata,
    MetadataValue,
    canonical_metadata,
    check_metadata,
    updated_metadata,
)
from imagesearch.types.projection import Projection
from imagesearch.types.query import FOCUS, Box, IdTerm, ImageTerm, Query, Term, TextTerm, VectorTerm
from imagesearch.types.record import MAX_ID_BYTES, Record, RecordBatch, check_id
from imagesearch.types.report import AddReport
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
    "VectorTerm",
    "canonical_metadata",
    "check_id",
    "check_metadata",
    "updated_metadata",
]
