"""Vectors of bearer tokens: what opens the manager's door, and what doesn't."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from manager.authentication import Authentication
from manager.clock import Clock
from shared.canonical import b64u, unb64u
from shared.crypto.identity import Identity
from shared.documents.grant import DAY
from shared.trust.book import Book
from tests.vectors import actors as a

ORIGIN = "https://privyseal.example"


def token(signer: Identity, header: Mapping[str, Any], claims: Mapping[str, Any] | list[Any]) -> str:
    """A token with any header and claims, well signed."""
    signing_input = ".".join(b64u(json.dumps(part).encode()) for part in (header, claims))
    return f"{signing_input}.{b64u(signer.sign(signing_input.encode()))}"


def tokens() -> dict[str, Any]:
    """Tokens for `origin` at the time `now`, in an account whose known keys are `keys`; one of them is revoked."""
    header = {"alg": "EdDSA", "kid": a.READER.kid, "typ": "JWT"}
    claims = {
        "sub": a.READER.kid,
        "acct": a.ACCOUNT,
        "aud": ORIGIN,
        "iat": a.NOW,
        "exp": a.NOW + 300,
        "jti": a.opaque("jti"),
    }
    good = token(a.READER, header, claims)

    def said(**changes: Any) -> str:
        return token(
            a.READER, header, {name: value for name, value in {**claims, **changes}.items() if value is not None}
        )

    def headed(**changes: Any) -> str:
        return token(
            a.READER, {name: value for name, value in {**header, **changes}.items() if value is not None}, claims
        )

    def by(signer: Identity) -> str:
        return token(signer, {**header, "kid": signer.kid}, {**claims, "sub": signer.kid})

    parts = good.split(".")
    bad = {
        "another origin": said(aud="https://elsewhere.example"),
        "a slash after the origin": said(aud=ORIGIN + "/"),
        "a list of origins": said(aud=[ORIGIN]),
        "another account": said(acct="a" * 52),
        "another subject": said(sub=a.EDITOR.kid),
        "six minutes": said(exp=a.NOW + 301),
        "no time at all": said(exp=a.NOW),
        "one that has ended": said(iat=a.NOW - 300, exp=a.NOW),
        "one from the future": said(iat=a.NOW + 121, exp=a.NOW + 200),
        "a fraction of a second": said(iat=a.NOW + 0.5),
        "a time that is a text": said(exp=str(a.NOW + 300)),
        "one more claim": said(nbf=a.NOW),
        **{f"without {name}": said(**{name: None}) for name in claims},
        "claims that are a list": token(a.READER, header, []),
        "another algorithm": headed(alg="ES256"),
        "no algorithm": headed(alg="none"),
        "another type": headed(typ="privyseal-task+jws"),
        "no type": headed(typ=None),
        "no kid": headed(kid=None),
        "one more member in the header": headed(crit=["exp"]),
        "a kid that isn't known": by(a.STRANGER),
        "a kid that is revoked": by(a.EDITOR),
        "another signer": token(a.STRANGER, header, claims),
        "a changed signature": f"{parts[0]}.{parts[1]}.{b64u(bytes([unb64u(parts[2])[0] ^ 1]) + unb64u(parts[2])[1:])}",
        "no signature": f"{parts[0]}.{parts[1]}.",
        "a document": a.READER.sign_document(a.secret()),
        "two thousand characters and more": said(jti="x" * 2_048),
        "nothing": "",
    }
    other_order = token(a.READER, dict(reversed(header.items())), dict(reversed(claims.items())))
    cases = [
        a.case("as it must be", "accepted", token=good),
        a.case("in another order, with spaces", "accepted", token=other_order),
        a.case("from the near future", "accepted", token=said(iat=a.NOW + 120, exp=a.NOW + 300)),
        *(a.case(name, "unauthenticated/token_refused", token=one) for name, one in bad.items()),
    ]
    keys = {one.kid: one.key for one in (a.READER, a.EDITOR, a.ADMINISTRATOR)}
    members: dict[str, Any] = {"account": a.ACCOUNT, "origin": ORIGIN, "now": a.NOW, "keys": keys}
    return a.file("Bearer tokens (formats, section 20).", cases, **members, revoked=[a.EDITOR.kid])


class StandingClock(Clock):
    """A clock that a vector has set."""

    def __init__(self, now: int) -> None:
        self._now = now

    def now(self) -> int:
        return self._now


def check(file: dict[str, Any], case: dict[str, Any]) -> None:
    """As the manager reads it."""
    book = Book(a.ACCOUNT)
    revoking = a.status(keys=tuple(file["revoked"]))
    for signer, document in (
        (a.ROOT, a.ACCOUNT_1),
        (a.ADMINISTRATOR, a.grant("reader", a.READER, ("reveal",), "account")),
        (a.ADMINISTRATOR, a.grant("editor", a.EDITOR, ("edit",), "account", exp=a.NOW + DAY)),
        (a.ADMINISTRATOR, revoking),
    ):
        book.admit(signer.sign_document(document), file["now"])
    assert all(book.key(kid) for kid in file["keys"]) and book.id == file["account"]
    authentication = Authentication(file["origin"], StandingClock(file["now"]))
    authentication.caller(f"Bearer {case['token']}", book)
