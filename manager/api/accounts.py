"""Accounts and what they stand on: creation with a one-time token, and the documents that every party begins with."""

from __future__ import annotations

from typing import cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from manager.api.endpoint import Endpoint, answer, authenticated, read, services
from manager.books import row_of
from manager.rows import AccountRow
from manager.transaction import token_refused
from shared.canonical import b64u, sha256
from shared.documents.account import AccountDocument, account_id
from shared.documents.jws import parse_as
from shared.errors import Malformed, Unauthenticated
from shared.trust.book import Book

MOST_TOKEN_CHARACTERS = 128


class Compacts(msgspec.Struct, forbid_unknown_fields=True):
    """Signed documents in compact form."""

    documents: list[str]


class Created(msgspec.Struct):
    """The account that was made."""

    account: str


def token_hash(token: str) -> str:
    """What the store keeps of a one-time token."""
    return b64u(sha256(token.encode()))


async def create(request: Request) -> Response:
    """Makes an account from its first documents; the id follows from them, the token only lets it be made."""
    parts = services(request)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "token" or not 0 < len(token) <= MOST_TOKEN_CHARACTERS:
        raise Unauthenticated("token_missing", "the request carries no one-time token", "privyseal-manager account add")
    # Before anything of a stranger's is read or verified.
    if not await parts.store.token_is_good(token_hash(token), parts.clock.now()):
        raise token_refused()
    sent = await read(request, Compacts)
    if not sent.documents:
        raise Malformed("documents_missing", "the first account document is missing")
    first = parse_as(AccountDocument, sent.documents[0]).document
    account = account_id(first)
    if first.acct != account:
        raise Malformed("account_malformed", "the account document doesn't make the id that it claims")
    _, documents = parts.books.try_documents(Book(account), sent.documents)
    kinds = {one.kind for one in documents}
    if not {"account", "status", "keyring"} <= kinds:
        raise Malformed("documents_missing", "an account begins with its account, status and keyring documents")
    now = parts.clock.now()
    entry: dict[str, str | int] = {
        "at": now,
        "op": "account.create",
        "principal": documents[0].kid,
        "digest": documents[0].digest,
        "count": len(documents),
    }
    row = AccountRow(account=account, created=now, name=cast(AccountDocument, documents[0].document).name)
    await parts.store.create_account(token_hash(token), row, [row_of(one) for one in documents], [entry])
    return answer(Created(account), 201)


async def trust(request: Request) -> Response:
    """Account, status, keyrings and grants. Whoever may call may have them: they are what he checks everybody by."""
    parts, book, _ = await authenticated(request)
    found = await parts.books.trust(book.id)
    tag = f'"{found.tag}"'
    headers = {"ETag": tag, "Privyseal-Time": str(parts.clock.now()), "Cache-Control": "no-store"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return answer(Compacts(list(found.documents)), headers=headers)


ENDPOINTS = (
    Endpoint("POST", "/v1/accounts", create, "Make an account", Compacts, Created, 201, public=True),
    Endpoint("GET", "/v1/accounts/{account}/trust", trust, "What the account stands on", gives=Compacts),
)
