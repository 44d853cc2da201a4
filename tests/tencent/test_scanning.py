"""Scanning: every record once, whatever the distribution of keys and whoever wrote it."""

from __future__ import annotations

import re

import pytest

from imagesearch.stores.tencent._scan import scan_by_ids, scan_by_ranges
from imagesearch.stores.tencent._schema import KEY


class FakeCollection:
    """A collection as a list, with the service's limits on pages."""

    def __init__(self, keys, keyless=0):
        self.documents = [{"id": f"id-{n}", KEY: key} for n, key in enumerate(keys)]
        self.documents += [{"id": f"keyless-{n}"} for n in range(keyless)]
        self.pages = []

    def count(self, filter):
        return len(self._matching(filter))

    def page(self, filter, *, limit, offset=0, fields=None):
        assert 1 <= limit <= 16_384
        assert offset % limit == 0
        matching = self._matching(filter)[offset : offset + limit]
        self.pages.append(len(matching))
        return matching

    def fetch(self, ids):
        return [document for document in self.documents if document["id"] in ids]

    def _matching(self, filter):
        if filter is None:
            return list(self.documents)
        first, end = map(int, re.findall(r"\d+", filter.split(" and (")[0]))
        return [
            document
            for document in self.documents
            if KEY in document and first <= document[KEY] < end
        ]


def scanned(pages):
    return sorted(document["id"] for page in pages for document in page)


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [7],
        list(range(0, 2**32, 2**22)),
        list(range(900)),
        [2**32 - 1 - n for n in range(900)],
        [*range(500), *range(2**31, 2**31 + 500)],
    ],
    ids=["none", "one", "even", "all low", "all high", "two heaps"],
)
@pytest.mark.parametrize("keyless", [0, 30])
def test_every_record_appears_once_and_no_page_is_truncated(keys, keyless):
    collection = FakeCollection(keys, keyless)
    assert scanned(scan_by_ranges(collection, None, 64)) == sorted(
        document["id"] for document in collection.documents
    )


def test_unchanged_records_appear_once_while_others_are_added_and_deleted():
    collection = FakeCollection(list(range(0, 2**32, 2**23)))
    stay = {document["id"] for document in collection.documents[::2]}
    seen = []
    for number, page in enumerate(scan_by_ranges(collection, None, 64)):
        seen += [document["id"] for document in page]
        collection.documents = [
            document for document in reversed(collection.documents) if document["id"] in stay
        ]
        collection.documents.append({"id": f"late-{number}", KEY: number})
    assert sorted(id for id in seen if id in stay) == sorted(stay)


def test_documents_of_other_clients_are_found_while_records_are_added():
    collection = FakeCollection(list(range(0, 2**32, 2**24)), keyless=5)
    seen = []
    for number, page in enumerate(scan_by_ranges(collection, None, 64)):
        seen += [document["id"] for document in page]
        collection.documents += [
            {"id": f"late-{number}-{n}", KEY: 2**32 - 1 - n} for n in range(10)
        ]
    assert [id for id in seen if id.startswith("keyless")] == [f"keyless-{n}" for n in range(5)]


def test_another_programs_collection_is_listed_before_the_first_page_is_returned():
    collection = FakeCollection([], keyless=3000)
    pages = scan_by_ids(collection, None)
    first = next(pages)
    collection.documents = collection.documents[1000:]
    assert len(scanned([first, *pages])) == 3000


def test_a_scan_beside_a_writer_does_not_list_the_collection_by_offset():
    class Growing(FakeCollection):
        """Another program adds a record before each of the first counts."""

        additions = 5

        def count(self, filter):
            if self.additions:
                self.additions -= 1
                self.documents.append({"id": f"new-{self.additions}", KEY: self.additions})
            return super().count(filter)

        def page(self, filter, *, limit, offset=0, fields=None):
            assert fields is None
            return super().page(filter, limit=limit, offset=offset)

    collection = Growing(range(0, 2**32, 2**22))
    assert len(scanned(scan_by_ranges(collection, None, 100))) == 1024 + 5
