"""Status documents: taking a new one, and insisting on a live one."""

from __future__ import annotations

from shared.documents.jws import Verified
from shared.documents.status import LONGEST_SECONDS, StatusDocument
from shared.errors import Conflict, Denied, NotReady, Tampered
from shared.names import ACCOUNT_SCOPE
from shared.trust.authority import SKEW_SECONDS, Authority

MOST_RENEWALS = 100_000
"""Serials that renewals may use up, so that nobody with `renew` alone can take the last one and end all revoking."""


def accept_status(
    new: Verified[StatusDocument],
    current: Verified[StatusDocument] | None,
    base: Verified[StatusDocument] | None,
    authority: Authority,
    now: int,
) -> None:
    """Whether `new` may follow `current`; `base` is the document that `new` names as the one it re-signs.

    Raises Conflict for a lower serial, Tampered for two with one serial, a break in the chain, or a renewal that changes
    anything, Denied for a signer without the right, NotReady without the base.
    """
    document = new.document
    if current is not None:
        if document.rev < current.document.rev:
            raise Conflict("status_rolled_back", "the status is older than one that was seen before")
        if document.rev == current.document.rev and new.digest != current.digest:
            raise Tampered("status_forked", "there are two status documents with one serial")
        if document.rev == current.document.rev + 1 and document.prev != current.digest:
            raise Tampered("status_forked", "the status continues another one than the newest known")
    if document.exp - document.iat > LONGEST_SECONDS or document.iat > now + SKEW_SECONDS:
        raise Denied("status_too_long", "the status begins in the future or lasts longer than it may")
    if document.base is None:
        if not authority.is_administrator(new.kid):
            raise Denied("status_unfounded", "the status is signed by nobody who is an administrator now")
        return
    authority.chain(new.kid, "renew", ACCOUNT_SCOPE, None, now)
    if base is None or base.digest != document.base:
        raise NotReady("status_base_missing", "the status that this one renews is missing")
    if document.rev - base.document.rev > MOST_RENEWALS:
        raise Denied(
            "status_too_far", "the status renews another one with a serial that leaves too few to administrators"
        )
    if base.document.base is not None or not authority.is_administrator(base.kid):
        raise Denied("status_unfounded", "the status renews one that no administrator signed")
    if current is not None and document.base != (current.document.base or current.digest):
        raise Tampered(
            "status_rolled_back", "the status renews another one than the newest that an administrator signed"
        )
    if contents(document) != contents(base.document):
        raise Tampered("status_changed", "the status changes what it may only renew")


def contents(document: StatusDocument) -> tuple[object, ...]:
    """What a renewal must leave as it is."""
    return document.grants, document.keys, document.secrets, document.keyrings, document.groups


def live(status: Verified[StatusDocument] | None, now: int) -> Verified[StatusDocument]:
    """The status, if there is one that hasn't expired. Raises NotReady."""
    if status is None:
        raise NotReady("status_missing", "no status document has arrived yet")
    if status.document.exp <= now:
        raise NotReady(
            "status_expired", "the account's status has expired", "an administrator renews it: privyseal status renew"
        )
    return status
