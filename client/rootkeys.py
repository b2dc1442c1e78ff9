"""Root keys: the PEM file that goes offline, and the recovery key that is printed.

    Recovery key = "PSR1-" and 13 groups of 4 characters of base32, then a group of 4: the first 20 bits of SHA-256 of the seed

Promises: a typing error in a recovery key is noticed. Must not keep either anywhere but where its owner says.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from client.home import read_private
from client.identities import Passphrase, load
from shared.canonical import b32, sha256
from shared.crypto.identity import Identity
from shared.errors import Malformed

PREFIX = "PSR1"
SEED_BYTES = 32
_GROUP = 4


def recovery_text(seed: bytes) -> str:
    """The recovery key as it is printed: 52 characters of base32 and 4 to check them, in groups."""
    if len(seed) != SEED_BYTES:
        raise ValueError("a seed has 32 bytes")
    characters = (b32(seed) + _check(seed)).upper()
    return "-".join([PREFIX, *(characters[at : at + _GROUP] for at in range(0, len(characters), _GROUP))])


def parse_recovery(text: str) -> Identity:
    """The root key that a recovery key stands for; blanks, case and hyphens don't matter. Raises Malformed."""
    characters = "".join(text.split()).replace("-", "").lower()
    if characters.startswith(PREFIX.lower()) and len(characters) == 60:
        body, check = characters[4:56], characters[56:]
        try:
            seed = base64.b32decode(body.upper() + "====")
        except (binascii.Error, ValueError):
            seed = b""
        if len(seed) == SEED_BYTES and b32(seed) == body and _check(seed) == check:
            return Identity.from_seed(seed)
    raise Malformed(
        "recovery_key_malformed", "the recovery key has a typing error", "compare it with the print, group by group"
    )


def load_root(path: Path, passphrase: Passphrase) -> Identity:
    """The root key in a file: PEM, or a recovery key in text. Raises NotReady, Denied, Malformed."""
    content = read_private(path, "root key")
    if content.lstrip().upper().startswith(PREFIX.encode()):
        return parse_recovery(content.decode("ascii", "replace"))
    return load(path, "root", passphrase)


def _check(seed: bytes) -> str:
    return b32(sha256(seed))[:_GROUP]
