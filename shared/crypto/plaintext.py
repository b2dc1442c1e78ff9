"""Plaintext: a value that can't be printed, compared in varying time, pickled or turned into text by accident.

`reveal()` is the only way out, and `tests/architecture` lists the files that may call it. Python can't wipe memory; this
keeps a value from spreading, not from lingering.
"""

from __future__ import annotations

import hmac
from typing import NoReturn

from shared.errors import Malformed

BLOCK_BYTES = 256
"""Padded lengths are multiples of this, so that short values all look alike."""


class Plaintext:
    """Bytes that stay inside."""

    __slots__ = ("__value",)

    def __init__(self, value: bytes) -> None:
        self.__value = value

    def reveal(self) -> bytes:
        """The bytes. Each caller is on a reviewed list."""
        return self.__value

    def padded(self) -> Plaintext:
        """Four bytes of length, the value, zeros up to a multiple of 256 bytes."""
        length = 4 + len(self.__value)
        return Plaintext(len(self.__value).to_bytes(4, "big") + self.__value + bytes(-length % BLOCK_BYTES))

    def unpadded(self) -> Plaintext:
        """The value of a padded one. Raises Malformed for any other form."""
        value = self.__value[4 : 4 + int.from_bytes(self.__value[:4], "big")]
        inner = Plaintext(value)
        if not hmac.compare_digest(inner.padded().__value, self.__value):
            raise Malformed("padding_malformed", "an opened value has a malformed padding")
        return inner

    def __len__(self) -> int:
        return len(self.__value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plaintext) and hmac.compare_digest(self.__value, other.__value)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Plaintext(***)"

    def __refuse(self, *_: object) -> NoReturn:
        raise TypeError("a Plaintext doesn't turn into anything else: see reveal()")

    __str__ = __format__ = __bytes__ = __iter__ = __reduce__ = __reduce_ex__ = __getstate__ = __refuse
