from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.storage.work_units import Cut, cut, image_item, prompt_item, prompt_key, text_item
from schemas.record import Image, Turn


@dataclass(frozen=True)
class Thing:
    key: str


keys = st.lists(st.integers(0, 60).map(str), max_size=80)


@given(keys, st.integers(1, 9))
def test_every_key_once_in_first_come_order(names, size):
    shards = cut(map(Thing, names), size, "who")
    assert [i.key for s in shards for i in s.items] == list(dict.fromkeys(names))
    assert all(len(s) == size for s in shards[:-1]) and all(1 <= len(s) <= size for s in shards)
    assert len({s.name for s in shards}) == len(shards)
    assert {s.name for s in shards}.isdisjoint(s.name for s in cut(map(Thing, names), size, "else"))


@given(keys, st.integers(1, 9), st.data())
def test_a_crash_leaves_the_same_shards_to_do(names, size, data):
    """Whatever set of whole shards a crash left behind (and whichever of their items had failed), what is new
    is cut into exactly the missing shards; failed items come after, by themselves."""
    shards = cut(map(Thing, names), size, "who")
    made = data.draw(st.sets(st.sampled_from(shards))) if shards else set()
    done = {i.key for s in made for i in s.items}
    failed = data.draw(st.sets(st.sampled_from(sorted(done)))) if done else set()
    again = cut(map(Thing, names), size, "who", done, failed)
    missing = [s for s in shards if s not in made]
    assert again[: len(missing)] == missing
    assert [i.key for s in again[len(missing) :] for i in s.items] == [
        k for k in dict.fromkeys(names) if k in failed
    ]


def test_a_shard_holds_at_least_one_item():
    with pytest.raises(ValueError, match="at least one"):
        cut([Thing("a")], 0, "who")


def test_keys_are_the_published_hashes():
    # sha256("abc"), FIPS 180-2
    assert text_item("abc").key == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert image_item(Image(path="a.png", digest="d1" * 32)).key == "d1" * 32
    with pytest.raises(ValueError, match=r"a\.png has no digest"):
        image_item(Image(path="a.png"))


def test_prompts_that_differ_in_any_part_have_other_keys():
    a, b = Image(digest="aa"), Image(digest="bb")
    prompts = [
        ((), "q", ()),
        ((a,), "q", ()),
        ((a, b), "q", ()),
        ((b, a), "q", ()),
        ((a,), "", ()),
        ((a,), "q", (Turn("user", "x"),)),
        ((a,), "q", (Turn("assistant", "x"),)),
        ((a,), "x", (Turn("user", "q"),)),
    ]
    assert len({prompt_key(*p) for p in prompts}) == len(prompts)
    assert prompt_item((a,), "q").key == prompt_key((Image(path="elsewhere", digest="aa"),), "q")


def test_a_cut_is_drawn_again_and_makes_no_item_before_its_shard():
    made = []

    def items():
        for i in range(10):
            made.append(i)
            yield text_item(f"t{i}")

    of = Cut(items, 3, "w", done={text_item("t4").key}, failed={text_item("t7").key})
    assert of.count() == 9 and len(made) == 10
    shards = iter(of)
    next(shards)
    assert len(made) == 13
    assert list(of) == cut(list(items()), 3, "w", of.done, of.failed) == list(of)
