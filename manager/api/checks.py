"""Connectors' tests as clients see them: each delegate's newest one, signed, with the certificate that vouches for it."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from manager.api.endpoint import Endpoint, answer, authenticated, page_limit
from manager.policy import connector_sight
from manager.rows import CheckRow
from manager.services import Services
from shared.errors import Malformed
from shared.names import Scope, is_opaque


class Check(msgspec.Struct):
    """A checked document, and the certificate of the delegate that signed it.

    `until` is when it stops to count in choosing that delegate (seconds since 1970); null where it doesn't.
    """

    document: str
    certificate: str
    until: int | None = None


class CheckPage(msgspec.Struct):
    """A page of tests, by connector and delegate; ask for the following one with `after=next`."""

    checks: list[Check]
    next: str | None = None


async def listing(request: Request) -> Response:
    """The newest tests of connectors that the caller may use."""
    parts, book, caller = await authenticated(request)
    query = request.query_params
    scope, connector = Scope.parse(query.get("scope", "account")), query.get("connector", "")
    if connector and not is_opaque(connector):
        raise Malformed("id_malformed", "the id of a thing is malformed", "an id is 26 characters, a to z and 2 to 7")
    await parts.store.settled(book.id)
    page = await parts.store.checks(
        book.id,
        str(scope),
        connector=connector,
        below=bool(query.get("below")),
        after=query.get("after", ""),
        limit=page_limit(request),
        sight=connector_sight(book.authority, caller.kid, scope, parts.clock.now()),
    )
    return answer(
        CheckPage(
            [Check(one.compact, one.certificate, _until(parts, book.id, one)) for one in page.items], page.next or None
        )
    )


def _until(parts: Services, account: str, row: CheckRow) -> int | None:
    delegate = parts.fleet.find(account, row.delegate)
    probed = delegate.probed.get(row.revision) if delegate is not None else None
    return probed.until if probed is not None else None


ENDPOINTS = (
    Endpoint(
        "GET",
        "/v1/accounts/{account}/checks",
        listing,
        "What delegates' tests of connectors came to",
        gives=CheckPage,
        query=(
            ("scope", "account, org/ORG or org/ORG/project/PROJECT"),
            ("below", "1: also below the scope"),
            ("connector", "the id of one"),
            ("after", "`next` of the page before"),
            ("limit", "how many at most, 1 to 500"),
        ),
    ),
)
