"""Unsigned next revisions: what the next status, grant, secret, connector or scope document says.

Pure: the book, the time and randomness are arguments. Each function carries over what it isn't told to change. Must not
sign and must not send; `publish` does.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from msgspec import structs

from shared.documents.connector import BUILT_IN, ConnectorDocument
from shared.documents.fields import Permission, Revisioned
from shared.documents.grant import DAY, LONGEST_SECONDS, PERMISSIONS, GrantDocument, Principal
from shared.documents.jws import Verified
from shared.documents.secret import SecretDocument
from shared.documents.status import DEFAULT_SECONDS, StatusDocument
from shared.documents.usage import Usage, lies_within
from shared.errors import Denied, Malformed
from shared.names import ACCOUNT_SCOPE, Scope, check_name, opaque_id
from shared.trust.authority import Authority

D = TypeVar("D", bound=Revisioned)


def new_id() -> str:
    """A fresh random id for a document."""
    return opaque_id(os.urandom(16))


def next_revision(old: Verified[D], now: int, **changes: object) -> D:
    """The revision after `old`."""
    document = old.document
    return structs.replace(document, rev=document.rev + 1, prev=old.digest, iat=now, **changes)


def first_status(account: str, now: int) -> StatusDocument:
    """A new account's."""
    return StatusDocument(v=1, acct=account, id="status", rev=1, iat=now, exp=now + DEFAULT_SECONDS)


def next_status(
    old: Verified[StatusDocument],
    now: int,
    *,
    seconds: int | None = None,
    grants: Iterable[str] = (),
    keys: Iterable[str] = (),
    secrets: Mapping[str, int] | None = None,
    keyrings: Mapping[str, int] | None = None,
    groups: Mapping[str, int] | None = None,
) -> StatusDocument:
    """An administrator's: everything carried over, revoked `grants` and `keys` added, floors only raised.

    `seconds` is how long it lasts, by default as long as the one before.
    """
    before = old.document
    lasting = seconds if seconds is not None else before.exp - before.iat
    return next_revision(
        old,
        now,
        exp=now + lasting,
        base=None,
        grants=tuple(sorted({*before.grants, *grants})),
        keys=tuple(sorted({*before.keys, *keys})),
        secrets=_raised(before.secrets, secrets or {}),
        keyrings=_raised(before.keyrings, keyrings or {}),
        groups=_raised(before.groups, groups or {}),
    )


def renewed_status(old: Verified[StatusDocument], now: int, seconds: int | None = None) -> StatusDocument:
    """One that only lasts longer, for a principal with `renew`."""
    lasting = seconds if seconds is not None else old.document.exp - old.document.iat
    return next_revision(old, now, exp=now + lasting, base=old.document.base or old.digest)


def _raised(before: Mapping[str, int], floors: Mapping[str, int]) -> dict[str, int]:
    return {name: max(before.get(name, 1), floors.get(name, 1)) for name in {**before, **floors}}


def new_grant(
    account: str,
    principal: Principal,
    permissions: Iterable[Permission],
    scope: Scope,
    resource: str | None,
    parent: str | None,
    days: int | None,
    now: int,
    until: int | None = None,
    usage: Usage | None = None,
) -> GrantDocument:
    """A grant for `days`, by default and at most as long as the principal's type allows, and never beyond `until`.

    `usage` narrows it to tasks that state that.

    Raises Malformed for no or too many days.
    """
    longest = LONGEST_SECONDS[principal.type] // DAY
    if days is not None and not 1 <= days <= longest:
        raise Malformed(
            "days_out_of_range",
            f"a grant to a {principal.type} lasts 1 to {longest} days",
            "give fewer, and renew it in time",
        )
    exp = now + (days or longest) * DAY
    given = set(permissions)
    return GrantDocument(
        v=1,
        acct=account,
        id=new_id(),
        rev=1,
        iat=now,
        principal=principal,
        permissions=tuple(one for one in PERMISSIONS if one in given),
        scope=str(scope),
        resource=resource,
        parent=parent,
        usage=usage,
        exp=exp if until is None else min(exp, until),
    )


def parent_of(
    authority: Authority,
    kid: str,
    permissions: Iterable[Permission],
    scope: Scope,
    resource: str | None,
    now: int,
    usage: Usage | None = None,
) -> tuple[str | None, int | None]:
    """(id of the grantor's own grant, when it ends); (None, None) for an administrator. Raises Denied.

    One grant must carry `admin` and all that is given, for as much `usage`.
    """
    chain = authority.chain(kid, "admin", scope, resource, now, "any" if usage else None)
    if not chain.grants:
        return None, None
    own = chain.grants[0].document
    if not lies_within(usage, own.usage):
        raise Denied(
            "grant_exceeds", "your own grant is for other applications or environments", "give no more than you hold"
        )
    lacking = sorted(set(permissions) - set(own.permissions))
    if lacking:
        raise Denied(
            "grant_exceeds", f"you don't hold {', '.join(lacking)} there yourself", "ask an administrator to grant it"
        )
    return own.id, own.exp


def changed_fields(
    document: SecretDocument, name: str | None, description: str | None, tags: Mapping[str, str] | None, filename: str
) -> dict[str, Any]:
    """The fields of a secret that differ from what is asked for."""
    asked: dict[str, Any] = {
        "name": check_name(name, "name") if name else None,
        "description": description,
        "tags": None if tags is None else dict(tags),
        "filename": filename if filename and document.type == "SecretFile" else None,
    }
    return {field: value for field, value in asked.items() if value is not None and value != getattr(document, field)}


def moved_fields(document: SecretDocument, refers_to: str, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """What a secret's version is bound to, where it differs from what is asked for."""
    asked: dict[str, Any] = {"reference": refers_to, **({} if metadata is None else {"metadata": dict(metadata)})}
    return {field: value for field, value in asked.items() if value != getattr(document, field)}


def built_in_connector(account: str, keyring: str, now: int) -> ConnectorDocument:
    """The built-in secret manager's connector."""
    return ConnectorDocument(
        v=1,
        acct=account,
        id=new_id(),
        rev=1,
        iat=now,
        scope=str(ACCOUNT_SCOPE),
        identifier=BUILT_IN,
        name="Built-in secret manager",
        type="Local",
        keyring=keyring,
    )
