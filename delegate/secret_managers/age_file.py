"""The kind `AgeFile`: values in files encrypted with age, in a folder of the delegate's machine.

Promises: only files that the local policy lets connectors name are opened, below the connector's folder and by no link that leads
out of it; a file is read and decrypted in threads of this connector, within its time and size; what was altered or cut off gives
no value. It is read-only: to write, the delegate would need a folder that it may change, shared by all delegates, and the
recipients of whoever else reads the files; those who keep such files already have tools that know both. Must not keep a value
longer than the call. Format: age-encryption.org/v1 (C2SP/age), binary or armored, to X25519 or SSH recipients.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from errno import ELOOP, ENAMETOOLONG
from functools import partial
from typing import TypeVar

import pyrage  # type: ignore[import-untyped]

from delegate.folder import Changing, FolderMissing, NotFile, Outside, TooLong, read_below
from delegate.policy import LocalPolicy
from delegate.secret_managers.direct import Direct, Found, ReadStore
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.secret_managers.ownership import inline_name
from delegate.tries import Tries
from shared.connectors.age_file import AgeFileSettings, below
from shared.connectors.kinds import settings
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.documents.secret import LARGEST_VALUE_BYTES
from shared.errors import Denied, Malformed, NotFound, NotReady, PrivySealError, Tampered, Unavailable

LARGEST_FILE = 16 * 1024 * 1024
"""Bytes: the longest value, armored, is a third longer and has a header."""
LARGEST_HEADER = 64 * 1024
"""Each recipient in it costs a multiplication that other threads wait for."""
LONGEST_IDENTITY = 64 * 1024
MOST_IDENTITIES = 32
THREADS = 2
"""Of one connector: a network file system that doesn't answer holds nobody else's."""
CHECKED = "privyseal-check.age"

_VERSION = b"age-encryption.org/v1\n"
_ARMOR = b"-----BEGIN AGE ENCRYPTED FILE-----"
_KEY_BEGINS, _KEY_ENDS = "-----BEGIN ", "-----END "

R = TypeVar("R")


class AgeFiles(ReadStore):
    """The files of one folder, as a secret store."""

    concurrency = THREADS
    longest_value = LARGEST_VALUE_BYTES

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        told = settings("AgeFile", connector.spec)
        assert isinstance(told, AgeFileSettings)
        self._folder = told.folder
        self._policy = surroundings.policy
        self._secret, self._held = told.identity, secrets[told.identity]
        self._identities: list[object] = []
        self._tries = Tries(surroundings.call_seconds, surroundings.randomness)
        self._threads: ThreadPoolExecutor | None = None

    def locator(self, secret: SecretVersion) -> str:
        """Where it would be; nothing is ever written there."""
        return f"{inline_name(secret, '.')}.age"

    async def check(self) -> None:
        """Whether the identity is one, and the folder is there and may be read; the local policy must allow a file in it."""
        self._identity()
        if not _allows_some(self._policy, self._folder):
            raise Denied(
                "local_policy",
                f"the delegate's own policy refuses it: connectors may not name the file {self._folder}/*",
                "allow it with the key files in the policy file of that delegate, or use another delegate",
                rule="files",
            )
        try:
            await self._run(f"{self._folder}/{CHECKED}", partial(read_below, self._folder, [CHECKED], LARGEST_FILE))
        except NotFound:
            pass

    async def read(self, locator: str, version: str, secret: SecretVersion) -> Found:
        """What the file at that path holds."""
        if secret.secret.metadata:
            raise Malformed(
                "metadata_unknown", "additionalMetadata of the secret means nothing to AgeFile", "leave it out"
            )
        names = below(locator)
        path = f"{self._folder}/{locator}"
        self._policy.check_file(path)
        identities = self._identity()

        def read() -> bytes:
            content = read_below(self._folder, names, LARGEST_FILE)
            _check_header(content, path)
            return _decrypted(content, identities, path)

        return Found(Plaintext(await self._run(path, read)), "")

    async def close(self) -> None:
        """Ends the threads; the identities are forgotten."""
        self._identities = []
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    def _identity(self) -> list[object]:
        if not self._identities:
            self._identities = _identities(self._held, self._secret)
        return self._identities

    async def _run(self, path: str, work: Callable[[], R]) -> R:
        """What a thread of this connector makes of it, in at most three tries. Raises errors of the tables below."""

        async def call() -> R:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="age")
            try:
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
            except FolderMissing as error:
                raise _folder_error(error, self._folder) from None
            except OSError as error:
                raise _file_error(error, path) from None
            except tuple(_UNFIT) as error:
                raise _UNFIT[type(error)].error(path) from None

        return await self._tries.of(call, lambda: _SLOW.error(path))


class AgeFile(Direct):
    """The kind `AgeFile`."""

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        super().__init__(AgeFiles(connector, surroundings, secrets), surroundings.zone)


def _allows_some(policy: LocalPolicy, folder: str) -> bool:
    """Whether any file below the folder may be named: all of them, or single ones."""
    return policy.allows_file(f"{folder}/{CHECKED}") or any(one.startswith(f"{folder}/") for one in policy.files)


def _identities(held: Plaintext, name: str) -> list[object]:
    """Those in a secret's lines: `AGE-SECRET-KEY-1...`, SSH private keys, comments and empty lines. Raises Malformed."""
    raw = held.reveal()
    found: list[object] = []
    try:
        lines = iter(raw.decode("ascii").splitlines() if len(raw) <= LONGEST_IDENTITY else ())
        for line in map(str.strip, lines):
            if line.startswith(_KEY_BEGINS):
                block = [line]
                for one in lines:
                    block.append(one)
                    if one.startswith(_KEY_ENDS):
                        break
                found.append(pyrage.ssh.Identity.from_buffer("\n".join([*block, ""]).encode()))
            elif line and not line.startswith("#"):
                found.append(pyrage.x25519.Identity.from_str(line))
    except (pyrage.IdentityError, UnicodeDecodeError) as error:
        # The library's text isn't passed on, and this one is its own for exactly that.
        if str(error) == "ssh key must be decrypted first":
            raise Malformed(
                "age_identity_locked",
                f"the SSH private key in the secret {name} is itself encrypted by a passphrase",
                "store it without: ssh-keygen -p -N '' on a copy; the secret keeps it safe",
            ) from None
        found = []
    if not 0 < len(found) <= MOST_IDENTITIES:
        raise Malformed(
            "age_identity_malformed",
            f"the secret {name} doesn't hold identities of age",
            f"store lines that begin with AGE-SECRET-KEY-1, as age-keygen writes them, or SSH private keys (ssh-ed25519 or "
            f"ssh-rsa, as ssh-keygen writes them), at most {MOST_IDENTITIES}; identities of plug-ins aren't taken",
        )
    return found


