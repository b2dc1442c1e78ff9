"""Vectors of groups: who may give one tags, which of its documents counts, and the tags that a delegate owns by it."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from shared.canonical import b64u
from shared.documents.certificate import CertificateDocument
from shared.documents.group import GroupDocument
from shared.documents.jws import parse_as
from shared.trust.book import Book
from shared.trust.group import check_group, tags_of
from tests.vectors import actors as a
from tests.vectors.stories import Step, Stories, admit
from tests.vectors.trust import basis_of

_STALE = "not_ready/group_stale"


def group(name: str = "builders", *tags: str, **changes: Any) -> GroupDocument:
    """The first revision of a group."""
    return structs.replace(GroupDocument(v=1, acct=a.ACCOUNT, id=name, rev=1, iat=a.NOW, tags=tags), **changes)


def owns(certificate: str, tags: list[str], expect: str = "accepted") -> Step:
    """The tags of a certificate's delegate, ascending."""
    step = {"do": "owns", "certificate": certificate, "now": a.NOW, "expect": expect}
    return {**step, "tags": tags} if expect == "accepted" else step


def groups() -> dict[str, Any]:
    """Documents of groups, certificates that name one, and the floors of the status."""
    s = Stories()
    basis = basis_of(s)
    certifying = a.KEYS.generation(1).certifying
    s.sign("of no group", certifying, a.certificate(tags=("delegate-1", "linux")))
    s.sign("of builders", certifying, a.certificate(tags=("delegate-1", "linux"), group="builders"))
    s.sign("of others", certifying, a.certificate(tags=("delegate-1", "linux"), group="others"))
    first = group("builders", "disk:fast", "linux")
    second = a.after(first, a.ADMINISTRATOR, tags=("region=eu",))
    gone = a.after(second, a.ADMINISTRATOR, tags=(), deleted=True)
    s.sign("1", a.ADMINISTRATOR, first)
    s.sign("2", a.ADMINISTRATOR, second)
    s.sign("another 2", a.ADMINISTRATOR, a.after(first, a.ADMINISTRATOR, tags=("gpu",)))
    s.sign("9", a.ADMINISTRATOR, structs.replace(second, rev=9, prev=b64u(bytes(32))))
    s.sign("3, deleted", a.ADMINISTRATOR, gone)
    s.sign("4, made again", a.ADMINISTRATOR, a.after(gone, a.ADMINISTRATOR, tags=("gpu",), deleted=False))
    s.sign("by the owner", a.OWNER, first)
    s.sign("by a stranger", a.STRANGER, first)
    s.sign("of another account", a.ADMINISTRATOR, structs.replace(first, acct="a" * 52))
    s.sign("1 with prev", a.ADMINISTRATOR, structs.replace(first, prev=b64u(bytes(32))))
    status = s.payload("status 1")
    s.sign("status 2, of the second", a.ADMINISTRATOR, a.after(status, a.ADMINISTRATOR, groups={"builders": 2}))
    s.sign("status 2, of the third", a.ADMINISTRATOR, a.after(status, a.ADMINISTRATOR, groups={"builders": 3}))
    revoking = a.after(status, a.ADMINISTRATOR, keys=(a.ADMINISTRATOR.kid,), groups={"builders": 1})
    s.sign("status 2, without the administrator", a.SECOND_ADMINISTRATOR, revoking)
    s.sign("2 by the other administrator", a.SECOND_ADMINISTRATOR, second)

    own, named = ["delegate-1", "linux"], ["builders", "delegate-1", "linux"]
    with_first, with_second = ["builders", "delegate-1", "disk:fast", "linux"], [*named, "region=eu"]
    s.tell("nobody's", basis, owns("of no group", own))
    s.tell("a group without a document", basis, owns("of builders", named))
    s.tell("a group", basis, admit("1"), owns("of builders", with_first), owns("of no group", own))
    s.tell("of another group", [*basis, "1"], owns("of others", ["delegate-1", "linux", "others"]))
    s.tell("its next revision", [*basis, "1"], admit("2"), owns("of builders", with_second))
    s.tell("a gap", [*basis, "1"], admit("9"), owns("of builders", with_second))
    older = admit("2", "conflict/revision_stale")
    s.tell("an older one", [*basis, "1", "9"], older, owns("of builders", with_second))
    forked = admit("another 2", "tampered/revision_forked")
    s.tell("two second revisions", [*basis, "1", "2"], forked, owns("of builders", with_second))
    s.tell("a deleted one", [*basis, "1", "2", "3, deleted"], owns("of builders", named))
    again = owns("of builders", ["builders", "delegate-1", "gpu", "linux"])
    s.tell("one that is made again", [*basis, "1", "2", "3, deleted"], admit("4, made again"), again)
    s.tell("one by no administrator", basis, admit("by the owner", "denied/group_unfounded"))
    s.tell("one by a stranger", basis, admit("by a stranger", "unauthenticated/signer_unknown"))
    s.tell("one of another account", basis, admit("of another account", "tampered/account_foreign"))
    s.tell("a first with prev", basis, admit("1 with prev", "malformed/revision_malformed"))

    known = [*basis, "1", "2"]
    s.tell("a status that knows as much", [*known, "status 2, of the second"], owns("of builders", with_second))
    s.tell("a status that knows more", [*known, "status 2, of the third"], owns("of builders", [], _STALE))
    s.tell(
        "a status that knows of one that hasn't come",
        [*basis, "status 2, of the second"],
        owns("of builders", [], _STALE),
    )
    s.tell(
        "a status that knows of a deleted one",
        [*known, "3, deleted", "status 2, of the third"],
        owns("of builders", named),
    )
    s.tell(
        "others don't mind", [*known, "status 2, of the third"], owns("of others", ["delegate-1", "linux", "others"])
    )
    without = [*basis, "account 2", "1", "status 2, without the administrator"]
    s.tell("whose signer is no administrator any more", without, owns("of builders", [], _STALE))
    followed = admit("2 by the other administrator")
    s.tell("what another signs after him", without, followed, owns("of builders", with_second))
    return s.file("Groups: their documents, and the tags that they give (formats, sections 5, 8, 9 and 10).")


def check(book: Book, documents: dict[str, str], step: Step) -> None:
    """The step `owns` through the Python code."""
    certificate = parse_as(CertificateDocument, documents[step["certificate"]]).document
    check_group(certificate.group, book.groups, book.status.document if book.status is not None else None)
    assert sorted(tags_of(certificate, book.groups)) == step["tags"]
