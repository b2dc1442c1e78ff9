"""Versions of a secret: each is its own store task, so its number and its signer can be read from what was signed.

Promises: a version that the manager lists is checked against the task that made it. When it was stored, and where, is the
manager's word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from client.account import Account, Pages, page_of
from client.directory import Known
from shared.canonical import digest as digest_of
from shared.documents.fields import Count, Digest, Number, Seconds
from shared.documents.jws import parse_as
from shared.documents.secret import SecretDocument
from shared.documents.task import TaskDocument
from shared.errors import Malformed, NotFound, Tampered

PAGE = 200


class Version(msgspec.Struct, frozen=True):
    """`size` is the record's, in bytes; `signer` the thumbprint of who stored it."""

    n: Number
    digest: Digest
    task: str
    stored_at: Seconds = 0
    delegate: str = ""
    size: Count = 0
    deleted_at: Seconds | None = None
    signer: str = ""


async def versions_of(account: Account, known: Known) -> list[Version]:
    """All versions, oldest first. Raises Tampered for one that isn't what its task says."""
    found: list[Version] = []
    after: str | None = ""
    pages = Pages()
    while after is not None:
        query: dict[str, str | int] = {"limit": PAGE, **({"after": after} if after else {})}
        reply = await account.ask("GET", f"secrets/{known.secret.document.id}/versions", query=query)
        page, after = page_of(reply, "versions")
        after = pages.go_on(after)
        found += [_checked(one, known.secret.document) for one in page]
    return sorted(found, key=lambda one: one.n)


async def version_of(account: Account, known: Known, n: int) -> Version:
    """One version. Raises NotFound."""
    found = next((one for one in await versions_of(account, known) if one.n == n), None)
    if found is None:
        raise NotFound("version_unknown", f"there is no version {n} of the secret", "privyseal secret versions")
    return found


def _checked(told: Mapping[str, Any], secret: SecretDocument) -> Version:
    try:
        version = msgspec.convert({**told, "signer": ""}, Version)
    except msgspec.ValidationError:
        raise Malformed(
            "manager_faulty", "the manager shows a version in a form that is none", "update the manager or this client"
        ) from None
    task = parse_as(TaskDocument, version.task)
    stored = any((one.secret, one.n) == (secret.id, version.n) for one in task.document.targets)
    if task.document.op != "store" or not stored or digest_of(version.task) != version.digest:
        raise Tampered("version_forged", f"the manager shows another task as version {version.n} of the secret")
    return msgspec.structs.replace(version, signer=task.kid)
