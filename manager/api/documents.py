"""Signed documents: publishing, listing, and a secret's versions."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from manager.api.accounts import Compacts
from manager.api.endpoint import Endpoint, after_number, answer, authenticated, page_limit, read
from manager.books import row_of
from manager.history import publishing
from manager.policy import LENT, OF_ALL, connector_sight, may_see_row, must_see, not_found, sight
from manager.rows import Sight
from manager.store import Transaction
from shared.documents.jws import peek_kind
from shared.documents.secret import SecretDocument
from shared.errors import Denied, Malformed, Tampered, Unauthenticated
from shared.names import Scope, check_identifier, check_version_label, is_opaque
from shared.trust.authority import Authority

LISTED = frozenset({"connector", "grant", "group", "keyring", "scope", "secret", "template"})
_PUSHED = frozenset({"account", "group", "keyring", "status"})


class Digests(msgspec.Struct):
    """Digests of what was published, in the order in which it was sent."""

    digests: list[str]


class Listing(msgspec.Struct):
    """A page of documents; ask for the following one with `after=next`."""

    documents: list[str]
    next: str | None = None


class VersionRow(msgspec.Struct):
    """One version: `task` is the signed store task, `size` the record's bytes."""

    n: int
    digest: str
    task: str
    stored_at: int
    delegate: str
    size: int
    deleted_at: int | None


class Versions(msgspec.Struct):
    """A page of versions, oldest first."""

    versions: list[VersionRow]
    next: str | None = None


async def publish(request: Request) -> Response:
    """All of them or none."""
    parts, book, caller = await authenticated(request)
    sent = await read(request, Compacts)
    if any(peek_kind(one) == "order" for one in sent.documents):
        raise Malformed(
            "documents_unexpected", "an order goes by itself, with the input of its runs", "send it to orders"
        )
    now = parts.clock.now()
    try:
        _, documents = await parts.books.examine(book, sent.documents)
    except (Denied, Tampered, Unauthenticated) as why:
        entry: dict[str, str | int] = {"at": now, "op": "document.refused", "principal": caller.kid, "code": why.code}
        await parts.store.audit(book.id, [entry])
        raise

    def run(transaction: Transaction) -> None:
        transaction.publish(book.id, [row_of(one) for one in documents])
        for one in documents:
            if isinstance(one.document, SecretDocument) and one.document.deleted:
                transaction.delete_versions(book.id, one.document.id, now)

    entries = [publishing(one, caller.kid, now) for one in documents]
    await parts.store.write(run, account=book.id, audit=entries, size=sum(map(len, sent.documents)))
    parts.books.take(book.id, documents)
    await parts.streams.push(book.id, [one.compact for one in documents if one.kind in _PUSHED])
    parts.dispatcher.probes.revised(book, documents)
    return answer(Digests([one.digest for one in documents]))


async def listing(request: Request) -> Response:
    """Heads of one kind at a scope, or at it and below; what the caller can't see is left out."""
    parts, book, caller = await authenticated(request)
    kind = request.path_params["kind"]
    if kind not in LISTED:
        raise not_found("kind")
    query = request.query_params
    scope = str(Scope.parse(query.get("scope", "account")))
    if kind in OF_ALL:
        scope = "" if query.get("below") or kind != "grant" else scope
    identifier, now = query.get("identifier", ""), parts.clock.now()
    if identifier:
        row = await parts.store.by_name(book.id, kind, scope, _checked(kind, identifier))
        rows, following = ([row] if row else []), ""
    else:
        page = await parts.store.documents(
            book.id,
            kind,
            scope,
            below=bool(query.get("below")),
            after=query.get("after", ""),
            limit=page_limit(request),
            sight=_sight(kind, book.authority, caller.kid, Scope.parse(scope or "account"), now),
        )
        rows, following = page.items, page.next
    mine = [one.compact for one in rows if may_see_row(book.authority, caller.kid, one, now)]
    return answer(Listing(mine, following or None))


def _sight(kind: str, authority: Authority, kid: str, within: Scope, now: int) -> Sight | None:
    if kind in OF_ALL:
        return None
    return (connector_sight if kind in LENT else sight)(authority, kid, within, now)


def _checked(kind: str, identifier: str) -> str:
    """A template's name has its version label in it: NAME@LABEL."""
    if kind != "template":
        return check_identifier(identifier, "identifier")
    name, _, label = identifier.partition("@")
    return f"{check_identifier(name, 'identifier')}@{check_version_label(label)}"


async def versions(request: Request) -> Response:
    """A secret's versions, oldest first, without what they hold."""
    parts, book, caller = await authenticated(request)
    secret = request.path_params["secret"]
    # What no id can be is not asked for: PostgreSQL takes some characters for a failure of its own.
    row = await parts.store.head(book.id, "secret", secret) if is_opaque(secret) else None
    if row is None:
        raise not_found("secret")
    must_see(book.authority, caller.kid, row.scope, row.id, "secret", parts.clock.now())
    limit = page_limit(request)
    rows = await parts.store.versions(book.id, secret, after_number(request), limit)
    shown = [
        VersionRow(one.n, one.digest, one.compact, one.stored_at, one.delegate, one.size, one.deleted_at)
        for one in rows
    ]
    return answer(Versions(shown, str(rows[-1].n) if len(rows) == limit else None))


_PAGE = (("after", "where to go on: `next` of the page before"), ("limit", "how many at most, 1 to 500"))

ENDPOINTS = (
    Endpoint("POST", "/v1/accounts/{account}/documents", publish, "Publish signed documents", Compacts, Digests),
    Endpoint(
        "GET",
        "/v1/accounts/{account}/documents/{kind}",
        listing,
        "List documents of a kind",
        gives=Listing,
        query=(
            ("scope", "account, org/ORG or org/ORG/project/PROJECT"),
            ("below", "1: also below the scope"),
            ("identifier", "one"),
            *_PAGE,
        ),
    ),
    Endpoint(
        "GET",
        "/v1/accounts/{account}/secrets/{secret}/versions",
        versions,
        "A secret's versions",
        gives=Versions,
        query=_PAGE,
    ),
)
