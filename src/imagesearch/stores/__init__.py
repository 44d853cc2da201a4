"""Vector stores: each adapter stands alone and is reached by name, through its entry point.

What stores have in common, for those who write one: the checks that come first, an exact ranking,
and the text of a note.
"""

from imagesearch.stores._checks import (
    check_batch,
    check_batch_size,
    check_queries,
    check_update,
    note_text,
    possible_ids,
)
from imagesearch.stores._ranking import rank

__all__ = [
    "check_batch",
    "check_batch_size",
    "check_queries",
    "check_update",
    "note_text",
    "possible_ids",
    "rank",
]
