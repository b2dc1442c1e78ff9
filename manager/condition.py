"""The manager's condition: which part of it fails, for probes and for people.

Promises: what is told is so at this moment; it names parts and codes, never an account. Must not decide anything: whatever fails
here is refused where it is needed.
"""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import Literal

import msgspec

from manager.clock import Clock
from manager.store import Store
from shared.errors import Malformed, PrivySealError

Part = Literal["store", "certificate", "draining"]


class Fault(msgspec.Struct, frozen=True):
    """A part that fails: a stable code, what is wrong, what to do."""

    part: Part
    code: str
    detail: str
    hint: str = ""


class Condition:
    """One manager's. `tls_expires` is when the certificate of its ports does (seconds since 1970), None without TLS."""

    def __init__(self, store: Store, clock: Clock, tls_expires: int | None = None) -> None:
        self._store = store
        self._clock = clock
        self.tls_expires = tls_expires
        self.draining = False

    async def faults(self) -> list[Fault]:
        """What keeps it from serving, the gravest first; nothing where all is well."""
        found = []
        try:
            await self._store.check()
        except PrivySealError as why:
            found.append(Fault("store", why.code, why.detail, why.hint))
        if self.tls_expires is not None and self.tls_expires <= self._clock.now():
            found.append(
                Fault(
                    "certificate",
                    "certificate_expired",
                    "the TLS certificate of both ports has expired, so that nobody connects",
                    "put a new one where tls_certificate says, and restart the manager",
                )
            )
        if self.draining:
            found.append(Fault("draining", "manager_draining", "the manager is stopping and takes no new tasks"))
        return found


def expiry_of(certificate: Path) -> int:
    """When the first certificate of a PEM file expires. Raises Malformed."""
    # Late: who serves plain text on loopback needs no X.509.
    from cryptography.x509 import load_pem_x509_certificate

    try:
        return int(load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc.astimezone(UTC).timestamp())
    except (OSError, ValueError):
        raise Malformed("tls_unreadable", "tls_certificate can't be read", "it is a file of PEM certificates") from None
