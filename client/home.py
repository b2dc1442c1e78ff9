"""The client's folder: contexts, identities and what was seen, for this user's eyes only.

Promises: folders are 0700 and files 0600; a file is replaced whole or not at all; two commands at once don't undo each
other's changes. Must not hold the root key unless its owner leaves it there, nor ever a secret's value.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from shared.errors import Conflict, Denied, Malformed, NotReady, PrivySealError


class Home:
    """`PRIVYSEAL_HOME`, or `privyseal` in the user's configuration folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @staticmethod
    def find(environ: Mapping[str, str], override: str | None = None) -> Home:
        """The folder that `override`, the environment or the platform's custom names. Nothing is made yet."""
        named = override or environ.get("PRIVYSEAL_HOME")
        if named:
            return Home(Path(named).expanduser().absolute())
        base = environ.get("XDG_CONFIG_HOME")
        return Home((Path(base) if base else Path.home() / ".config") / "privyseal")

    def path(self, *parts: str) -> Path:
        """A path below it."""
        return self.root.joinpath(*parts)

    def read(self, *parts: str) -> bytes | None:
        """A file's bytes, None when there is none. Raises Denied when it can't be read."""
        path = self.path(*parts)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as why:
            raise unreadable(path, why) from None

    def write(self, data: bytes, *parts: str, once: bool = False) -> Path:
        """Replaces a file in one step, mode 0600; `once` refuses to replace one. The folders are made, 0700."""
        path = self.path(*parts)
        self._make_folder(path.parent)
        write_private(path, data, once=once)
        return path

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        made = [one for one in (folder, *folder.parents) if one == self.root or self.root in one.parents]
        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
            for one in reversed(made):
                one.mkdir(mode=0o700, exist_ok=True)
        except OSError as why:
            raise unwritable(folder, why) from None

    @contextmanager
    def lock(self, *parts: str) -> Iterator[None]:
        """Only one process at a time is inside, for a file that is read, changed and written."""
        path = self.path(*parts).with_suffix(".lock")
        self._make_folder(path.parent)
        try:
            # Never replaced: whoever came second would lock another file of the same name.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as why:
            raise unwritable(path, why) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def write_private(path: Path, data: bytes, *, once: bool = False) -> None:
    """Writes a file that only its owner may read, whole or not at all. Raises Malformed where it can't.

    `once`: raises Malformed where something stands there already, and leaves it.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if once:
                os.link(draft, path)
            else:
                os.replace(draft, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(draft)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError:
        raise Malformed(
            "file_exists", f"{path} exists and is not overwritten", "name another file, or move it away"
        ) from None
    except OSError as why:
        raise unwritable(path, why) from None


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Only one process changes the files of this path's folder in here. Raises Conflict while another one does."""
    try:
        # The folder: a lock on the file itself would go with the file when it is replaced.
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as why:
        raise unreadable(path.parent, why) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Conflict("file_busy", f"another command is changing {path}", "try again when it has ended") from None
    finally:
        os.close(descriptor)


def read_private(path: Path, what: str) -> bytes:
    """The bytes of a file that holds a key. Raises NotReady when there is none, Denied when others may read it too."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotReady("file_missing", f"there is no {what} at {path}", "check the path") from None
    except OSError as why:
        raise unreadable(path, why) from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        os.close(descriptor)
        raise Malformed("file_malformed", f"{path} is a folder", f"give the path of the {what}")
    with os.fdopen(descriptor, "rb") as file:
        if mode & 0o077:
            raise Denied(
                "file_exposed",
                f"the {what} at {path} may be read by others (mode {mode & 0o777:o})",
                f"chmod 600 {path}",
            )
        try:
            return file.read()
        except OSError as why:
            raise unreadable(path, why) from None


def unreadable(path: Path, why: OSError) -> PrivySealError:
    """The error for a file that the system won't let be read."""
    return Denied(
        "file_unreadable", f"{path} can't be read: {os.strerror(why.errno or 0)}", "check the path and its owner"
    )


def unwritable(path: Path, why: OSError) -> PrivySealError:
    """The error for a file that the system won't let be written."""
    return Denied(
        "file_unwritable", f"{path} can't be written: {os.strerror(why.errno or 0)}", "check the folder and the disk"
    )
