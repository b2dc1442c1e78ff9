"""The output of a command as a stream: one key, sealed to the reader, then chunks that are encrypted as they come.

    Index 0    HPKE seal of the key (32 random bytes), info = AAD("privyseal/v1/output")
    Index i    AES-256-GCM(key, nonce = i (12 bytes), AAD = LP("privyseal/v1/output", task, i (8), last (1)))

A chunk's plaintext is its stream (1 byte: 1 standard output, 2 standard error) and up to 16 KiB; that of the last one is a
single zero byte. A chunk that is altered, left out, doubled or moved fails to open, and a stream without its last chunk was
cut. Who vouches for the key is the opening document's affair (docs/formats.md). No key is ever used for a second stream.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.aad import Aad
from shared.canonical import lp
from shared.crypto.plaintext import Plaintext
from shared.crypto.seal import SealingKey, seal
from shared.errors import Tampered
from shared.labels import OUTPUT
from shared.values import Recipient, Sealed

STDOUT = 1
STDERR = 2
_END = b"\x00"

CHUNK_BYTES = 16 * 1024
"""What one chunk carries at most."""

TAG_BYTES = 16
OVERHEAD_BYTES = 1 + TAG_BYTES
KEY_BYTES = 32
MOST_CHUNKS = 2**32 - 1


class OutputSealer:
    """Encrypts one output, chunk by chunk, for one reader; `key` is what it opens them with, sealed.

    `task` is the task's digest. Raises Malformed for a reader key that is no key.
    """

    def __init__(
        self, reader: Recipient, account: str, keyring: str, task: str, randomness: Callable[[int], bytes]
    ) -> None:
        key = randomness(KEY_BYTES)
        self._cipher = AESGCM(key)
        self._task = task
        self._is_over = False
        self.key = seal(reader, Plaintext(key), _place(account, keyring, task))
        self.count = 1
        """Messages so far, the key counted: the index of the next one."""

    def chunk(self, stream: int, data: bytes) -> bytes:
        """The next chunk: `data`, 1 to 16,384 bytes of STDOUT or STDERR."""
        if stream not in {STDOUT, STDERR} or not 0 < len(data) <= CHUNK_BYTES:
            raise ValueError("a chunk belongs to one of two streams and has 1 to 16,384 bytes")
        return self._encrypt(bytes([stream]) + data)

    def last(self) -> bytes:
        """The chunk that says that there are no more."""
        return self._encrypt(_END)

    def _encrypt(self, plaintext: bytes) -> bytes:
        if self._is_over or self.count >= MOST_CHUNKS:
            raise ValueError("the output is over")
        self._is_over = plaintext == _END
        sealed = self._cipher.encrypt(
            self.count.to_bytes(12, "big"), plaintext, _chunk(self._task, self.count, self._is_over)
        )
        self.count += 1
        return sealed

    def __repr__(self) -> str:
        return f"OutputSealer({self.count})"


class OutputOpener:
    """Opens one output, whose sealed `key` a delegate vouches for. Raises Tampered where that doesn't open."""

    def __init__(self, reader: SealingKey, account: str, keyring: str, task: str, key: bytes) -> None:
        opened = reader.open(Sealed(key), _place(account, keyring, task))
        if len(opened) != KEY_BYTES:
            raise _failed()
        self._cipher = AESGCM(opened.reveal())
        self._task = task
        self.count = 1
        """Messages so far, the key counted: the index of the next one."""

        self.is_over = False

    def open(self, sealed: bytes) -> tuple[int, bytes, bool]:
        """(stream, bytes, whether it was the last) of the next chunk; the last one has stream 0 and no bytes.

        Raises Tampered, without reasons, and is then as before.
        """
        # Only the last one is so short; what lies about its length fails the flag under the tag.
        last = len(sealed) == len(_END) + TAG_BYTES
        try:
            plaintext = self._cipher.decrypt(
                self.count.to_bytes(12, "big"), sealed, _chunk(self._task, self.count, last)
            )
        except InvalidTag:
            raise _failed() from None
        if self.is_over or not _fits(plaintext, last):
            raise _failed()
        self.count += 1
        self.is_over = last
        return plaintext[0], plaintext[1:], last

    def __repr__(self) -> str:
        return f"OutputOpener({self.count})"


def _place(account: str, keyring: str, task: str) -> bytes:
    return Aad("answer", account, keyring, version=task).encode(OUTPUT)


def _chunk(task: str, index: int, last: bool) -> bytes:
    return lp(OUTPUT, task.encode(), index.to_bytes(8, "big"), bytes([last]))


def _fits(plaintext: bytes, last: bool) -> bool:
    if last:
        return plaintext == _END
    return plaintext[:1] in {b"\x01", b"\x02"} and 1 < len(plaintext) <= 1 + CHUNK_BYTES


def _failed() -> Tampered:
    return Tampered("opening_failed", "a part of a command's output doesn't open: it was changed, left out or moved")
