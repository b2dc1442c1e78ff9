"""Values as providers keep them: text as it is, so that whoever may use the provider's own tools can read it.

Providers take text, or text and bytes, and some no empty value. What can't stand as it is gets a mark and base64, which
is taken off again from what this program wrote, and never from what others did.
"""

from __future__ import annotations

import base64
import binascii

from shared.crypto.plaintext import Plaintext
from shared.errors import Malformed

MARK = "privyseal:base64:"


def text_or_bytes(value: Plaintext) -> str | bytes:
    """For a provider that takes both: bytes where they are no UTF-8. Empty text, and text like our own, is marked."""
    raw = value.reveal()
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return raw
    return text if text and not text.startswith(MARK) else _marked(raw)


def text(value: Plaintext) -> str:
    """For a provider that takes text alone."""
    plain = text_or_bytes(value)
    return plain if isinstance(plain, str) else _marked(plain)


def marked(value: Plaintext) -> str:
    """For text that a provider wouldn't take, or not as it is."""
    return _marked(value.reveal())


def value_of(kept: str | bytes) -> Plaintext:
    """What `text` or `text_or_bytes` was given. Raises Malformed for a mark before something else than base64."""
    if isinstance(kept, bytes) or not kept.startswith(MARK):
        return foreign(kept)
    try:
        return Plaintext(base64.b64decode(kept[len(MARK) :], validate=True))
    except (binascii.Error, ValueError):
        raise Malformed(
            "value_malformed",
            "somebody has changed the value at the provider: it has our mark and isn't what stands behind it",
            "store the secret again",
        ) from None


def foreign(kept: str | bytes) -> Plaintext:
    """What others wrote, as it is."""
    return Plaintext(kept if isinstance(kept, bytes) else kept.encode())


def _marked(raw: bytes) -> str:
    return MARK + base64.b64encode(raw).decode("ascii")
