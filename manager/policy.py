"""What the manager lets a principal see and ask, from his grants alone. Pure.

It protects the manager's own resources and the names in it; secrets are protected by delegates, who decide again for
themselves. What lies outside of a caller's scope answers as if it weren't there.
"""

from __future__ import annotations

from shared.documents.fields import Permission
from shared.errors import Denied, NotFound
from shared.names import ACCOUNT_SCOPE, Scope
from shared.trust.authority import Authority

_ANY: tuple[Permission, ...] = ("view", "use", "reveal", "edit", "delete", "exec", "admin")


def may_see(authority: Authority, kid: str, scope: str, resource: str | None, now: int) -> bool:
    """Whether `kid` holds any permission over a thing at `scope`: whoever may use it may see that it is there."""
    place = Scope.parse(scope)
    for permission in _ANY:
        try:
            authority.chain(kid, permission, place, resource, now)
        except Denied:
            continue
        return True
    return False


def must_see(authority: Authority, kid: str, scope: str, resource: str | None, what: str, now: int) -> None:
    """Raises NotFound, as for what doesn't exist, unless `may_see`."""
    if not may_see(authority, kid, scope, resource, now):
        raise not_found(what)


def must_administer(authority: Authority, kid: str, now: int) -> None:
    """For what belongs to the whole account (its audit, others' tasks). Raises Denied."""
    authority.chain(kid, "admin", ACCOUNT_SCOPE, None, now)


def not_found(what: str) -> NotFound:
    """The one answer for what isn't there and what isn't the caller's to see."""
    return NotFound(
        f"{what}_not_found",
        f"there is no such {what}, or it lies outside of your scope",
        "check its name, --org and --project",
    )
