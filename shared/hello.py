"""What a delegate signs to prove, on one stream to one manager, that it holds its identity."""

from __future__ import annotations

from shared.canonical import digest, lp
from shared.labels import HELLO


def hello_message(origin: str, nonce: bytes, certificate: str) -> bytes:
    """LP(label, origin, nonce, certificate digest): no other manager and no other stream can use the signature."""
    return lp(HELLO, origin.encode(), nonce, digest(certificate).encode())
