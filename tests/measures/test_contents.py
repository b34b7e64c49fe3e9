"""What a group of rows holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from auditor.measures.contents import contents, counted, groups_by_mark, repeated_share, row_marks
from auditor.profiles.profile import Profile
from tests.measures.conftest import profiled, rows

FACTS = {"n": 60, "answered": 45, "with_image": 60, "with_query": 60, "refused": 9, "script_latin": 50}


def one_image(profile: Profile, count: int, group: str | None = None) -> Profile:
    """The first sampled rows have one image, and are of one group."""
    sample = profile.sample
    image = sample.rows["image"].copy()
    image[:count] = image[0]
    groups = sample.groups.copy()
    if group is not None:
        groups = np.where(np.arange(len(groups)) < count, group, groups)
    return replace(profile, sample=replace(sample, rows={**sample.rows, "image": image}, groups=groups))


def test_counts_are_of_the_facts_and_different_contents_of_the_sample() -> None:
    profile = replace(profiled(rows(60, 1)), facts=FACTS)
    found = contents(profile)
    assert found.rows == 60 and "reference" not in found.having  # no fact tells
    assert found.share("answer") == 0.75 and found.share("refusal") == 0.2
    assert found.share("script_latin") == pytest.approx(50 / 60) and found.share("reference") is None
    assert {name: c.distinct for name, c in found.commonest.items()} == dict.fromkeys(
        ("image", "query", "answer"), 60
    )
    assert len(found.marks) == 60 and found.repeated == 0 and found.sampled == 1
    assert found.independent == dict.fromkeys(found.independent, 1.0)
    assert counted({"n": 3}) == {}


def test_of_no_row_there_is_nothing() -> None:
    assert contents(Profile()).rows == 0 and contents(Profile(facts={"n": 4})).rows == 4
    bare = contents(profiled(rows(20, 1, images=False)))
    assert set(bare.commonest) == {"query", "answer"} and len(bare.marks) == 20
    assert groups_by_mark(Profile(), "image") == {} and repeated_share([]) == 0


def test_the_commonest_is_counted_in_groups() -> None:
    """A session about one picture is one observation; rows that are tied by their picture are as many as they
    are, since they would be one group whatever picture it is."""
    profile = profiled(rows(60, 1))
    for group, groups, of in ((None, 24, 60), ("conversation_id:7", 1, 37), ("image:ab", 24, 60)):
        common = contents(one_image(profile, 24, group)).commonest["image"]
        assert (common.groups, common.of, common.distinct) == (groups, of, 37)
    tied = one_image(profile, 24, "conversation_id:7")
    assert groups_by_mark(tied, "image")[contents(tied).commonest["image"].mark] == 1


def test_rows_are_known_again_by_what_they_say() -> None:
    one, other = profiled(rows(60, 1)), profiled(rows(60, 2))
    again = replace(one, sample=replace(one.sample, ids=np.char.add(one.sample.ids, "-b")))
    assert contents(again).marks == contents(one).marks
    assert not set(contents(other).marks) & set(contents(one).marks)
    marks = row_marks(one.sample)
    assert repeated_share([*marks, *marks[:30]]) == 60 / 90
