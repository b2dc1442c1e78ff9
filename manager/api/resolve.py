"""Resolving: what references mean now, with everything that a task about it has to name.

A connector comes with the secrets that it names, those with their connectors, and so on: whoever may use a connector learns
which secrets it stands on (documents and version numbers, never a value), since his task has to pin them. Not those that the
connector's signer may not use, nor connectors and templates of scopes that don't cover what names them: no task may have
those, and naming them must not show them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from manager.api.endpoint import Endpoint, answer, authenticated, read
from manager.books import Books
from manager.policy import may_see, may_see_row
from manager.records import SMALL_BYTES
from manager.rows import StoredDocument
from manager.store import Store
from shared.documents.connector import ConnectorDocument
from shared.documents.fields import Revisioned
from shared.documents.jws import parse_as
from shared.documents.secret import SecretDocument
from shared.documents.task import MOST_CREDENTIALS
from shared.errors import Conflict, Denied, Malformed
from shared.names import Reference, Scope, check_identifier, is_opaque
from shared.trust.book import Book
from shared.trust.credentials import LONGEST_CHAIN

D = TypeVar("D", bound=Revisioned)


class Place(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A thing by scope and identifier, or (a connector) by its id."""

    scope: str = ""
    identifier: str = ""
    id: str = ""


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """What to find; at most 1,000 of each."""

    secrets: list[Place] = []
    connectors: list[Place] = []


class Newest(msgspec.Struct):
    """The newest version of a secret: its number and the digest of its store task."""

    n: int
    digest: str


class Found(msgspec.Struct):
    """Secret and connector documents, the newest version by secret id, and what isn't there (or isn't yours to see)."""

    documents: list[str]
    latest: dict[str, Newest]
    missing: list[Place]


async def resolve(request: Request) -> Response:
    """What references mean now."""
    parts, book, caller = await authenticated(request)
    wanted = await read(request, Wanted)
    if len(wanted.secrets) > 1000 or len(wanted.connectors) > 1000:
        raise Malformed("too_many", "the request names more than 1,000 things", "ask in several requests")
    for one in wanted.secrets:
        _check_place(one)
    for one in wanted.connectors:
        _check_place(one)
    now, missing = parts.clock.now(), []
    found: dict[str, StoredDocument] = {}
    secrets = await parts.store.by_names(book.id, "secret", [(one.scope, one.identifier) for one in wanted.secrets])
    for place in wanted.secrets:
        row = secrets.get((place.scope, place.identifier))
        if row is None or not may_see(book.authority, caller.kid, row.scope, row.id, now):
            missing.append(place)
        else:
            found[row.id] = row
    uses = ((_document(book, row, SecretDocument).connector, row.scope) for row in found.values())
    connectors = await _lent(parts.store, book, "connector", uses, caller.kid, now)
    ids = {one.id for one in wanted.connectors if one.id} - set(connectors)
    asked = await parts.store.heads(book.id, "connector", list(ids))
    named = await parts.store.by_names(
        book.id, "connector", [(one.scope, one.identifier) for one in wanted.connectors if not one.id]
    )
    for place in wanted.connectors:
        by_id = connectors.get(place.id) or asked.get(place.id)
        connector = by_id if place.id else named.get((place.scope, place.identifier))
        if connector is None or not (
            connector.id in connectors or may_see_row(book.authority, caller.kid, connector, now)
        ):
            missing.append(place)
        else:
            connectors[connector.id] = connector
    await _add_credentials(parts.store, book, connectors, found, caller.kid, now)
    runs = ((_document(book, row, ConnectorDocument).template, row.scope) for row in connectors.values())
    needed = ((one.id, scope) for one, scope in runs if one is not None)
    templates = (await _lent(parts.store, book, "template", needed, caller.kid, now)).values()
    latest = await parts.store.latest_many(book.id, list(found), SMALL_BYTES)
    compacts = [row.compact for row in (*connectors.values(), *templates, *found.values())]
    return answer(Found(compacts, {id: Newest(row.n, row.digest) for id, row in latest.items()}, missing))


async def _add_credentials(
    store: Store,
    book: Book,
    connectors: dict[str, StoredDocument],
    secrets: dict[str, StoredDocument],
    kid: str,
    now: int,
) -> None:
    """Adds the secrets that the connectors name, and their connectors, as deep as a task may go."""
    fresh: list[StoredDocument] = [*connectors.values(), *secrets.values()]
    # What an SSHKey names is one step further than what its connector names.
    for _ in range(2 * LONGEST_CHAIN):
        users: dict[tuple[str, str], set[str]] = {}
        for row in fresh:
            thing = _named(book, row)
            for place in (Reference.parse(one, Scope.parse(thing.scope)) for one in thing.secrets):
                users.setdefault((str(place.scope), place.identifier), set()).add(row.signer)
        if not users or len(secrets) > MOST_CREDENTIALS + 1000:
            return
        rows = {
            row.id: row
            for row in (await store.by_names(book.id, "secret", list(users))).values()
            if may_see(book.authority, kid, row.scope, row.id, now)
            or any(_may_use(book, signer, row, now) for signer in users[row.scope, row.identifier])
        }
        secrets |= rows
        uses = ((_document(book, row, SecretDocument).connector, row.scope) for row in rows.values())
        holders = await _lent(store, book, "connector", (one for one in uses if one[0] not in connectors), kid, now)
        connectors |= holders
        fresh = [*holders.values(), *rows.values()]


def _named(book: Book, row: StoredDocument) -> ConnectorDocument | SecretDocument:
    """What names secrets."""
    if row.kind == "connector":
        return _document(book, row, ConnectorDocument)
    return _document(book, row, SecretDocument)


async def _lent(
    store: Store, book: Book, kind: str, uses: Iterable[tuple[str, str]], kid: str, now: int
) -> dict[str, StoredDocument]:
    """Connectors or templates by their ids, with the scopes of what names them: those that lie there or above.

    No task may have another one, and naming it must not show it to who may not see it anyway.
    """
    scopes: dict[str, set[str]] = {}
    for id, scope in uses:
        scopes.setdefault(id, set()).add(scope)
    return {
        id: row
        for id, row in (await store.heads(book.id, kind, sorted(scopes))).items()
        if any(Scope.parse(row.scope).covers(Scope.parse(one)) for one in scopes[id])
        or may_see_row(book.authority, kid, row, now)
    }


def _may_use(book: Book, signer: str, secret: StoredDocument, now: int) -> bool:
    """As the warrant has it of a connector's signer."""
    try:
        book.authority.chain(signer, "use", Scope.parse(secret.scope), secret.id, now)
    except Denied:
        return False
    return True


def _check_place(place: Place) -> None:
    if place.id and not is_opaque(place.id):
        raise Malformed("id_malformed", "the id of a thing is malformed", "an id is 26 characters, a to z and 2 to 7")
    if not place.id:
        Scope.parse(place.scope)
        check_identifier(place.identifier, "identifier")


def _document(book: Book, row: StoredDocument, cls: type[D]) -> D:
    """What a row says. A task will pin it soon, so that the book takes it at once."""
    try:
        known = Books.recall(book, row).document
    except Conflict:
        # A newer revision was published meanwhile.
        known = parse_as(cls, row.compact).document
    assert isinstance(known, cls)
    return known


ENDPOINTS = (Endpoint("POST", "/v1/accounts/{account}/resolve", resolve, "What references mean now", Wanted, Found),)
