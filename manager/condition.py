"""The manager's condition: which part of it fails, for probes and for people.

Promises: what is told is so at this moment, of a store that is silent too, and told within `CHECK_SECONDS`; it names parts and codes,
never an account. However many ask, the store is asked by one at a time. Must not decide anything: whatever fails here is refused where
it is needed.
"""

from __future__ import annotations

import asyncio
from datetime import UTC
from pathlib import Path
from typing import Literal

import msgspec

from manager.clock import Clock
from manager.store import Store
from shared.errors import Malformed, PrivySealError

CHECK_SECONDS = 2.0
"""How long the store is waited for; then it counts as silent, until it answers."""

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
        self._asking: asyncio.Task[None] | None = None
        self._asked = 0.0
        self._answered: float | None = None
        self._verdict: Fault | None = None

    @property
    def store_seconds(self) -> float | None:
        """How old what is known of the store is, None for nothing yet."""
        return None if self._answered is None else self._clock.monotonic() - self._answered

    async def faults(self) -> list[Fault]:
        """What keeps it from serving, the gravest first; nothing where all is well."""
        found = []
        if (of_store := await self._of_store()) is not None:
            found.append(of_store)
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

    async def _of_store(self) -> Fault | None:
        """Of a new look at it, or, while another waits for one, of the last."""
        asking, is_first = self._asking, self._asking is None
        if asking is None:
            self._asked = self._clock.monotonic()
            # It goes on where whoever waits for it has gone: the store hears of one at a time.
            asking = self._asking = asyncio.create_task(self._ask())
        waits = is_first or self._answered is None
        seconds = CHECK_SECONDS - (self._clock.monotonic() - self._asked)
        if waits:
            await asyncio.wait({asking}, timeout=seconds)
        if asking.done():
            asking.result()
            return self._verdict
        if not waits and seconds > 0:
            return self._verdict
        silent = self._clock.monotonic() - self._asked
        return Fault(
            "store",
            "store_silent",
            f"the manager's database hasn't answered for {silent:.0f} seconds",
            "look at its server, its disk and the way to it; the manager recovers by itself",
        )

    async def _ask(self) -> None:
        try:
            await self._store.check()
            self._verdict = None
        except PrivySealError as why:
            self._verdict = Fault("store", why.code, why.detail, why.hint)
        finally:
            self._answered, self._asking = self._clock.monotonic(), None


def expiry_of(certificate: Path) -> int:
    """When the first certificate of a PEM file expires. Raises Malformed."""
    # Late: who serves plain text on loopback needs no X.509.
    from cryptography.x509 import load_pem_x509_certificate

    try:
        return int(load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc.astimezone(UTC).timestamp())
    except (OSError, ValueError):
        raise Malformed("tls_unreadable", "tls_certificate can't be read", "it is a file of PEM certificates") from None
