"""The bearer token: a JWT of one form, verified here by another implementation."""

from __future__ import annotations

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from client.transport import Transport, bearer
from tests.fakes.world import World


def test_a_token_says_exactly_what_the_manager_asks_for() -> None:
    world = World()
    token = bearer(world.administrator, world.id, "https://manager.example", world.now)
    key = Ed25519PublicKey.from_public_bytes(world.administrator.public.raw)
    claims = jwt.decode(
        token,
        key,
        algorithms=["EdDSA"],
        audience="https://manager.example",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "kid": world.administrator.kid, "typ": "JWT"}
    assert set(claims) == {"sub", "acct", "aud", "iat", "exp", "jti"}
    assert (claims["sub"], claims["acct"]) == (world.administrator.kid, world.id)
    assert claims["exp"] - claims["iat"] == 300


def test_a_token_is_used_again_until_it_is_four_minutes_old() -> None:
    world, tokens = World(), list[str]()
    transport = Transport("https://manager.example", world.id, world.administrator, lambda: world.now)
    for seconds in (0, 239, 1, -600):
        world.now += seconds
        tokens.append(transport.authorization())
    assert tokens[0] == tokens[1]
    assert len(set(tokens)) == 3
