"""What the manager lets a principal see and ask, from his grants alone. Pure.

It protects the manager's own resources and the names in it; secrets are protected by delegates, who decide again for
themselves. What lies outside of a caller's scope answers as if it weren't there.
"""

from __future__ import annotations

from manager.rows import Sight, StoredDocument
from shared.documents.fields import Permission
from shared.errors import Denied, Malformed, NotFound
from shared.names import ACCOUNT_SCOPE, Scope
from shared.trust.authority import Authority

_ANY: tuple[Permission, ...] = ("view", "use", "reveal", "edit", "delete", "exec", "fetch", "admin")


def may_see(authority: Authority, kid: str, scope: str, resource: str | None, now: int) -> bool:
    """Whether `kid` holds any permission over a thing at `scope`: whoever may use it may see that it is there."""
    place = Scope.parse(scope)
    if authority.is_administrator(kid):
        return True
    # To be refused takes longer than to be told yes, and lists ask for each thing.
    named = authority.named(kid)
    for permission in _ANY:
        if permission not in named:
            continue
        try:
            authority.chain(kid, permission, place, resource, now, "any")
        except Denied:
            continue
        return True
    return False


_CONNECTOR = "connector/"
"""What a grant says before a connector's id."""

LENT = frozenset({"connector", "template"})
"""What a scope lends to those below it: whoever holds something there may see them."""

OF_ALL = frozenset({"account", "grant", "group", "keyring", "status"})
"""By what everybody checks everybody: nobody needs a grant to see it."""

_SCOPED = LENT | {"scope", "secret"}

MOST_PLACES = 200
"""Scopes that one list may be put together from."""


def must_stand(authority: Authority, kid: str, now: int) -> None:
    """Raises Denied where every grant of `kid` has ended or was revoked: a key that was known once opens nothing."""
    authority.held(kid, now)


def sight(authority: Authority, kid: str, within: Scope, now: int, *, connectors: bool = False) -> Sight:
    """What `may_see` shows `kid` at or below `within`, as one description, so that a list is bounded by it.

    Of what grants name singly: the connectors, or everything else.

    A list that was cut after the reading would tell by its page marks what lies in between. Raises Malformed for a sight
    of too many pieces.
    """
    if authority.is_administrator(kid):
        return Sight((str(within),))
    below, things = set(), set()
    for grant in authority.held(kid, now):
        scope = Scope.parse(grant.scope)
        if not set(grant.permissions).intersection(_ANY) or not (scope.covers(within) or within.covers(scope)):
            continue
        place = str(within if scope.covers(within) else scope)
        if grant.resource is None:
            below.add(place)
        elif grant.resource.startswith(_CONNECTOR) == connectors:
            # A path that a connector reads is the connector's.
            things.add((place, grant.resource.removeprefix(_CONNECTOR).partition("/")[0]))
    if len(below) > MOST_PLACES or len({scope for scope, _ in things}) > MOST_PLACES:
        raise Malformed("too_many", "your grants are for too many scopes to list them together", "ask for one scope")
    return Sight(tuple(sorted(below)), (), tuple(sorted(things)))


def connector_sight(authority: Authority, kid: str, within: Scope, now: int) -> Sight:
    """As `sight`, and the connectors of the scopes above: whoever holds something in a scope may use them there."""
    seen = sight(authority, kid, within, now, connectors=True)
    above = {within} if authority.is_administrator(kid) else set(_above(authority, kid, now))
    return Sight(seen.below, tuple(sorted(str(one) for one in above if within.covers(one))), seen.things)


def may_use(authority: Authority, kid: str, scope: str, id: str, now: int) -> bool:
    """Whether `kid` may see a connector."""
    return may_see(authority, kid, scope, f"{_CONNECTOR}{id}", now) or Scope.parse(scope) in _above(authority, kid, now)


def _above(authority: Authority, kid: str, now: int) -> set[Scope]:
    """The scopes in which `kid` holds something, and those that cover them."""
    held = {Scope.parse(grant.scope) for grant in authority.held(kid, now) if set(grant.permissions).intersection(_ANY)}
    return held | {Scope(scope.org) for scope in held} | ({ACCOUNT_SCOPE} if held else set())


def may_see_row(authority: Authority, kid: str, row: StoredDocument, now: int) -> bool:
    """Whether that caller, whose grants haven't all ended, may be shown a document."""
    if row.kind in OF_ALL:
        return True
    if row.kind not in _SCOPED:
        return False
    return (may_use if row.kind in LENT else may_see)(authority, kid, row.scope or "account", row.id, now)


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
