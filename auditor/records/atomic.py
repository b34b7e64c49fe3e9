"""Files of records appear whole or not at all, on this machine or in remote storage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from auditor.errors import AuditError
from auditor.records.sources import locate, shown, why
from auditor.storage.atomic import whole
from auditor.storage.disk import is_full


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary local path to write to. It becomes `path` (local or an fsspec URI) when the block
    ends, and is removed when the block fails.

    It lies beside a local target (a rename does not cross file systems). For a remote target it lies on local
    disk and is uploaded whole. Raises `AuditError` for what the disk or the storage refuses.
    """
    with ExitStack() as stack:
        try:
            local, remote = locate(str(path))
            if local is None:
                temporary = Path(stack.enter_context(TemporaryDirectory())) / "records"
            else:
                Path(local).parent.mkdir(parents=True, exist_ok=True)
                temporary = stack.enter_context(whole(Path(local)))
            temporary.touch(exist_ok=False)
        except Exception as error:  # storage clients have exception families of their own
            raise _refused(path, error) from None
        try:
            yield temporary
        except OSError as error:  # of the block: only a full disk is surely about this file
            if local is None and is_full(error):
                raise _refused(path, error) from None
            raise
        try:
            if local is None:
                remote.fs.put_file(str(temporary), remote.path)
            stack.close()
        except AuditError:
            raise
        except Exception as error:
            raise _refused(path, error) from None


def _refused(path: str | Path, error: Exception) -> AuditError:
    return AuditError(f"{shown(str(path))}: cannot be written ({why(error)}); check path, rights and space")
