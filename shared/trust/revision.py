"""What one revision of a document may change in the revision before it."""

from __future__ import annotations

from collections.abc import Mapping

from shared.documents.connector import ConnectorDocument
from shared.documents.fields import Revisioned
from shared.documents.grant import GrantDocument
from shared.documents.group import GroupDocument
from shared.documents.jws import Verified
from shared.documents.keyring import KeyringDocument
from shared.documents.order import OrderDocument
from shared.documents.scope import ScopeDocument
from shared.documents.secret import SecretDocument
from shared.documents.template import TemplateDocument
from shared.errors import Conflict, Malformed, Tampered

_FIXED: Mapping[type[Revisioned], tuple[str, ...]] = {
    ConnectorDocument: ("scope", "identifier", "type", "keyring"),
    ScopeDocument: ("scope", "identifier"),
    SecretDocument: ("scope", "identifier", "type", "connector"),
    TemplateDocument: ("scope", "identifier", "version", "content"),
}
"""What makes a thing what it is."""


def id_of(document: Revisioned) -> str:
    """What makes two documents of a kind revisions of one thing."""
    return str(getattr(document, "id", ""))


def scope_of(document: Revisioned) -> str:
    """The scope that vouches for the thing for good; empty for what belongs to the account, and for grants.

    An id stays in the scope where it was first seen, so that somebody who may edit one scope can neither revise nor
    replace what lives in another by reusing its id. An order is vouched for by its owner, as a secret by its scope.
    """
    if isinstance(document, OrderDocument):
        return document.owner
    return "" if isinstance(document, GrantDocument) else str(getattr(document, "scope", ""))


def name_of(document: Revisioned) -> str:
    """Scope and id as one text, for a party that keeps what it has seen."""
    return id_of(document) if isinstance(document, GrantDocument) else f"{scope_of(document)}:{id_of(document)}"


def check_first(kind: str, document: Revisioned) -> None:
    """Exactly the first revision has no `prev`. Raises Malformed."""
    if (document.rev == 1) != (document.prev is None):
        raise Malformed("revision_malformed", f"the {kind} document's revision doesn't fit its prev")


def check_order(kind: str, document: Revisioned, newest: tuple[int, str]) -> None:
    """`document` comes after `newest`, a (revision, digest). Raises Conflict when older, Tampered for a fork."""
    rev, sha256 = newest
    if document.rev < rev:
        raise Conflict("revision_stale", f"the {kind} document is older than one that was seen before")
    if document.rev == rev or (document.rev == rev + 1 and document.prev != sha256):
        raise Tampered("revision_forked", f"there are two {kind} documents with one revision")


def check_change(new: Verified[Revisioned], old: Verified[Revisioned]) -> None:
    """What never changes hasn't changed. Raises Conflict, naming the field."""
    after, before = new.document, old.document
    # Only who stands where the grantor stood may revise his grant: the same grantor, or an administrator.
    if (
        isinstance(after, GrantDocument)
        and isinstance(before, GrantDocument)
        and (after.principal.key != before.principal.key or after.parent not in {before.parent, None})
    ):
        raise Conflict("field_immutable", "the grant's principal or parent can't change", "make a new grant")
    if isinstance(after, KeyringDocument) and isinstance(before, KeyringDocument) and after.gen < before.gen:
        raise Conflict("field_immutable", "a keyring's generation can't go back", "rotate it: privyseal keyring rotate")
    for field in _FIXED.get(type(after), ()):
        if getattr(after, field) != getattr(before, field):
            detail, hint = f"the {new.kind}'s {field} can't change", f"delete the {new.kind} and make a new one"
            raise Conflict("field_immutable", detail, hint)
    # A group is its name, which somebody may use again; everything else has an id of its own.
    if getattr(before, "deleted", False) and not isinstance(before, GroupDocument):
        raise Conflict("document_deleted", f"the {new.kind} was deleted", "make a new one")
