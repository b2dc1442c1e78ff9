"""Who calls: a bearer token that the caller signed himself, with a key that the account knows.

The token is a JWT (RFC 7519) of exactly one form, for this manager alone and for five minutes at most. It only opens the
door: what a task or document may do is decided by the signature on that document.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from manager.clock import Clock
from shared.errors import Unauthenticated
from shared.trust.authority import SKEW_SECONDS
from shared.trust.book import Book

LONGEST_SECONDS = 300
LONGEST_TOKEN = 2_048
MOST_REMEMBERED = 10_000
_CLAIMS = {"sub", "acct", "aud", "iat", "exp", "jti"}
_HEADER = {"alg", "kid", "typ"}


@dataclass(frozen=True, slots=True)
class Caller:
    """A principal by his key's thumbprint, in one account."""

    account: str
    kid: str


class Authentication:
    """Verifies bearer tokens for the manager that goes by `url`; each is verified once."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._verified: OrderedDict[tuple[str, str], tuple[str, int]] = OrderedDict()

    def caller(self, authorization: str | None, book: Book) -> Caller:
        """The caller behind an `Authorization` header, in the book's account. Raises Unauthenticated."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not 0 < len(token) <= LONGEST_TOKEN:
            raise _refused("the request carries no bearer token")
        now = self._clock.now()
        known = self._verified.get((book.id, token))
        if known is None:
            known = self._verify(token, book, now)
            self._verified[book.id, token] = known
            if len(self._verified) > MOST_REMEMBERED:
                self._verified.popitem(last=False)
        kid, expires = known
        if expires <= now:
            raise _refused("the bearer token has expired: compare the clocks of both machines")
        if book.key(kid) is None or (book.status is not None and kid in book.status.document.keys):
            raise _refused("the bearer token's key is revoked or holds no grant in this account")
        return Caller(book.id, kid)

    def _verify(self, token: str, book: Book, now: int) -> tuple[str, int]:
        try:
            header = jwt.get_unverified_header(token)
            kid = header.get("kid", "")
            key = book.key(kid) if isinstance(kid, str) else None
            if key is None or set(header) != _HEADER or header["typ"] != "JWT":
                raise _refused("the bearer token's key holds no grant in this account")
            claims: dict[str, Any] = jwt.decode(
                token,
                Ed25519PublicKey.from_public_bytes(key.raw),
                algorithms=["EdDSA"],
                audience=self._url,
                options={
                    "require": sorted(_CLAIMS),
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.PyJWTError, RecursionError, ValueError):
            raise _refused("the bearer token is malformed, or made for another manager") from None
        issued, expires = claims["iat"], claims["exp"]
        # PyJWT would take a list of audiences, and fractions of seconds.
        if (
            set(claims) != _CLAIMS
            or claims["aud"] != self._url
            or claims["sub"] != kid
            or claims["acct"] != book.id
            or type(issued) is not int
            or type(expires) is not int
            or not 0 < expires - issued <= LONGEST_SECONDS
        ):
            raise _refused("the bearer token doesn't say what it must")
        if issued > now + SKEW_SECONDS:
            raise _refused("the bearer token begins in the future: compare the clocks of both machines")
        return kid, expires


def _refused(why: str) -> Unauthenticated:
    return Unauthenticated("token_refused", why, "check the context and the identity: privyseal doctor")
