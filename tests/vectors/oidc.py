"""Vectors of ID tokens: what an issuer publishes, and the token of a connector, signed with a key that is public."""

from __future__ import annotations

import json
from typing import Any

import jwt
from msgspec import structs

from shared import oidc
from shared.canonical import encode
from tests.fakes.issuers import ISSUER_KEYS
from tests.vectors import actors as a

ISSUER = "https://oidc.example.test/acme"
PLACES = {
    "of the account": {"scope": "account", "identifier": "kms"},
    "of an organisation": {"scope": "org/orders", "identifier": "kms"},
    "of a project": {"scope": a.PROJECT, "identifier": "kms"},
    "with the longest names": {"scope": f"org/{'o' * 128}/project/{'p' * 128}", "identifier": "c" * 128},
    "whose names are words of a subject": {"scope": "org/project/project/org", "identifier": "connector"},
}


def issuers() -> dict[str, Any]:
    """The published files by floor, and the tokens of each generation."""
    document = a.KEYS_OIDC.document(2, None, a.NOW, issuer=ISSUER)
    cases = []
    for floor in (1, 2, 3):
        published = {"configuration": oidc.discovery(ISSUER), "jwks": oidc.key_set(document, floor)}
        cases.append(a.case(f"what lies there with the floor {floor}", "accepted", floor=floor, **published))
    for number, key in ISSUER_KEYS.items():
        for name, place in PLACES.items():
            connector = structs.replace(a.connector(), **place)
            told = oidc.claims(connector, ISSUER, "sts.amazonaws.com", a.NOW, "AAAAAAAAAAAAAAAAAAAAAA")
            token = jwt.encode(told, key.private, algorithm="RS256", headers={"kid": oidc.key_id(key.n)})
            named = f"a token of generation {number} for a connector {name}"
            cases.append(a.case(named, "accepted", connector=json.loads(encode(connector)), claims=told, token=token))
    keyring = json.loads(encode(document))
    return a.file(
        "ID tokens (formats, section 21). `keyring` is the payload of the issuer's keyring.", cases, keyring=keyring
    )
