"""Reading files below one folder of this machine, and nothing else, whatever others do there meanwhile.

Promises: each name is opened relative to the folder that was opened before it, and no link is followed by the system: links are
read and followed here, where one that leads out of the folder, up past it or to an absolute path, is refused; only regular files
are opened, so that no pipe is waited for and no device touched; no more is read than was allowed. Must not run on the event
loop: disks and network file systems wait. Links within the folder are followed, since that is how Kubernetes mounts files.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Sequence
from errno import ELOOP, ENAMETOOLONG

MOST_LINKS = 8
MOST_FOLDERS = 64
"""Open at once: links may lead deeper than a path does."""
_PIECE = 1 << 20
_PASSING = getattr(os, "O_PATH", os.O_RDONLY)
"""To go through a folder its owner needs not let it be listed, where the system knows that."""


class FolderMissing(OSError):
    """The folder itself isn't there, or isn't one, or may not be gone through."""


class Outside(Exception):
    """A link leads out of the folder."""


class NotFile(Exception):
    """Something else than a regular file."""


class TooLong(Exception):
    """More than may be read."""


class Changing(Exception):
    """Somebody writes the file at this moment."""


def read_below(folder: str, names: Sequence[str], most: int) -> bytes:
    """What stands in the file at `names` below `folder`, at most `most` bytes.

    Raises OSError (FolderMissing for the folder itself), Outside, NotFile, TooLong, Changing.
    """
    descriptor = _open_below(folder, names)
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise NotFile
        if before.st_size > most:
            raise TooLong
        content = bytearray()
        while piece := os.read(descriptor, min(_PIECE, most + 1 - len(content))):
            content += piece
            if len(content) > most:
                raise TooLong
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or after.st_size != len(content):
        raise Changing
    return bytes(content)


def _open_below(folder: str, names: Sequence[str]) -> int:
    """A descriptor of the file. The folders on the way stay open until then, so that `..` of a link is where it came from."""
    trail = [_entered(folder)]
    pending, links = deque(names), 0
    try:
        while pending:
            name = pending.popleft()
            if name == "..":
                if len(trail) == 1:
                    raise Outside
                os.close(trail.pop())
                continue
            if name in {"", "."}:
                continue
            mode = os.stat(name, dir_fd=trail[-1], follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                links += 1
                if links > MOST_LINKS:
                    raise OSError(ELOOP, os.strerror(ELOOP))
                target = os.readlink(name, dir_fd=trail[-1])
                if target.startswith("/"):
                    raise Outside
                pending.extendleft(reversed(target.split("/")))
            elif stat.S_ISDIR(mode):
                if len(trail) > MOST_FOLDERS:
                    raise OSError(ENAMETOOLONG, os.strerror(ENAMETOOLONG))
                trail.append(_folder(name, trail[-1]))
            elif not stat.S_ISREG(mode) or pending:
                raise NotFile
            else:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                return os.open(name, flags, dir_fd=trail[-1])
        raise NotFile
    finally:
        for one in trail:
            os.close(one)


def _entered(folder: str) -> int:
    try:
        return os.open(folder, _PASSING | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise FolderMissing(error.errno, error.strerror) from None


def _folder(name: str, within: int) -> int:
    return os.open(name, _PASSING | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
