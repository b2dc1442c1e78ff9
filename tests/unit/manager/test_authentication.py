"""Bearer tokens: exactly one form, for one manager and one account, and not for long."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from manager.authentication import Authentication
from shared.crypto.identity import Identity
from shared.errors import Unauthenticated
from tests.fakes.world import World

URL = "https://manager.example"


class Clock:
    """A clock that a test sets."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def now(self) -> int:
        return self.seconds

    def monotonic(self) -> float:
        return float(self.seconds)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def clock(world: World) -> Clock:
    return Clock(world.now)


@pytest.fixture
def authentication(clock: Clock) -> Authentication:
    return Authentication(URL, clock)  # type: ignore[arg-type]


def private(world: World, name: str = "administrator") -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(world.seed(f"identity {name}"))


def token(world: World, signer: Identity | None = None, *, key: Any = None, **changes: Any) -> str:
    signer = signer or world.administrator
    claims = {
        "sub": signer.kid,
        "acct": world.id,
        "aud": URL,
        "iat": world.now,
        "exp": world.now + 300,
        "jti": world.opaque("token"),
    }
    header = {"alg": "EdDSA", "typ": "JWT", "kid": signer.kid, **changes.pop("header", {})}
    claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return jwt.encode(claims, key or private(world), algorithm="EdDSA", headers=header)


def test_a_token_that_a_known_key_signed_opens_the_door(world: World, authentication: Authentication) -> None:
    caller = authentication.caller(f"Bearer {token(world)}", world.book())
    assert (caller.account, caller.kid) == (world.id, world.administrator.kid)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://other.example"},
        {"aud": [URL]},
        {"aud": [URL, "https://other.example"]},
        {"aud": None},
        {"acct": "a" * 52},
        {"sub": "somebody"},
        {"exp": None},
        {"iat": None},
        {"jti": None},
        {"extra": 1},
        {"header": {"crit": ["b64"]}},
        {"header": {"jwk": {"kty": "OKP"}}},
        {"header": {"typ": "at+jwt"}},
    ],
    ids=repr,
)
def test_a_token_of_any_other_form_is_refused(
    world: World, authentication: Authentication, changes: dict[str, Any]
) -> None:
    with pytest.raises(Unauthenticated):
        authentication.caller(f"Bearer {token(world, **changes)}", world.book())


def test_times_are_whole_seconds_within_five_minutes(world: World, authentication: Authentication) -> None:
    for changes in (
        {"exp": world.now + 301},
        {"exp": world.now},
        {"exp": world.now + 1.5},
        {"iat": world.now + 121, "exp": world.now + 300},
        {"exp": True},
    ):
        with pytest.raises(Unauthenticated):
            authentication.caller(f"Bearer {token(world, **changes)}", world.book())


def test_a_remembered_token_expires_too(world: World, authentication: Authentication, clock: Clock) -> None:
    header, book = f"Bearer {token(world)}", world.book()
    authentication.caller(header, book)
    clock.seconds += 300
    with pytest.raises(Unauthenticated):
        authentication.caller(header, book)


def test_a_remembered_token_falls_with_its_key(world: World, authentication: Authentication) -> None:
    reader = world.identity("reader")
    world.grant(reader, ["reveal"])
    header, book = f"Bearer {token(world, reader, key=private(world, 'reader'))}", world.book()
    authentication.caller(header, book)
    book.admit(world.revise_status(keys=(reader.kid,)).compact, world.now)
    with pytest.raises(Unauthenticated):
        authentication.caller(header, book)


def test_a_token_of_one_account_opens_no_other(world: World, authentication: Authentication) -> None:
    header = f"Bearer {token(world)}"
    authentication.caller(header, world.book())
    with pytest.raises(Unauthenticated):
        authentication.caller(header, World(name="other").book())


def test_a_key_that_signs_for_another_is_refused(world: World, authentication: Authentication) -> None:
    forged = token(world, key=private(world, "somebody"))
    with pytest.raises(Unauthenticated):
        authentication.caller(f"Bearer {forged}", world.book())


def test_a_symmetric_or_absent_signature_is_refused(world: World, authentication: Authentication) -> None:
    claims = {"sub": world.administrator.kid, "acct": world.id, "aud": URL, "iat": world.now, "exp": world.now + 9}
    header = {"kid": world.administrator.kid, "typ": "JWT"}
    for algorithm, key in (("HS256", world.administrator.public.raw), ("none", None)):
        forged = jwt.encode({**claims, "jti": "x"}, key, algorithm=algorithm, headers=header)
        with pytest.raises(Unauthenticated):
            authentication.caller(f"Bearer {forged}", world.book())


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer x.y.z", "Bearer " + "a" * 3000])
def test_other_headers_are_refused(world: World, authentication: Authentication, header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        authentication.caller(header, world.book())


def test_a_refusal_repeats_nothing_of_the_token(world: World, authentication: Authentication) -> None:
    with pytest.raises(Unauthenticated) as why:
        authentication.caller("Bearer canary-value", world.book())
    assert "canary" not in str(why.value.problem())
