"""Names of our own, of the lab and of other packages are found alike, and a broken package hides nothing."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from auditor.errors import BadInput
from auditor.registry import Registry, Settings, join, read_settings

GROUP = "shift_auditor.things"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """`package(name, source, *values)`: an installed package with entry points of these values."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def install(name: str, source: str, *values: str) -> None:
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        info = tmp_path / f"{name}-0.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
        lines = "".join(f"e{i} = {value}\n" for i, value in enumerate(values))
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}")
        join.cache_clear()

    yield install
    for name in set(sys.modules) - before:
        del sys.modules[name]
    join.cache_clear()


@pytest.fixture
def things(monkeypatch: pytest.MonkeyPatch) -> Registry[str]:
    """A registry of words; plugins find it as `sys.things`."""
    registry: Registry[str] = Registry("thing", "somewhere.thing", GROUP)
    monkeypatch.setattr(sys, "things", registry, raising=False)
    return registry


def own() -> None: ...


def other() -> None: ...


own.__module__ = other.__module__ = "auditor.room.file"


def test_names_and_schemes(things: Registry[str]) -> None:
    things.add("b", "B", own)
    things.add("hf:", "hub", own, "hf:NAME")
    assert things.names() == ["b", "hf:NAME"] and list(things.values()) == ["B", "hub"]
    assert things.find("b") == "B" and things.find("hf:org/model") == "hub"
    assert "b" in things and "hf:x" in things
    for name in ("hf:", "hf", "c", None, 3):
        assert name not in things
        with pytest.raises(BadInput, match=r"known: b, hf:NAME; a package adds one with @somewhere\.thing"):
            things.find(name)
    with pytest.raises(BadInput, match=r"^a\.key: unknown thing 'bb' \(did you mean bbb\?\)"):
        things.add("bbb", "", own)
        things.find("bb", "a.key")


def test_a_name_is_taken_once(things: Registry[str]) -> None:
    things.add("a", "1", own)
    things.add("a", "2", own)  # the same function, defined again
    assert things.find("a") == "2" and things.ours("a")
    with pytest.raises(BadInput, match=r"auditor\.room\.file\.other: the thing 'a' is there already \(aud"):
        things.add("a", "3", other)
    with pytest.raises(BadInput, match="needs a name"):
        things.add("", "4", own)


ADDS = "import sys\ndef f(): ...\nsys.things.add({name!r}, 'theirs', f)\n"


def test_other_packages_join(things: Registry[str], package: Callable[..., None]) -> None:
    things.add("ours", "ours", own)
    package("joins_a", ADDS.format(name="new"), "joins_a:f")
    package("joins_b", ADDS.format(name="newer"), "joins_b")
    assert things.find("ours") == "ours" and "joins_a" not in sys.modules
    assert things.find("new") == "theirs" and not things.ours("new")
    assert things.names() == ["new", "newer", "ours"]


def test_a_broken_package_is_a_line(
    things: Registry[str], package: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    things.add("ours", "ours", own)
    package("broken_a", "import no_such_module_anywhere", "broken_a")
    package("broken_b", ADDS.format(name="ours"), "broken_b")
    package("broken_c", ADDS.format(name="fine"), "broken_c:lost", "broken_c:f")
    with caplog.at_level(logging.WARNING):
        assert things.names() == ["fine", "ours"] and things.find("ours") == "ours"
        things.names()
    assert len(caplog.records) == 3
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert f"e0 = broken_a ({GROUP}) of the package broken_a 0.1 does not load (ModuleNotFound" in said
    assert "broken_b.f: the thing 'ours' is there already (auditor.room.file.own)" in said
    with pytest.raises(BadInput) as refused:
        things.find("nothing")
    assert "broken_a 0.1 does not load" in str(refused.value) and "\n" not in str(refused.value)


def test_settings_name_what_is_wrong() -> None:
    class Own(Settings):
        size: int = 3
        name: str

    assert read_settings(Own, {"name": "x"}, "thing a") == Own(size=3, name="x")
    with pytest.raises(BadInput, match=r"^thing a: unknown setting 'b', 'c'; it takes: name, size$"):
        read_settings(Own, {"c": 1, "b": 2}, "thing a")
    with pytest.raises(BadInput, match=r"^thing a: name: is missing$"):
        read_settings(Own, {}, "thing a")
    with pytest.raises(BadInput, match=r"^thing a: size: Input should be a valid integer"):
        read_settings(Own, {"name": "x", "size": "y"}, "thing a")
