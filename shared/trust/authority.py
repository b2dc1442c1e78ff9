"""Grant chains: from a key to an administrator, only shrinking, at most four links.

    administrator --signs--> grant of A (admin, org/x) --A signs--> grant of B (reveal, org/x/project/y)

Every rule is checked for every link, now, against the newest status. An administrator holds every permission by himself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from shared.documents.account import AccountDocument
from shared.documents.fields import Permission
from shared.documents.grant import LONGEST_SECONDS, GrantDocument
from shared.documents.jws import Verified, thumbprint
from shared.documents.status import StatusDocument
from shared.documents.usage import TaskUsage, covers, lies_within
from shared.errors import Denied, PrivySealError
from shared.names import Scope

LONGEST_CHAIN = 4
SKEW_SECONDS = 120
"""How far two honest clocks may be apart."""
FOREVER = 2**53
Stated = TaskUsage | Literal["any"] | None
"""What a task states; `any` where only the existence of a permission matters (what somebody is shown)."""

MOST_REMEMBERED = 10_000
"""Decisions; beyond them it begins anew."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The grants that carry a permission, the holder's own first, and when the first of them ends (seconds)."""

    grants: tuple[Verified[GrantDocument], ...]
    until: int


class Authority:
    """Answers whether a key may do something, from a fixed set of documents; decisions are remembered until they end."""

    def __init__(
        self,
        account: AccountDocument,
        status: StatusDocument | None,
        grants: Iterable[Verified[GrantDocument]],
    ) -> None:
        self._administrators = frozenset(thumbprint(person.key) for person in account.administrators)
        self._revoked_keys = frozenset(status.keys if status else ())
        self._revoked_grants = frozenset(status.grants if status else ())
        self._grants: Mapping[str, Verified[GrantDocument]] = {grant.document.id: grant for grant in grants}
        self._by_holder: dict[str, list[Verified[GrantDocument]]] = {}
        for grant in self._grants.values():
            self._by_holder.setdefault(thumbprint(grant.document.principal.key), []).append(grant)
        self._remembered: dict[tuple[str, Permission, Scope, str | None, Stated], tuple[int, Chain]] = {}

    def is_administrator(self, kid: str) -> bool:
        """Whether that key is an administrator's and not revoked."""
        return kid in self._administrators and kid not in self._revoked_keys

    def named(self, kid: str) -> frozenset[Permission]:
        """What the grants of `kid` name, whether they count or not: who is no administrator holds nothing else."""
        return frozenset(one for grant in self._by_holder.get(kid, ()) for one in grant.document.permissions)

    def chain(
        self,
        kid: str,
        permission: Permission,
        scope: Scope,
        resource: str | None,
        now: int,
        usage: Stated = None,
    ) -> Chain:
        """The chain by which `kid` holds `permission` over `scope` (and `resource` in it) at `now`, for that `usage`.

        A grant for some usage carries only what states it: no document does, so that nobody widens what others stated.
        Raises Denied: key_revoked, grant_missing, usage_not_granted, or why the nearest grant doesn't carry it.
        """
        question = (kid, permission, scope, resource, usage)
        known = self._remembered.get(question)
        # Not for an earlier moment: a clock that was set back may stand before the grants begin.
        if known is not None and known[0] <= now < known[1].until:
            return known[1]
        if kid in self._revoked_keys:
            raise Denied(
                "key_revoked", "the signer's key is revoked", "ask an administrator for a new grant to a new key"
            )
        if kid in self._administrators:
            return Chain((), FOREVER)
        refusal: PrivySealError = Denied(
            "grant_missing",
            f"the signer holds no grant of {permission} over {scope}",
            "ask somebody who administers that scope: privyseal grant add",
        )
        for grant in self._by_holder.get(kid, ()):
            document = grant.document
            if permission not in document.permissions or not Scope.parse(document.scope).covers(scope):
                continue
            if not _lies_below(resource, document.resource):
                continue
            if usage != "any" and not covers(document.usage, usage):
                refusal = _not_granted(grant.document)
                continue
            try:
                chain = Chain(*self._climb(grant, now))
            except Denied as why:
                refusal = why
                continue
            if not _is_made_up(resource, usage):
                if len(self._remembered) >= MOST_REMEMBERED:
                    self._remembered.clear()
                self._remembered[question] = now, chain
            return chain
        raise refusal

    def held(self, kid: str, now: int) -> list[GrantDocument]:
        """The grants by which `kid` holds anything at `now`; none for an administrator, who needs none.

        Raises Denied where neither is so: key_revoked, grant_missing, or why the nearest grant doesn't count any more.
        """
        if kid in self._revoked_keys:
            raise Denied(
                "key_revoked", "the signer's key is revoked", "ask an administrator for a new grant to a new key"
            )
        refusal = Denied("grant_missing", "the key holds no grant", "ask an administrator: privyseal grant add")
        held = []
        for grant in self._by_holder.get(kid, ()):
            try:
                self._climb(grant, now)
            except Denied as why:
                refusal = why
            else:
                held.append(grant.document)
        if not held and kid not in self._administrators:
            raise refusal
        return held

    def found(self, grant: Verified[GrantDocument], now: int) -> None:
        """Raises Denied unless `grant` itself stands on an administrator at `now`."""
        self._climb(grant, now)

    def _climb(self, grant: Verified[GrantDocument], now: int) -> tuple[tuple[Verified[GrantDocument], ...], int]:
        links: list[Verified[GrantDocument]] = []
        until = FOREVER
        while True:
            document = grant.document
            links.append(grant)
            if len(links) > LONGEST_CHAIN:
                raise Denied("grant_chain_long", f"the signer's grant stands on more than {LONGEST_CHAIN} links")
            self._live(grant, now)
            until = min(until, document.exp)
            if document.parent is None:
                if not self.is_administrator(grant.kid):
                    raise Denied("grant_unfounded", "the signer's grant stands on nobody who is an administrator now")
                return tuple(links), until
            parent = self._grants.get(document.parent)
            if parent is None:
                raise Denied("grant_unfounded", "the signer's grant stands on another that isn't there")
            self._shrinks(grant, parent)
            grant = parent

    def _live(self, grant: Verified[GrantDocument], now: int) -> None:
        document = grant.document
        if document.id in self._revoked_grants or thumbprint(document.principal.key) in self._revoked_keys:
            raise Denied(
                "grant_revoked",
                "the signer's grant, or one that it stands on, is revoked",
                "ask for a new one: privyseal grant add",
            )
        if document.exp <= now:
            raise Denied(
                "grant_expired",
                "the signer's grant, or one that it stands on, has expired",
                "ask for a new one: privyseal grant add",
            )
        if document.iat > now + SKEW_SECONDS:
            raise Denied(
                "grant_early", "the signer's grant begins in the future", "compare the clocks of both machines"
            )
        if document.exp - document.iat > LONGEST_SECONDS[document.principal.type]:
            raise Denied("grant_too_long", f"the signer's grant lasts longer than a {document.principal.type}'s may")

    @staticmethod
    def _shrinks(child: Verified[GrantDocument], parent: Verified[GrantDocument]) -> None:
        """A grant gives nothing that its grantor doesn't hold himself."""
        given, held = child.document, parent.document
        if (
            child.kid != thumbprint(held.principal.key)
            or "admin" not in held.permissions
            or not set(given.permissions) <= set(held.permissions)
            or not Scope.parse(held.scope).covers(Scope.parse(given.scope))
            or not _lies_below(given.resource, held.resource)
            or not lies_within(given.usage, held.usage)
            or given.exp > held.exp
        ):
            raise Denied("grant_exceeds", "the signer's grant gives more than its grantor holds")


def _lies_below(resource: str | None, above: str | None) -> bool:
    """Whether it is `above` or a path below that; no resource is everything."""
    return above is None or (resource is not None and (resource == above or resource.startswith(f"{above}/")))


def _is_made_up(resource: str | None, usage: Stated) -> bool:
    """Whether the task's signer chose the words, paths and labels, as many and as long as he likes: they would fill the memory."""
    return isinstance(usage, TaskUsage) or (resource is not None and resource.count("/") > 1)


def _not_granted(grant: GrantDocument) -> Denied:
    usage = grant.usage
    assert usage is not None
    allowed = [
        *(f"application {one}" for one in usage.applications),
        *(f"environment {one}" for one in usage.environments),
    ]
    return Denied(
        "usage_not_granted",
        f"the signer's grant is only for {', '.join(allowed)}, and carries nothing that states another or none",
        "state one of them: --application, --environment; documents take a grant for anything",
        allowed=allowed,
    )
