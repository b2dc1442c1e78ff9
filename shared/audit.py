"""The audit chain: what an entry may say, its canonical bytes, and the hash that ties it to the entry before.

    hash = SHA-256(LP("privyseal/v1/audit") + LP(hash before) + LP(canonical JSON entry)), the first after 32 zero bytes

The manager appends with it and the client's `audit verify` checks with it. An entry holds names, digests and codes
only: there is no field for free text, and no character in which free text could hide. A chain can't show that its end
was cut off: whoever verifies keeps the `Head` and goes on from it. Pure: nothing here reads, writes or looks at a clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from shared import labels
from shared.canonical import b64u, encode, lp, sha256
from shared.errors import Malformed, Tampered

LABEL = labels.AUDIT
GENESIS = bytes(32)

FIELDS = frozenset(
    {
        "at",  # seconds since 1970
        "principal",  # thumbprint of who asked
        "op",
        "outcome",
        "code",
        "task",
        "targets",  # ids, each with the path and version or the host that it is about, joined by commas
        "credentials",  # ids, joined by commas
        "delegate",
        "scope",
        "kind",
        "id",
        "rev",
        "digest",
        "secret",
        "version",
        "keyring",
        "generation",
        "connector",
        "signer",
        "count",
        "peer",
        "serial",
        "jti",
        "request",
    }
)
TEXT_LIMIT = 512
TARGETS_LIMIT = 65536
_INTEGER_LIMIT = 2**53
_text = re.compile(r"[!-~]*\Z")


class Link(msgspec.Struct, frozen=True):
    """One entry in its chain: `prev` and `hash` in base64url, `entry` the canonical JSON exactly as it was hashed."""

    seq: int
    prev: str
    hash: str
    entry: str


class Head(msgspec.Struct, frozen=True):
    """The end of a chain, to go on from: the number and hash of its last entry."""

    seq: int = 0
    hash: bytes = GENESIS


def entry_hash(prev: bytes, entry: bytes) -> bytes:
    """The hash of an entry (its canonical JSON) that follows the one with hash `prev` (32 bytes)."""
    return sha256(lp(LABEL, prev, entry))


def encode_entry(entry: Mapping[str, str | int]) -> bytes:
    """The canonical JSON of an entry.

    Raises Malformed for a field outside of `FIELDS`, for a value that is neither a non-negative integer below 2**53 nor
    visible ASCII without spaces, for one that is too long, and for an entry without its time.
    """
    if type(entry.get("at")) is not int:
        raise Malformed("audit_time_missing", "an audit entry doesn't say when it happened")
    for name, value in entry.items():
        if name not in FIELDS:
            raise Malformed("audit_field_unknown", "an audit entry has a field that is not in the closed list")
        if type(value) is int:
            fits = 0 <= value < _INTEGER_LIMIT
        else:
            limit = TARGETS_LIMIT if name in {"targets", "credentials"} else TEXT_LIMIT
            fits = type(value) is str and len(value) <= limit and _text.match(value) is not None
        if not fits:
            raise Malformed(
                "audit_value_malformed",
                f"the audit field {name} holds something else than a name, a digest, a code or a number",
            )
    return encode(entry)


def verify(links: Iterable[Link], head: Head = Head()) -> Head:  # noqa: B008 (frozen)
    """Checks that `links` follow `head` without a gap, a change or a swap; the new head.

    Raises Tampered at the first that doesn't fit; its fact `seq` is the number that was expected there.
    """
    for link in links:
        expected = head.seq + 1
        if link.seq != expected:
            raise _broken(expected, "an entry is missing or out of its place")
        if link.prev != b64u(head.hash):
            raise _broken(expected, "an entry doesn't follow the one before it")
        hash_ = entry_hash(head.hash, link.entry.encode("utf-8", "surrogatepass"))
        if link.hash != b64u(hash_):
            raise _broken(expected, "an entry was changed after it was written")
        head = Head(expected, hash_)
    return head


def _broken(seq: int, detail: str) -> Tampered:
    return Tampered("audit_broken", detail, "treat the manager's audit as changed from this entry on", seq=seq)
