"""Ids that have come by: exactly those, and in bounded memory."""

import subprocess
import sys

from auditor.records.seen import Seen


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
