"""The folder in which a local service keeps what must outlive it: the record, the videos and its secrets."""

import base64
import fcntl
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self


class StateFolderBusy(RuntimeError):
    """Another local service is using this state folder."""


class StateFolderForeign(RuntimeError):
    """The state folder belongs to another user of this machine."""


class StateFolder:
    """`path`, created if it is missing, with mode 0700 in any case, and locked until `close`.

    `own_uid` gives the user whose folder it has to be: in another user's folder that user could put a secret,
    or a record that names code to run, in our place.

    The lock is on an open file description, so a child that inherits `lock_fd` holds it too: as long as an
    orphaned Valkey still writes its log here, no second service can open the folder and write over it.
    Raises StateFolderForeign, StateFolderBusy when it is in use, OSError when it cannot be made or written.
    """

    def __init__(self, path: Path, own_uid: Callable[[], int] = os.geteuid) -> None:
        self.path = path.resolve()
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(self.path, own_uid())
        self.lock_fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self.lock_fd)
            raise StateFolderBusy(
                f"{self.path} is in use by another `microcinema up` or by a server it left behind; "
                "end that one, or choose another folder with --state-dir"
            ) from None

    def folder(self, name: str) -> Path:
        """A folder of that name inside, made if missing."""
        path = self.path / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def secret(self, name: str, *, prefix: str = "") -> str:
        """The secret `name`: `prefix` and 32 random bytes in base64, made once, mode 0600."""
        path = self.secret_file(name)
        if not path.exists():
            fresh = prefix + base64.b64encode(secrets.token_bytes(32)).decode()
            write_private(path, fresh)
        return path.read_text(encoding="ascii").strip()

    def secret_file(self, name: str) -> Path:
        """Where the secret `name` lies."""
        return self.path / f"{name}.secret"

    def close(self) -> None:
        """Unlock, as far as this process is concerned."""
        os.close(self.lock_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _make_private(path: Path, own_uid: int) -> None:
    status = path.stat()
    if status.st_uid != own_uid:
        raise StateFolderForeign(
            f"{path} belongs to user {status.st_uid}, this is user {own_uid}: "
            "choose a folder of your own with --state-dir"
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        path.chmod(0o700)


def write_private(path: Path, text: str) -> None:
    """Put `text` at `path` with mode 0600, whole or not at all."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
