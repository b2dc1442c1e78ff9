"""Keys for ID tokens, the same in every run, since making one takes a while. They are public: nothing may trust them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from shared.crypto.issuer import IssuerKey
from shared.crypto.keyring import Keyring
from shared.documents.jws import Verified
from shared.documents.keyring import KeyringDocument, Oidc, OidcKey
from tests.fakes.world import World

_KEPT = Path(__file__).parents[1] / "vectors/kept/issuers.json"

ISSUER_KEYS: Mapping[int, IssuerKey] = {
    int(number): IssuerKey(pem.encode()) for number, pem in json.loads(_KEPT.read_text("ascii")).items()
}
"""By the generation that has it."""

ISSUER = "https://oidc.example.test/acme"


def speak(world: World, issuer: str = ISSUER, keys: Mapping[int, IssuerKey] | None = None) -> Verified[KeyringDocument]:
    """Gives a world's keyring keys for ID tokens (generation 1's by default), and its document the issuer."""
    keys = {1: ISSUER_KEYS[1]} if keys is None else keys
    seeds = [(number, world.seed(f"generation {number}")) for number in world.keyring.numbers]
    world.keyring = Keyring(world.id, world.keyring.name, seeds, keys)
    told = Oidc(tuple(OidcKey(number, key.n) for number, key in keys.items()), issuer)
    return world.revise(world.keyring_document, oidc=told)
