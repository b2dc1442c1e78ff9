"""The certificate of a delegate's identity, signed by its keyring's certifying key when the delegate starts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from shared.documents.fields import Identifier, Key, Number, Payload, ScopeText, Seconds, Selector
from shared.names import Scope

MOST_SCOPES = 64
LIFETIME_SECONDS = 7 * 86_400
"""A delegate makes a new one at half of it."""


class CertificateDocument(Payload, frozen=True, kw_only=True):
    """`key` is the identity (Ed25519); `tags` hold the delegate's name, host and selectors, normalised and sorted.

    `group` is the one that it is of; what tags that brings is `shared.trust.group`.

    `scopes` are those whose tasks it takes, by its own policy, sorted; empty for those of the whole account.
    """

    keyring: Identifier
    gen: Number
    key: Key
    name: Selector
    tags: Annotated[tuple[Selector, ...], Meta(max_length=66)] = ()
    scopes: Annotated[tuple[ScopeText, ...], Meta(max_length=MOST_SCOPES)] = ()
    group: Selector | None = None
    iat: Seconds
    exp: Seconds

    def takes(self, scopes: Iterable[Scope]) -> bool:
        """Whether its own policy takes tasks about all of those scopes."""
        owned = [Scope.parse(one) for one in self.scopes]
        return not owned or all(any(one.covers(scope) for one in owned) for scope in scopes)
