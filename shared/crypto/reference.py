"""The reference's HMAC: how a version that lives at a provider is bound to its place.

    mac = base64url(HMAC-SHA-256(MAC key of the generation,
          LP(label, encoded AAD, locator, canonical JSON of metadata, version, generation (4))))

The manager that keeps references can't make one, nor pass one for another's, nor point one at another secret of the
provider. It binds no value: who holds the provider's role decides over that.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from shared.aad import Aad
from shared.canonical import b64u, encode, lp
from shared.crypto.keyring import Generation
from shared.labels import REFERENCE_MAC
from shared.values import Reference


def make(generation: Generation, aad: Aad, locator: str, metadata: Mapping[str, str], version: str) -> Reference:
    """The reference to that version of the provider's, made with that generation for that place."""
    return Reference(
        generation=generation.number,
        locator=locator,
        mac=mac_of(generation.mac_key, aad, locator, metadata, version, generation.number),
        version=version,
        metadata=dict(metadata),
    )


def mac_of(mac_key: bytes, aad: Aad, locator: str, metadata: Mapping[str, str], version: str, generation: int) -> str:
    """43 characters."""
    message = lp(
        REFERENCE_MAC,
        aad.encode(REFERENCE_MAC),
        locator.encode(),
        encode(metadata),
        version.encode(),
        generation.to_bytes(4, "big"),
    )
    return b64u(hmac.digest(mac_key, message, "sha256"))


def is_authentic(reference: Reference, mac_key: bytes, aad: Aad) -> bool:
    """Whether the HMAC fits, in constant time."""
    one = reference
    return hmac.compare_digest(one.mac, mac_of(mac_key, aad, one.locator, one.metadata, one.version, one.generation))
