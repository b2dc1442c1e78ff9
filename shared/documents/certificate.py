"""The certificate of a delegate's identity, signed by its keyring's certifying key when the delegate starts."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from shared.documents.fields import Identifier, Key, Number, Payload, Seconds, Selector

LIFETIME_SECONDS = 7 * 86_400
"""A delegate makes a new one at half of it."""


class CertificateDocument(Payload, frozen=True, kw_only=True):
    """`key` is the identity (Ed25519); `tags` hold the delegate's name, host and selectors, normalised and sorted."""

    keyring: Identifier
    gen: Number
    key: Key
    name: Selector
    tags: Annotated[tuple[Selector, ...], Meta(max_length=66)] = ()
    iat: Seconds
    exp: Seconds
