"""The byte forms that everything signed, sealed or hashed is made of: base64url, base32, LP, canonical JSON, digests.

One value has exactly one form, and a decoder refuses every other, so that no two parties can read one document
differently. Formats are given byte for byte in docs/formats.md. Nothing here reads, writes, waits or looks at a clock.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from typing import Any, TypeVar

import msgspec

from shared.errors import Malformed

T = TypeVar("T")

DIGEST_CHARACTERS = 43
"""A SHA-256 digest in unpadded base64url."""


def b64u(data: bytes) -> str:
    """Base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def unb64u(text: str, length: int | None = None) -> bytes:
    """The bytes of strict unpadded base64url, `length` of them where it is given.

    Raises Malformed for padding, other characters, stray bits, or another length.
    """
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        data = b""
    if b64u(data) != text or (length is not None and len(data) != length):
        raise Malformed("base64url_malformed", "a base64url field has another form than it must have")
    return data


def b32(data: bytes) -> str:
    """Lower-case base32 without padding (RFC 4648 section 6)."""
    return base64.b32encode(data).rstrip(b"=").decode("ascii").lower()


def sha256(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


def digest(compact: str) -> str:
    """The digest that names a document: SHA-256 of its compact form, in base64url. Raises Malformed outside of ASCII."""
    if not compact.isascii():
        raise Malformed("document_malformed", "a document has other characters than base64url and points")
    return b64u(sha256(compact.encode("ascii")))


def is_digest(text: str) -> bool:
    """Whether it has the length and the characters of a digest."""
    return len(text) == DIGEST_CHARACTERS and text.isascii() and text.replace("-", "").replace("_", "").isalnum()


def blob_digest(blob: bytes) -> str:
    """The digest that names a sealed input, answer or record: SHA-256 in base64url."""
    return b64u(sha256(blob))


def lp(*parts: bytes) -> bytes:
    """LP of each part: its length as four bytes, most significant first, then the part."""
    return b"".join([_length(len(part)) + part for part in parts])


def unlp(data: bytes, count: int) -> list[bytes]:
    """Exactly `count` LP parts that fill `data`; raises Malformed otherwise."""
    parts, at = [], 0
    for _ in range(count):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if at + 4 > len(data) or end > len(data):
            raise Malformed("framing_malformed", "a length in the framing reaches past the end")
        parts.append(data[at + 4 : end])
        at = end
    if at != len(data):
        raise Malformed("framing_malformed", "bytes are left over after the framing")
    return parts


_length = struct.Struct(">I").pack
_encoder = msgspec.json.Encoder(order="sorted")
_path = re.compile(r"`\$[a-z\[\]0-9.]*`")


def encode(value: Any) -> bytes:
    """Canonical JSON (RFC 8785 for ASCII keys and integers): sorted keys, no white space, fields at defaults left out."""
    return _encoder.encode(value)


def decode(data: bytes, decoder: msgspec.json.Decoder[T], what: str) -> T:
    """The value of canonical JSON, by its type; `what` names it in errors.

    Re-encoding must give the same bytes, which refuses doubled keys, white space, other escapes, other number forms
    and spelt-out defaults at once. Raises Malformed.
    """
    code = f"{what.replace(' ', '_')}_malformed"
    try:
        value = decoder.decode(data)
        again = _encoder.encode(value)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Malformed(code, f"the {what} is malformed: {_without_input(error)}") from None
    if again != data:
        raise Malformed(code, f"the {what} is not in canonical form")
    return value


def _without_input(error: Exception) -> str:
    """msgspec repeats unknown field names and enumeration values, Python undecodable bytes; an error must not."""
    if not isinstance(error, msgspec.MsgspecError):
        return "it is no UTF-8, or too deep"
    message = str(error)
    for opening in ("Object contains unknown field", "Invalid enum value"):
        if message.startswith(opening):
            # At the top there is no path, and what follows the last `at` is then the input's.
            _, _, path = message.rpartition(" - at ")
            return f"{opening} - at {path}" if _path.fullmatch(path) else opening
    return message
