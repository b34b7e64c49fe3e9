"""A run keeps its rows in files under OUT, which one driver at a time may use."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, get_args

from auditor.errors import AuditError, BadInput
from auditor.storage.atomic import sweep, write_bytes

FORMAT_VERSION = 1

Kind = Literal["responses", "embeddings", "profiles", "critics", "measures", "neighbours"]

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # what a Path leaves of PROTOCOL://


def safe_name(name: str) -> str:
    """Return `name` as a file name: `name` itself where that is harmless, else a readable part, `~` and its
    hash.

    No two names share a file name: a plain name never holds `~`.
    """
    if _PLAIN.fullmatch(name):
        return name
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:60].strip("-.")
    return f"{readable}~{digest(name)[:16]}"


def digest(identity: str) -> str:
    """Return 32 hex digits that stand for an identity in file names."""
    return blake2b(identity.encode(), digest_size=16).hexdigest()


def work_identity(identity: str, **settings: Any) -> str:
    """Return the identity of cached work: who did it (an encoder's or generator's identity) and the settings
    of the work that change its bits or its seed (threads, shard size, seed), as canonical JSON."""
    try:
        who = json.loads(identity)
    except ValueError:
        who = identity
    return json.dumps({"by": who, **settings}, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


class RunDir:
    """A `RunDir` is the folder of one run, `OUT/run`. Everything in it can be made again; nothing is read
    from outside."""

    def __init__(self, out: Path) -> None:
        """Raises `BadInput` where `out` is the address of an object store: files are locked and renamed in
        it, and object stores do neither."""
        if _REMOTE.match(str(out)):
            raise BadInput(
                f"--out {out}: must be a folder, not a remote address: files are locked and renamed in it; "
                "mount shared storage (NFS, EFS, Filestore, Lustre) and copy the reports from there"
            )
        self.root = Path(out).absolute() / "run"
        self._used: set[str] = set()

    def open(self) -> None:
        """Create the folder. Raises `BadInput` where it cannot be written, or a newer program wrote it."""
        stamp = self.root / "format.json"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not stamp.exists():
                write_bytes(stamp, json.dumps({"format": FORMAT_VERSION}).encode())
            version = json.loads(stamp.read_text(encoding="utf-8"))["format"]
        except OSError as error:
            raise BadInput(f"{self.root}: cannot be written ({error.strerror or error})") from error
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{stamp}: not readable; delete {self.root} and run again") from error
        if version != FORMAT_VERSION:
            raise BadInput(
                f"{self.root}: has format {version}, this program reads format {FORMAT_VERSION}; "
                "use the version that wrote it, or another --out"
            )

    def records(self, scenario: str) -> Path:
        """Return the Parquet file of a scenario's admitted records."""
        return self._make(self.root / "records") / f"{safe_name(scenario)}.parquet"

    def windows(self, scenario: str) -> Path:
        """Create an empty folder for files that say where each window's rows stand in the scenario's
        records."""
        folder = self.root / "windows" / safe_name(scenario)
        shutil.rmtree(folder, ignore_errors=True)
        return self._make(folder)

    def folder(self, kind: Kind, identity: str) -> Path:
        """Return the folder of the shards made under `identity`, which stands in it in clear
        (`identity.json`)."""
        folder = self._make(self.root / kind / digest(identity))
        self._used.add(f"{kind}/{folder.name}")
        stamp = folder / "identity.json"
        if not stamp.exists():
            write_bytes(stamp, identity.encode())
        elif stamp.read_bytes() != identity.encode():
            raise AuditError(f"{stamp}: is not the identity its folder is named by; delete the folder")
        return folder

    def responses(self, identity: str) -> Path:
        """Return the folder of shards of answers."""
        return self.folder("responses", identity)

    def embeddings(self, identity: str) -> Path:
        """Return the folder of shards of embedded contents."""
        return self.folder("embeddings", identity)

    def profiles(self, identity: str) -> Path:
        """Return the folder of profiles, a file a unit of work."""
        return self.folder("profiles", identity)

    def critics(self, identity: str) -> Path:
        """Return the folder of trained critics."""
        return self.folder("critics", identity)

    def neighbours(self, identity: str) -> Path:
        """Return the folder of a search among ID rows."""
        return self.folder("neighbours", identity)

    def finished(self, result: str) -> None:
        """Note which folders the result of this name was made of: `unused` keeps those."""
        path = self._make(self.root / "used") / f"{safe_name(result)}.json"
        write_bytes(path, json.dumps(sorted(self._used)).encode())

    def unused(self, results: Collection[str]) -> list[Path]:
        """Return folders of shards that none of these results was made of. Raises `AuditError` where it is
        not known what one of them was made of: then nothing may be taken for unused."""
        kept: set[str] = set()
        for result in results:
            path = self.root / "used" / f"{safe_name(result)}.json"
            try:
                kept.update(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError) as error:
                raise AuditError(
                    f"{path}: it is not known what the result {result} was made of ({error}); run its "
                    "command again (what is done is kept), then clean"
                ) from error
        return [
            folder
            for kind in get_args(Kind)
            for folder in sorted((self.root / kind).glob("*"))
            if folder.is_dir() and f"{kind}/{folder.name}" not in kept
        ]

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process (and sweep what dead ones left). The kernel frees the lock with
        the process that holds it, so a lock is never stale. Raises `AuditError` where another holds it."""
        self.open()
        path = self.root / "lock.json"
        with open(path, "a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _holder(path)
                raise AuditError(
                    f"{self.root.parent}: in use by {holder}; wait, or use another --out"
                ) from None
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
            file.flush()
            sweep(self.root)
            yield

    @staticmethod
    def _make(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _holder(lock: Path) -> str:
    try:
        held = json.loads(lock.read_text(encoding="utf-8"))
        return f"process {held['pid']} on {held['host']}"
    except (OSError, ValueError, KeyError, TypeError):  # the other process is writing it just now
        return "another process"
