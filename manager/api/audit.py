"""The audit chain, for who administers the account."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from manager.api.endpoint import Endpoint, after_number, answer, authenticated, page_limit
from manager.policy import must_administer


class Entry(msgspec.Struct):
    """One link: hash = SHA-256 over the hash before it and `entry` (docs/formats.md)."""

    seq: int
    prev: str
    hash: str
    entry: str


class Chain(msgspec.Struct):
    """Links in order."""

    entries: list[Entry]
    next: str | None = None


async def listing(request: Request) -> Response:
    """Links above `after`, in order."""
    parts, book, caller = await authenticated(request)
    must_administer(book.authority, caller.kid, parts.clock.now())
    limit = page_limit(request)
    await parts.tasks.settled(book.id)
    rows = await parts.store.audit_page(book.id, after_number(request), limit)
    entries = [Entry(one.seq, one.prev, one.hash, one.entry) for one in rows]
    return answer(Chain(entries, str(rows[-1].seq) if len(rows) == limit else None))


ENDPOINTS = (
    Endpoint(
        "GET",
        "/v1/accounts/{account}/audit",
        listing,
        "The audit chain",
        gives=Chain,
        query=(("after", "the number of the last link that you have"), ("limit", "1 to 500")),
    ),  # fmt: skip
)
