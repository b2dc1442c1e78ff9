"""The files that a delegate starts from. The keyring is read only where nobody else could have.

Must not keep a file open, nor repeat in an error what stands in one.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from shared.crypto.keyring import Keyring
from shared.errors import Denied, Malformed, NotFound, PrivySealError

LARGEST_BYTES = 1_048_576


def read_text(path: str, what: str) -> str:
    """A settings or policy file; `what` names it. Raises NotFound, Denied, Malformed."""
    try:
        return read_bytes(path, what).decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed(f"{what}_malformed", f"the {what} file is not UTF-8 text", "mend it") from None


def read_bytes(path: str, what: str) -> bytes:
    """Any small file; `what` names it. Raises NotFound, Denied, Malformed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _unreadable(error, path, what) from None
    return _read(descriptor, path, what)


def read_authorities(path: str) -> bytes:
    """Certificates in PEM that issue the manager's. Raises NotFound, Denied, Malformed."""
    pem = read_bytes(path, "ca")
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        raise Malformed("ca_malformed", "the ca_file holds no certificate in PEM", "give the authority's certificate")
    return pem


def read_keyring(path: str) -> Keyring:
    """The keyring of a file that only this process and root can read. Raises NotFound, Denied, Malformed.

    One symbolic link is followed, as Kubernetes mounts a secret (keyring.json -> ..data/keyring.json); what it
    points to is checked, not the link.
    """
    try:
        target = Path(path)
        if target.is_symlink():
            target = target.parent / target.readlink()
        descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _unreadable(error, path, "keyring") from None
    try:
        _check_private(os.fstat(descriptor), path)
    except PrivySealError:
        os.close(descriptor)
        raise
    return Keyring.parse(_read(descriptor, path, "keyring"))


def _check_private(found: os.stat_result, path: str) -> None:
    mode = stat.S_IMODE(found.st_mode)
    private = not mode & 0o077
    # A container secret: root's, nobody may write, and a group that was given to this process may read.
    mounted = found.st_uid == 0 and not mode & ~0o440
    if not (private or mounted):
        raise Denied(
            "keyring_exposed",
            f"the keyring file {path} has mode {mode:04o}: others than its owner may get at it",
            f"chmod 0600 {path} (a mounted container secret: mode 0400 or 0440, owned by root)",
        )


def _read(descriptor: int, path: str, what: str) -> bytes:
    # Not through a file object yet: it refuses a folder with an error of its own.
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Malformed(f"{what}_malformed", f"{path} is not a file", f"give the path of the {what} file")
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(LARGEST_BYTES + 1)
    if len(data) > LARGEST_BYTES:
        raise Malformed(f"{what}_malformed", f"{path} is too long to be a {what} file", "check its path")
    return data


def _unreadable(error: OSError, path: str, what: str) -> PrivySealError:
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{what}_not_found", f"there is no {what} file {path}", f"check the path of the {what} file")
    if isinstance(error, PermissionError):
        return Denied(
            f"{what}_unreadable",
            f"the {what} file {path} may not be read by this user",
            "chown it to the user that runs the delegate",
        )
    return Denied(
        f"{what}_unreadable",
        f"the {what} file {path} can't be read, or is a link to a link",
        "check the path, and that it is a file",
    )
