"""Scanning: every record once, however keys are spread and whoever wrote the records."""

from __future__ import annotations

import re

import pytest

from imagesearch.stores.tencent._scan import scan_by_ids, scan_by_ranges
from imagesearch.stores.tencent._schema import KEY


class Shelf:
    """A collection in a list, with the service's limits."""

    def __init__(self, keys, strangers=0):
        self.documents = [{"id": f"id-{n}", KEY: key} for n, key in enumerate(keys)]
        self.documents += [{"id": f"stranger-{n}"} for n in range(strangers)]
        self.pages = []

    def count(self, filter):
        return len(self._matching(filter))

    def page(self, filter, *, limit, offset=0, fields=None):
        assert 1 <= limit <= 16_384
        assert offset % limit == 0
        found = self._matching(filter)[offset : offset + limit]
        self.pages.append(len(found))
        return found

    def fetch(self, ids):
        return [document for document in self.documents if document["id"] in ids]

    def _matching(self, filter):
        if filter is None:
            return list(self.documents)
        first, end = map(int, re.findall(r"\d+", filter.split(" and (")[0]))
        return [one for one in self.documents if KEY in one and first <= one[KEY] < end]


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
@pytest.mark.parametrize("strangers", [0, 30])
def test_every_record_comes_once_and_no_page_is_cut(keys, strangers):
    shelf = Shelf(keys, strangers)
    assert scanned(scan_by_ranges(shelf, None, 64)) == sorted(one["id"] for one in shelf.documents)


def test_records_that_stay_come_once_while_others_come_and_go():
    shelf = Shelf(list(range(0, 2**32, 2**23)))
    stay = {one["id"] for one in shelf.documents[::2]}
    seen = []
    for number, page in enumerate(scan_by_ranges(shelf, None, 64)):
        seen += [document["id"] for document in page]
        shelf.documents = [one for one in reversed(shelf.documents) if one["id"] in stay]
        shelf.documents.append({"id": f"late-{number}", KEY: number})
    assert sorted(id for id in seen if id in stay) == sorted(stay)


def test_records_of_others_are_found_while_ours_are_added():
    shelf = Shelf(list(range(0, 2**32, 2**24)), strangers=5)
    seen = []
    for number, page in enumerate(scan_by_ranges(shelf, None, 64)):
        seen += [document["id"] for document in page]
        shelf.documents += [{"id": f"late-{number}-{n}", KEY: 2**32 - 1 - n} for n in range(10)]
    assert [id for id in seen if id.startswith("stranger")] == [f"stranger-{n}" for n in range(5)]


def test_a_collection_of_others_is_listed_before_the_first_page_is_given_out():
    shelf = Shelf([], strangers=3000)
    pages = scan_by_ids(shelf, None)
    first = next(pages)
    shelf.documents = shelf.documents[1000:]
    assert len(scanned([first, *pages])) == 3000
