"""The fingerprint of a value, kept as its version where a provider knows no versions of its own.

    GENERATION.MAC      the MAC is that of a reference (`shared.crypto.reference`) whose metadata say the value's SHA-256

Promises: what is read is the value that this very store task wrote, or it is told to be another; who keeps the fingerprint, the
manager, learns nothing of the value, since the MAC's key is the keyring's. An inline secret's reference never has metadata, so that
neither passes for the other. Must not be taken for a lock: what was replaced is noticed, not prevented.
"""

from __future__ import annotations

import hmac

from delegate.zone import Zone
from shared.aad import Aad
from shared.canonical import blob_digest
from shared.crypto.keyring import Generation
from shared.crypto.plaintext import Plaintext
from shared.crypto.reference import mac_of


def fingerprint(zone: Zone, place: Aad, locator: str, value: Plaintext) -> str:
    """Of a value that is stored at that place, under the current generation. Raises NotReady."""
    return _of(zone.current(), place, locator, value)


def fits(text: str, zone: Zone, place: Aad, locator: str, value: Plaintext) -> bool:
    """Whether that is the value's. `text` is authentic, as a part of the reference. Raises NotReady for an unknown generation."""
    number = text.partition(".")[0]
    if not number.isdecimal():
        return False
    return hmac.compare_digest(text, _of(zone.made_with(int(number)), place, locator, value))


def _of(generation: Generation, place: Aad, locator: str, value: Plaintext) -> str:
    told = {"sha256": blob_digest(value.reveal())}
    return f"{generation.number}.{mac_of(generation.mac_key, place, locator, told, '', generation.number)}"
