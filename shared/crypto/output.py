"""Output: what a delegate seals to the reader, one item a target.

    Output = for each item: kind (1 byte: 00 a value, 01 a problem) || LP(bytes)

A problem is an RFC 9457 object in canonical JSON. The whole is padded and sealed in one piece, so that the manager learns
neither which targets failed nor why.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shared.canonical import encode, lp
from shared.crypto.plaintext import Plaintext
from shared.errors import Malformed, PrivySealError, from_problem

Item = Plaintext | PrivySealError


def pack(items: Sequence[Item]) -> Plaintext:
    """The framed items."""
    return Plaintext(
        b"".join(
            b"\x00" + lp(item.reveal()) if isinstance(item, Plaintext) else b"\x01" + lp(encode(item.problem()))
            for item in items
        )
    )


def unpack(output: Plaintext) -> list[Item]:
    """The items. Raises Malformed."""
    raw, at = output.reveal(), 0
    items: list[Item] = []
    while at < len(raw):
        kind, start = raw[at], at + 5
        at = start + int.from_bytes(raw[at + 1 : start], "big")
        if start > len(raw) or at > len(raw) or kind > 1:
            raise Malformed("output_malformed", "a delegate's output is malformed")
        if kind == 0:
            items.append(Plaintext(raw[start:at]))
            continue
        try:
            items.append(from_problem(msgspec.json.decode(raw[start:at], type=dict)))
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise Malformed("output_malformed", "a delegate's output is malformed") from None
    return items
