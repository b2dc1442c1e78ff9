"""The account's own chain of documents: from the id that everybody knows to the newest roots and administrators."""

from __future__ import annotations

from shared.canonical import lp, unb64u
from shared.documents.account import AccountDocument, account_id
from shared.documents.jws import Unverified, Verified, VerifyingKey, thumbprint
from shared.errors import Conflict, NotReady, Tampered
from shared.labels import ROOT_CONSENT


def consent_message(document: AccountDocument, key: str) -> bytes:
    """What a root key that `document` adds signs itself: its own joining of exactly this revision."""
    return lp(
        ROOT_CONSENT,
        document.acct.encode(),
        document.rev.to_bytes(8, "big"),
        (document.prev or "").encode(),
        key.encode(),
    )


def accept_account(
    new: Unverified[AccountDocument], current: Verified[AccountDocument] | None, account: str
) -> Verified[AccountDocument]:
    """`new` as the account's document after `current` (None: as its first).

    Raises Tampered for a document that the chain doesn't carry and for a second one with one revision, Conflict for an
    older one, NotReady where one between the two is missing.
    """
    document = new.document
    if document.acct != account:
        raise Tampered("account_foreign", "the account document belongs to another account")
    if current is None:
        if document.rev != 1:
            raise NotReady(
                "account_documents_missing", "the first account document is missing", "send all of them in order"
            )
        if account_id(document) != account:
            raise Tampered("account_forged", "the first account document doesn't make the account id that it claims")
        return _verified(new, document.roots)
    if document.rev < current.document.rev:
        raise Conflict("revision_stale", "the account document is older than the newest known one")
    if document.rev == current.document.rev:
        raise Tampered("revision_forked", "there are two account documents with one revision")
    if document.rev != current.document.rev + 1:
        raise NotReady(
            "account_documents_missing", "an account document in between is missing", "send all of them in order"
        )
    if document.prev != current.digest:
        raise Tampered("revision_forked", "the account document continues another one than the newest known")
    # (1) an old root signs the whole, (2) each new root consents itself: neither alone can take over the account.
    verified = _verified(new, current.document.roots)
    for key in document.roots:
        if key not in current.document.roots:
            if key not in document.consents:
                raise Tampered("root_consent_missing", "the account document adds a root key that doesn't consent")
            VerifyingKey.of(key).verify(unb64u(document.consents[key], 64), consent_message(document, key))
    return verified


def _verified(new: Unverified[AccountDocument], roots: tuple[str, ...]) -> Verified[AccountDocument]:
    for key in roots:
        if thumbprint(key) == new.kid:
            return new.verified_by(VerifyingKey.of(key))
    raise Tampered("signer_unknown", "the account document is signed by no root key of the account")
