"""Field names of a local index: for completion, and for a hint where a filter matches nothing."""

from __future__ import annotations

from pathlib import Path

from imagesearch.cli.places import store_table
from imagesearch.cli.terminal import complain
from imagesearch.config import check_options
from imagesearch.errors import ImageSearchError
from imagesearch.filters import parse_filter
from imagesearch.filters.expression import fields_of
from imagesearch.plugins import plugin_class
from imagesearch.stores.local.field_names import field_names

__all__ = ["hint_at_unknown_fields", "known_fields"]

_IDENTITY = frozenset({"id", "uri"})


def known_fields(config: Path | None, store: Path | None) -> list[str] | None:
    """Return the metadata fields of the index that the options name, if that costs next to nothing.

    Returns:
        Names, sorted; None for an index that is not local, or cannot be read.
    """
    try:
        table = store_table(config, store)
        if table.kind != "local":
            return None
        options = check_options(plugin_class("stores", "local"), table)
        return field_names(Path(options["path"]))
    except (ImageSearchError, OSError):
        return None


def hint_at_unknown_fields(config: Path | None, store: Path | None, where: str | None) -> None:
    """Where nothing matched, say which fields of the filter no image has."""
    known = known_fields(config, store) if where is not None else None
    if where is None or known is None:
        return
    unknown = sorted(fields_of(parse_filter(where)) - _IDENTITY - set(known))
    if unknown:
        complain(
            f"no image has the field {', '.join(map(repr, unknown))}; there are: "
            f"{', '.join(known) or 'no fields at all'}",
            word="Note",
            role="warning",
        )
