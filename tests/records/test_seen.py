"""Ids that have come by: exactly those, and in bounded memory."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

from auditor.records.seen import Seen, record_digest
from schemas.record import Image, Record, Turn


def test_an_id_is_new_once():
    seen = Seen()
    ids = ["a", "b", "a", "", "b\x00", "b", "ü", "\ud800"]
    assert [seen.add(i) == "new" for i in ids] == [True, True, False, True, True, False, True, True]
    assert Seen().add("a") == "new"  # each set by itself


def test_memory_stays_where_its_cache_ends():
    """With a cache of 1 MB, 200,000 ids (some 8 MB of them) cost less than a set of 50,000 would."""
    program = """
import resource
from auditor.records import seen
seen.CACHE_BYTES = 2**20
ids = seen.Seen()
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for i in range(20_000):
    ids.add(str(i))
before = peak()
for i in range(20_000, 200_000):
    assert ids.add(str(i)) == "new"
assert ids.add("7") == ids.add("199999") == "same"
print(peak() - before)
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 4 * 1024  # KiB


def test_the_same_again_is_told_from_others_under_its_id():
    seen = Seen()
    first = Record("a", "a", images=(Image(path="x.png"),), query="q", responses={"m": ("yes",)})
    again = replace(first, timestamp=datetime(2026, 4, 1, tzinfo=UTC), tags=("t",), scores={"m": 1.0})
    others = [
        replace(first, query="p"),
        replace(first, responses={"m": ("no",)}),
        replace(first, images=(Image(path="y.png"),)),
        replace(first, images=(Image(data=b"x.png"),)),
        replace(first, reference="yes"),
        replace(first, history=(Turn("user", "q"),)),
    ]
    assert seen.add("a", record_digest(first)) == "new"
    assert seen.add("a", record_digest(again)) == "same"
    assert {seen.add("a", record_digest(other)) for other in others} == {"other"}
    assert len({record_digest(other) for other in others}) == len(others)
