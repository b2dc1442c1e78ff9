"""One member of a value that is JSON: what `#key` in a reference selects.

    path#key        the member `key`
    path#a.b.c      the member c of b of a; where there is none, the member whose name is "a.b.c"

A text comes out as it is, any other JSON value as compact JSON, its numbers digit for digit; null is no value. An error
names the key and never repeats anything of the value.
"""

from __future__ import annotations

import msgspec

from shared.crypto.plaintext import Plaintext
from shared.errors import Malformed, NotFound

MARK = "#"
DEEPEST = 16
"""Levels that a key goes down; one of more steps is one name. Each level reads what lies below it once more."""

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)


def split(reference: str) -> tuple[str, str | None]:
    """The path and the key after its first `#`, None without one. Raises Malformed for an empty one of them."""
    path, mark, key = reference.partition(MARK)
    if not path or (mark and not key):
        raise Malformed(
            "reference_malformed",
            "the secret's reference has no path, or a # without a key",
            "write path, path#key or path#a.b.c",
        )
    return path, key if mark else None


def select(value: Plaintext, key: str) -> Plaintext:
    """The member `key` of a JSON object. Raises Malformed for a value that is none, NotFound for a missing key."""
    try:
        top = _object.decode(value.reveal())
        steps = key.split(".", DEEPEST)
        found = _nested(top, steps) if len(steps) <= DEEPEST else None
        if found is None:
            found = _present(top.get(key))
        if found is not None:
            return Plaintext(_plain(bytes(found)))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise Malformed(
            "value_not_json",
            f"the secret's reference selects the key {key}, and the value there is no JSON object",
            "refer to the whole value without #key, or store a JSON object there",
        ) from None
    raise NotFound(
        "key_missing",
        f"the value that the secret's reference names has no key {key}, or null there",
        "compare the key with the JSON object at the provider: nested keys first, then one name with points",
    )


def _nested(members: dict[str, msgspec.Raw], steps: list[str]) -> msgspec.Raw | None:
    found: msgspec.Raw | None = None
    for at, step in enumerate(steps):
        if at:
            assert found is not None
            if bytes(found)[:1] != b"{":
                return None
            members = _object.decode(found)
        found = _present(members.get(step))
        if found is None:
            return None
    return found


def _present(found: msgspec.Raw | None) -> msgspec.Raw | None:
    """A member that is there; null would come out as the text "null", which nobody means as a password."""
    return None if found is None or bytes(found) == b"null" else found


def _plain(raw: bytes) -> bytes:
    if raw[:1] == b'"':
        return _text.decode(raw).encode()
    return msgspec.json.format(raw, indent=-1)
