"""The cache of answers: what it is keyed by, and that nothing failed or empty ever comes out of it."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import AuditError
from auditor.storage.response_store import ResponseStore, checked, response_table
from auditor.storage.row_cache import PARQUET
from auditor.storage.run_dir import RunDir, work_identity
from auditor.storage.work_units import cut, prompt_item
from schemas.response import Answer

texts = st.lists(st.sampled_from(["", " ", "\n\t", "yes", "no "]), max_size=3).map(tuple)
answers = st.builds(
    lambda texts, error: Answer(texts, tuple(-1.0 for _ in texts), tuple(1 for _ in texts), error),
    texts,
    st.none() | st.sampled_from(["", "boom", "model_failed: boom", "empty_response"]),
)


def key(i: int) -> str:
    return sha256(str(i).encode()).hexdigest()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(answers, min_size=4, max_size=4), min_size=1, max_size=4))
def test_only_answers_come_out(runs: list[list[Answer]]) -> None:
    """Four prompts over several runs that each try again what has failed: a prompt has an answer from the
    first run that gave one, is a failure until then, and is asked again exactly so long."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        items = [prompt_item((), str(i)) for i in range(4)]
        keys = [item.key for item in items]
        good: dict[str, Answer] = {}
        for given_now in runs:
            store = ResponseStore(folder)
            todo = cut(items, 3, "who", done=store, failed=store.errors())
            assert {i.key for s in todo for i in s.items} == {k for k in keys if k not in good}
            for shard in todo:
                given_here = [given_now[keys.index(item.key)] for item in shard.items]
                table = response_table([item.key for item in shard.items], given_here)
                PARQUET.write(folder, shard.name, table)
                for item, answer in zip(shard.items, given_here, strict=True):
                    if answer.error is None and any(text.strip() for text in answer.texts):
                        good[item.key] = answer
            store = ResponseStore(folder)
            assert set(store.errors()) == set(keys) - set(good)
            for k, found in zip(keys, store.answers(keys), strict=True):
                assert found == good[k] if k in good else (found.error and found.texts == ())


def test_an_answer_with_an_error_keeps_nothing_else() -> None:
    assert checked(Answer(("half an ans",), (-1.0,), (3,), "model_failed: cut off")) == Answer(
        error="model_failed: cut off"
    )
    assert checked(Answer(("",), (0.0,), (1,))).error == "empty_response"


def test_a_prompt_that_was_never_put_is_no_failure(tmp_path: Path) -> None:
    PARQUET.write(tmp_path, "a", response_table([key(0)], [Answer(("yes",))]))
    store = ResponseStore(tmp_path)
    assert key(0) in store and key(1) not in store and store.errors() == {}
    with pytest.raises(AuditError, match="never made"):
        store.answers([key(1)])


def test_what_made_the_answers_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """Weights, engine and sampling settings stand in a generator's identity; shard size and, for answers that
    are drawn, the seed are added. Who differs in any of them finds none of the others' answers."""
    run = RunDir(tmp_path)
    run.open()
    base = '{"weights": "w1", "engine": "e1", "sampling": {"temperature": 1.0}}'
    works = [
        work_identity(base, shard=256, seed=0),
        work_identity(base, shard=256, seed=1),
        work_identity(base, shard=128, seed=0),
        *(
            work_identity(base.replace(old, new), shard=256, seed=0)
            for old, new in (("w1", "w2"), ("e1", "e2"), ("1.0", "0.5"))
        ),
    ]
    assert len({run.responses(work) for work in works}) == len(works)
    assert run.responses(works[0]) == run.responses(work_identity(base, seed=0, shard=256))
