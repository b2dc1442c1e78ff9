"""Placement: which keyring a connector belongs to, by who is to do its work (`executeOnDelegate`), and what of it never moves.

Promises: what the platform does belongs to a keyring of the platform and everything else never does, as delegates judge it
too; what decides where values lie, and that no version names, doesn't change. Pure: it reads the book.
"""

from __future__ import annotations

from client.descriptions import Description
from shared.documents.connector import ConnectorDocument
from shared.errors import Malformed
from shared.trust.book import Book

IMMUTABLE = ("type", "keyring")
FIXED = {"Vault": {"secretEngineName": "secret"}}
"""Fields of a kind's `spec` with their defaults, all of them paths: values would be left behind, unread and undeleted."""


def check_unchanged(wanted: Description, old: ConnectorDocument) -> None:
    """Whether a description leaves alone what never changes of a connector. Raises Malformed."""
    for field in IMMUTABLE:
        given = getattr(wanted, field)
        if given is not None and given != getattr(old, field):
            raise _immutable(wanted, field, str(getattr(old, field)))
    for field, default in FIXED.get(old.type, {}).items():
        before, now = (str(spec.get(field) or default) for spec in (old.spec, wanted.spec))
        if before.strip("/") != now.strip("/"):
            raise _immutable(wanted, f"spec.{field}", before)


def _immutable(wanted: Description, path: str, before: str) -> Malformed:
    return wanted.refused(
        path,
        f"the connector's {path.rpartition('.')[2]} can't change: it is {before}",
        "delete the connector and make a new one, or give it another identifier",
        code="field_immutable",
    )


def usual_keyring(book: Book, *, runs_on_delegate: bool, own: str) -> str:
    """The keyring of connectors that name none: `own`, or the platform's; empty where that has none, or several."""
    if runs_on_delegate:
        return own
    platforms = _platforms(book)
    return platforms[0] if len(platforms) == 1 else ""


def keyring_for(book: Book, description: Description, given: str | None, own: str) -> str:
    """The keyring of a new connector; `given` is asked for by its author. Raises Malformed where there isn't one to take."""
    if given:
        return given
    on_delegate = description.settings.execute_on_delegate
    usual = usual_keyring(book, runs_on_delegate=on_delegate, own=own)
    if usual:
        return usual
    several = ", ".join(_platforms(book))
    if several:
        raise description.refused(
            "keyring",
            f"the connector has executeOnDelegate: false, and several keyrings are the platform's: {several}",
            "say which with keyring: NAME, or --keyring",
            code="platform_keyring_ambiguous",
        )
    raise description.refused(
        "spec.executeOnDelegate",
        "the connector has executeOnDelegate: false, and the account has no keyring of the platform",
        "an administrator makes one with: privyseal keyring new NAME --platform; or leave the field out",
        code="platform_keyring_missing",
    )


def check_keyring(book: Book, description: Description, wanted: ConnectorDocument) -> None:
    """Raises Malformed for a keyring that isn't there, or whose delegates may not serve the connector."""
    keyring = book.keyrings.get(wanted.keyring)
    if keyring is None:
        raise description.refused(
            "keyring", "there is no such keyring", "privyseal keyring show", code="keyring_unknown"
        )
    if keyring.document.platform == wanted.runs_on_delegate:
        raise description.refused(
            "spec.executeOnDelegate",
            f"the keyring {wanted.keyring} is the platform's, and the connector doesn't have executeOnDelegate: false"
            if wanted.runs_on_delegate
            else f"the connector has executeOnDelegate: false, and the keyring {wanted.keyring} isn't the platform's",
            "name another keyring, or change the field; a connector's keyring never changes",
            code="keyring_unfit",
        )


def _platforms(book: Book) -> list[str]:
    return sorted(name for name, one in book.keyrings.items() if one.document.platform)