def _check_header(content: bytes, path: str) -> None:
    """Whether it is a file of age whose header is worth working on. Raises Malformed."""
    head = content[: 2 * LARGEST_HEADER]
    if head.startswith(_ARMOR):
        try:
            body = b"".join(head.removeprefix(_ARMOR).partition(b"-----END")[0].split())
            head = base64.b64decode(body[: len(body) // 4 * 4], validate=True)
        except binascii.Error:
            raise _NOT_AGE.error(path) from None
    if not head.startswith(_VERSION):
        raise _NOT_AGE.error(path)
    end = head.find(b"\n---", 0, LARGEST_HEADER)
    if end < 0:
        raise _HEADER.error(path)
    if b"\n-> scrypt " in head[:end]:
        raise _PASSPHRASE.error(path)


def _decrypted(content: bytes, identities: list[object], path: str) -> bytes:
    try:
        plain: bytes = pyrage.decrypt(content, identities)
    except pyrage.DecryptError as error:
        raise (_OTHER if str(error) == "No matching keys found" else _TAMPERED).error(path) from None
    except BaseException as error:
        # A panic of the library is no Exception, and would end the delegate.
        if isinstance(error, Exception):
            raise
        raise _TAMPERED.error(path) from None
    return plain


@dataclass(frozen=True, slots=True)
class _Outcome:
    kind: type[PrivySealError]
    code: str
    detail: str
    hint: str

    def error(self, path: str) -> PrivySealError:
        """The error about that path."""
        return self.kind(self.code, self.detail.format(path=path), self.hint)


# What systems and the library say, and what it means here.
_OTHER = _Outcome(
    Denied,
    "age_other_recipient",
    "the file {path} isn't encrypted to any identity of the connector",
    "encrypt it to the connector's recipient too (age-keygen -y prints it), or give the identity that it is encrypted to",
)
_TAMPERED = _Outcome(
    Tampered,
    "age_tampered",
    "the file {path} was altered or is cut off",
    "put the original back, and ask who changed it",
)
_NOT_AGE = _Outcome(
    Malformed, "age_malformed", "the file {path} isn't one that age encrypted", "encrypt it: age -r RECIPIENT -o FILE"
)
_HEADER = _Outcome(
    Malformed,
    "age_header_malformed",
    "the header of the file {path} is cut off, or longer than 64 KiB",
    "put the whole file there, encrypted to fewer recipients",
)
_PASSPHRASE = _Outcome(
    Malformed,
    "age_passphrase",
    "the file {path} is encrypted by a passphrase, whose work would hold up all else that the delegate does",
    "encrypt it to a recipient: age -r RECIPIENT",
)
_SLOW = _Outcome(
    Unavailable, "age_slow", "reading {path} took too long", "look at the file system that it is on, and try again"
)
_MISSING = _Outcome(
    NotFound, "age_missing", "there is no file {path} on this delegate", "look at the reference and at directory"
)
_UNREADABLE = _Outcome(
    Denied, "age_unreadable", "this delegate may not read {path}", "let the user that runs the delegate read it"
)
_FAILED = _Outcome(Unavailable, "age_unavailable", "{path} can't be read just now", "look at its disk, and try again")
_LINKS = _Outcome(
    Denied,
    "age_link_refused",
    "the file {path} is a link that leads out of the connector's directory, or one of too many",
    "put the file itself there",
)
_UNFIT: dict[type[Exception], _Outcome] = {
    Outside: _LINKS,
    NotFile: _Outcome(
        Malformed,
        "age_not_file",
        "{path} isn't a file, but a folder, pipe or device",
        "refer to a file below directory",
    ),
    TooLong: _Outcome(
        Malformed, "value_too_large", "the file {path} is longer than 16 MiB", "a secret has at most 10 MB"
    ),
    Changing: _Outcome(
        Unavailable, "age_changing", "the file {path} is being written", "write it elsewhere, and move it there"
    ),
}
_ERRNO: dict[type[OSError], _Outcome] = {
    FileNotFoundError: _MISSING,
    NotADirectoryError: _MISSING,
    PermissionError: _UNREADABLE,
}


def _file_error(error: OSError, path: str) -> PrivySealError:
    # Where a link took the place of what was looked at, and where links lead round or too deep.
    links = error.errno in {ELOOP, ENAMETOOLONG}
    return (_LINKS if links else _ERRNO.get(type(error), _FAILED)).error(path)


def _folder_error(error: OSError, folder: str) -> PrivySealError:
    return NotReady(
        "age_directory_missing",
        f"this delegate has no directory {folder}, or may not go through it",
        "mount it there, or name by delegateSelectors the delegates that have it",
        errno=error.errno,
    )
