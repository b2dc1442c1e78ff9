"""Groups: which tags a delegate owns, by its certificate and by the newest document of its group.

Promises: manager, delegate and client ask here and nowhere else, so that the same documents give the same tags to all three.
A group whose newest document isn't known (the status says that there is a newer one) lets nothing be done: a tag that was
taken away could let a task in, and one that was given keep it out. Pure; must not decide what a task needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shared.documents.certificate import CertificateDocument
from shared.documents.group import GroupDocument
from shared.documents.jws import Verified
from shared.documents.status import StatusDocument
from shared.errors import NotReady

Groups = Mapping[str, Verified[GroupDocument]]
"""The newest document of each group, by name: `Book.groups`."""

NO_GROUPS: Groups = {}


def owned(tags: Iterable[str], group: str | None, groups: Groups) -> frozenset[str]:
    """The tags of a delegate that has `tags` by itself and is of that group: these, the group's name and the group's own."""
    if group is None:
        return frozenset(tags)
    known = groups.get(group)
    return frozenset((*tags, group, *(known.document.tags if known is not None else ())))


def tags_of(certificate: CertificateDocument, groups: Groups) -> frozenset[str]:
    """`owned` for the delegate that was certified."""
    return owned(certificate.tags, certificate.group, groups)


def check_group(group: str | None, groups: Groups, status: StatusDocument | None) -> None:
    """Raises NotReady where the status names a newer revision of the group than the one that is known and founded."""
    floor = 0 if group is None or status is None else status.groups.get(group, 0)
    if not floor:
        return
    assert group is not None
    known = groups.get(group)
    if known is None or known.document.rev < floor:
        raise NotReady(
            "group_stale",
            f"the newest document of the delegate's group {group} isn't known, or stands on nobody who is an administrator now",
            "try again; if it stays so, an administrator publishes it anew: privyseal group set",
            group=group,
        )
