"""The kind `EncryptedFile`: values in one JSON file, each encrypted with AES-256-GCM under a key that scrypt makes of a passphrase.

Promises: the file is opened only where the delegate's local policy lets connectors name it; it is replaced whole, under a lock;
each value is bound to its secret and version, so that entries can't be exchanged; what another secret keeps under the same name
is neither overwritten nor deleted. Must not keep a value longer than a call, nor do anything slow on the event loop.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from delegate.secret_managers.direct import Direct, Found
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.secret_managers.ownership import check_owner, inline_name, is_own, tags_of
from shared.connectors.model import convert
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import Denied, Malformed, NotFound, NotReady, Tampered, Unavailable

from .settings import EncryptedFileSettings

SALT_BYTES, NONCE_BYTES, KEY_BYTES = 16, 12, 32
LARGEST_FILE = 64 * 1024 * 1024

R = TypeVar("R")
Content = dict[str, Any]
"""`salt`, `proof` (nothing, encrypted: tells a wrong passphrase), and `entries` by locator: `tags`, and `versions` by id."""


class EncryptedEntries:
    """The entries of one file, as a secret store."""

    concurrency = 1
    read_only = False
    longest_value = 64 * 1024

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        told = convert(EncryptedFileSettings, connector.spec, "EncryptedFile")
        if not surroundings.policy.allows_file(told.path):
            raise Denied(
                "local_policy",
                "the delegate's own policy doesn't let connectors name this file",
                "add it to files in the policy file of that delegate, or use another delegate",
                rule="files",
            )
        self._path = Path(told.path)
        self._passphrase = secrets[told.passphrase]
        self._randomness = surroundings.randomness
        self._seconds = surroundings.call_seconds
        self._key: tuple[bytes, AESGCM] | None = None

    def locator(self, secret: SecretVersion) -> str:
        """`ID`, `ORG.ID` or `ORG.PROJECT.ID`: from signed documents alone."""
        return inline_name(secret, ".")

    async def check(self) -> None:
        """Whether the file can be read, or made, and the passphrase opens it; nothing is written."""
        await self._run(self._read)

    async def read(self, locator: str, version: str, secret: SecretVersion) -> Found:
        """Exactly that version. The file is ours alone, so that no reference leads into it."""
        if secret.secret.reference:
            raise Malformed(
                "reference_unsupported", "an EncryptedFile has only what was stored here", "store the value"
            )
        return Found(await self._run(lambda: self._value(locator, version, secret)), version)

    async def write(self, locator: str, secret: SecretVersion, value: Plaintext) -> str:
        """A version by the name of its store task, so that to store it again changes nothing."""

        def change(content: Content) -> bool:
            entry = content["entries"].setdefault(locator, {"tags": tags_of(secret), "versions": {}})
            check_owner(secret, entry["tags"])
            if secret.aad.version in entry["versions"]:
                return False
            entry["versions"][secret.aad.version] = self._sealed(content, value.reveal(), locator, secret)
            return True

        await self._run(lambda: self._change(change))
        return secret.aad.version

    async def remove(self, locator: str, secret: SecretVersion, version: str) -> None:
        """One version, or the entry with all. What isn't there, or is another secret's by now, is left alone."""

        def change(content: Content) -> bool:
            entry = content["entries"].get(locator)
            if entry is None or not is_own(secret, entry["tags"]):
                return False
            if version:
                return entry["versions"].pop(version, None) is not None
            del content["entries"][locator]
            return True

        await self._run(lambda: self._change(change))

    async def close(self) -> None:
        """Forgets the key."""
        self._key = None

    async def _run(self, work: Callable[[], R]) -> R:
        """In a thread, within the time of a call: disks wait, and scrypt takes a tenth of a second."""
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.to_thread(work)
        except TimeoutError:
            raise Unavailable("encrypted_file_slow", "the file doesn't answer in time", "look at its disk") from None
        except OSError as error:
            raise NotReady(
                "encrypted_file_inaccessible",
                f"the file can't be used: {os.strerror(error.errno or 0)}",
                "its folder must exist and belong to the delegate's user; the file itself is made",
            ) from None

    def _value(self, locator: str, version: str, secret: SecretVersion) -> Plaintext:
        content = self._read()
        entry = content["entries"].get(locator)
        if entry is None or version not in entry["versions"] or not is_own(secret, entry["tags"]):
            raise NotFound("encrypted_file_missing", "the file has no such version", "store the secret again")
        return Plaintext(self._opened(content, entry["versions"][version], _place(locator, secret)))

    def _change(self, change: Callable[[Content], bool]) -> None:
        """Reads, changes and replaces the file under a lock, so that of two writers none is lost."""
        with self._locked():
            content = self._read()
            if not change(content):
                return
            draft = self._path.with_name(f".{self._path.name}.new")
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
                file.write(json.dumps(content).encode())
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = os.open(self._path.with_name(f".{self._path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _read(self) -> Content:
        """What the file has, its form and its passphrase checked; an empty one where there is no file yet."""
        try:
            with self._path.open("rb") as file:
                raw = file.read(LARGEST_FILE + 1)
        except FileNotFoundError:
            self._path.parent.stat()
            content: Content = {"salt": _text(self._randomness(SALT_BYTES)), "entries": {}}
            content["proof"] = self._encrypted(content, b"", b"proof")
            return content
        try:
            content = json.loads(raw if len(raw) <= LARGEST_FILE else b"")
            salt, proof, entries = content["salt"], content["proof"], content["entries"]
            whole = all(isinstance(one["tags"], dict) and isinstance(one["versions"], dict) for one in entries.values())
        except (ValueError, TypeError, KeyError, AttributeError):
            whole = False
        if not whole or not isinstance(salt, str) or not isinstance(proof, str):
            raise Tampered("encrypted_file_malformed", "the file isn't one of this kind", "put a backup in its place")
        try:
            self._opened(content, proof, b"proof")
        except Tampered:
            raise Denied(
                "encrypted_file_passphrase", "the passphrase doesn't open the file", "store the right one as the secret"
            ) from None
        return content

    def _sealed(self, content: Content, value: bytes, locator: str, secret: SecretVersion) -> str:
        return self._encrypted(content, value, _place(locator, secret))

    def _encrypted(self, content: Content, value: bytes, place: bytes) -> str:
        nonce = self._randomness(NONCE_BYTES)
        return _text(nonce + self._cipher(content).encrypt(nonce, value, place))

    def _opened(self, content: Content, box: str, place: bytes) -> bytes:
        try:
            raw = base64.b64decode(box, validate=True)
            return self._cipher(content).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], place)
        except (InvalidTag, ValueError, TypeError):
            raise Tampered(
                "encrypted_file_tampered", "an entry of the file was changed", "store the secret again"
            ) from None

    def _cipher(self, content: Content) -> AESGCM:
        """Made once for a salt: scrypt is slow on purpose."""
        salt = base64.b64decode(content["salt"])
        if self._key is None or self._key[0] != salt:
            kdf = Scrypt(salt=salt, length=KEY_BYTES, n=2**15, r=8, p=1)
            self._key = salt, AESGCM(kdf.derive(self._passphrase.reveal()))
        return self._key[1]


class EncryptedFile(Direct):
    """What the entry point names: `Direct` adds the checks that every store of values needs."""

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        super().__init__(EncryptedEntries(connector, surroundings, secrets), surroundings.zone)


def _place(locator: str, secret: SecretVersion) -> bytes:
    """What a value is bound to; JSON keeps its parts apart."""
    return json.dumps([locator, secret.secret.acct, secret.secret.id, secret.aad.version]).encode()


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
