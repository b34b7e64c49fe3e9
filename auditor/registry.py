"""Registries hold the things that a config names; our own and those of other packages are found alike.

A room (`auditor.encoders`, `auditor.shifts`, ...) has one `Registry` and a decorator that adds to it; the
file that holds a thing holds its registration, so that a new one touches no other file. Nothing is imported
before the first look-up, which imports, in this order,

1. every module of the room: so each of them must be light (torch, transformers and their kin are imported
   inside functions),
2. the lab's module for the room (`auditor.lab.encoders`, `auditor.lab.readers`, ...), where there is one: no
   room imports the lab by itself,
3. what other packages declare as entry points of the room's group (`shift_auditor.encoders`, ...). An entry
   point's value is a module, or something in one; importing it is what counts, since the decorators in it
   register.

Another package's entry point that fails is logged in one line, and hides nothing else.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from auditor.errors import BadInput, one_line

log = logging.getLogger(__name__)

T = TypeVar("T")
S = TypeVar("S", bound="Settings")

_OURS = "auditor."
_LAB = "auditor.lab"


class Settings(BaseModel):
    """A registered thing has these settings beyond those that all of its kind have. A key that the class does
    not have is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Registry(Generic[T]):
    """A registry holds values of one kind by name.

    A name that ends in a colon is a scheme: `hf:` is found for `hf:NAME`, whatever NAME is.
    """

    def __init__(self, kind: str, decorator: str, group: str, room: str | None = None) -> None:
        """`kind`: what messages call a value ("text encoder"); `decorator`: what adds one, with its module
        (`auditor.encoders.encoder`); `group`: of the entry points; `room`: the package whose modules hold our
        own (None: there are none but the lab's)."""
        self.kind = kind
        self.group = group
        self._decorator = decorator
        self._room = room
        self._values: dict[str, T] = {}
        self._homes: dict[str, str] = {}
        self._shown: dict[str, str] = {}
        self._own_loaded = False

    def add(self, name: str, value: T, home: Any, shown: str | None = None) -> None:
        """Register `value`. `home`: the function or class that it was made of; the same one, defined again (a
        notebook's cell), takes its own place. `shown`: how messages list a scheme (`hf:NAME`).

        Raises:
            BadInput: the name is empty or taken by something else.
        """
        origin = f"{home.__module__}.{home.__qualname__}"
        if not origin.startswith(_OURS):
            self._load_own()  # our own names are never taken by others, whoever is imported first
        if not name:
            raise BadInput(f"{origin}: a {self.kind} needs a name")
        if self._homes.get(name, origin) != origin:
            raise BadInput(f"{origin}: the {self.kind} {name!r} is there already ({self._homes[name]})")
        self._values[name] = value
        self._homes[name] = origin
        self._shown[name] = shown or name

    def find(self, name: object, key: str = "") -> T:
        """Return the value of a name. Other packages are searched only where the name is not one of ours.

        Raises:
            BadInput: an unknown name. `key` says where it stands in a config (`encoders.text.name`).
        """
        self._load_own()
        registered = self._match(name)
        if registered is None:
            join(self.group)
            registered = self._match(name)
        if registered is None:
            raise BadInput(f"{key}: {self.unknown(name)}" if key else self.unknown(name))
        return self._values[registered]

    def __contains__(self, name: object) -> bool:
        self._load_own()
        if self._match(name) is None:
            join(self.group)
        return self._match(name) is not None

    def names(self) -> list[str]:
        """Return all names, sorted, those of other packages too; a scheme with what stands for its rest."""
        self._load()
        return sorted(self._shown.values())

    def values(self) -> Iterator[T]:
        """Return all values in the order of their names."""
        self._load()
        return (self._values[name] for name in sorted(self._values))

    def ours(self, name: str) -> bool:
        """Return whether a registered name is of this package."""
        return self._homes[name].startswith(_OURS)

    def unknown(self, name: object) -> str:
        """Say what there is to say about an unknown name: the known ones, and how a package adds one."""
        names = self.names()
        near = get_close_matches(str(name), names, n=1)
        failed = join(self.group)
        return (
            f"unknown {self.kind} {name!r}"
            + (f" (did you mean {near[0]}?)" if near else "")
            + f"; known: {', '.join(names) or 'none'}; a package adds one with @{self._decorator} and an "
            f"entry point of the group {self.group}" + "".join(f"; {line}" for line in failed)
        )

    def _match(self, name: object) -> str | None:
        if not isinstance(name, str):
            return None
        if name in self._values and not name.endswith(":"):
            return name
        scheme, colon, rest = name.partition(":")
        return scheme + colon if rest and scheme + colon in self._values else None

    def _load(self) -> None:
        self._load_own()
        join(self.group)

    def _load_own(self) -> None:
        if self._own_loaded:
            return
        self._own_loaded = True  # before, since modules of the room may ask while they are imported
        try:
            if self._room is not None:
                room = importlib.import_module(self._room)
                for module in pkgutil.iter_modules(room.__path__, f"{self._room}."):
                    if not module.ispkg:
                        importlib.import_module(module.name)
            lab = f"{_LAB}.{self.group.rpartition('.')[2]}"
            if find_spec(lab) is not None:
                importlib.import_module(lab)
        except BaseException:
            self._own_loaded = False
            raise


@cache
def join(group: str) -> Sequence[str]:
    """Import what other packages declare under `group`, once a process. Returns a line for each that fails.

    A process that puts packages on its path later calls `join.cache_clear()`.
    """
    failed = []
    for point in sorted(entry_points(group=group), key=lambda point: (point.name, point.value)):
        try:
            point.load()
        except Exception as error:  # whatever somebody else's module raises
            failed.append(f"{_declared(point)} does not load ({one_line(error)})")
            log.warning("%s", failed[-1])
    return tuple(failed)


def _declared(point: EntryPoint) -> str:
    package = f" of the package {point.dist.name} {point.dist.version}" if point.dist else ""
    return f"the entry point {point.name} = {point.value} ({point.group}){package}"


def settings_keyword(
    kind: type[Settings] | None, options: Mapping[str, Any], owner: str
) -> dict[str, Settings]:
    """Return the keywords that a registered function is called with for its settings: `settings=`, or nothing
    where it was registered without a class of settings. Raises `BadInput` as `read_settings` does."""
    settings = read_settings(kind or Settings, options, owner)
    return {} if kind is None else {"settings": settings}


def read_settings(kind: type[S], options: Mapping[str, Any], owner: str) -> S:
    """Read the settings of a registered thing from the options of a config.

    Raises:
        BadInput: an unknown key or a wrong value; `owner` says whose ("encoder minilm").
    """
    try:
        return kind.model_validate(dict(options))
    except ValidationError as error:
        unknown = [
            ".".join(map(str, item["loc"])) for item in error.errors() if item["type"] == "extra_forbidden"
        ]
        if unknown:
            takes = ", ".join(sorted(kind.model_fields)) or "none of its own"
            named = ", ".join(map(repr, sorted(unknown)))
            raise BadInput(f"{owner}: unknown setting {named}; it takes: {takes}") from None
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        key = ".".join(map(str, first["loc"]))
        message = "is missing" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
        raise BadInput(f"{owner}: {key}: {message}" if key else f"{owner}: {message}") from None
