"""What a delegate and its token process say to each other: a line of JSON each. Bytes travel as base64."""

from __future__ import annotations

from typing import Literal

import msgspec


class Open(msgspec.Struct, frozen=True):
    """Load the library and log in. An empty label or serial number means any."""

    library: str
    token_label: str
    token_serial: str
    mechanism: str
    pin: str

    def __repr__(self) -> str:
        return "Open(...)"


class Ask(msgspec.Struct, frozen=True):
    """Use a key. With `AES_GCM` wrap or unwrap `data`; with `SHA256_HMAC` the MAC of `aad` is answered."""

    op: Literal["wrap", "unwrap"]
    label: str
    id: str
    aad: bytes
    data: bytes = b""
    nonce: bytes = b""

    def __repr__(self) -> str:
        return "Ask(...)"


class Answer(msgspec.Struct, frozen=True):
    """What came of it, or the name of the error's class."""

    data: bytes = b""
    error: str = ""

    def __repr__(self) -> str:
        return "Answer(...)"
