"""The delegate's condition: which parts keep it from taking tasks, for probes and for people.

Promises: what is told is so at this moment, judged by the same rules as a task or a stream would be; it names parts and codes,
never an account, a secret or a value. Must not decide anything: whatever fails here is refused where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from delegate.clock import Clock
from delegate.link import Link
from delegate.passport import Passport
from delegate.trust import Trust
from shared.errors import PrivySealError, Unavailable
from shared.trust.certificate import check_certificate

Part = Literal["stream", "status", "keyring", "group", "certificate", "draining"]

_PARTS: Mapping[str, Part] = {"status": "status", "group": "group"}
"""By what the code of a problem begins with; any other is the keyring's."""

Fault = tuple[Part, PrivySealError]
"""A part that fails, and why."""


class Condition:
    """One delegate's."""

    def __init__(self, link: Link, trust: Trust, passport: Passport, clock: Clock) -> None:
        self._link = link
        self._trust = trust
        self._passport = passport
        self._clock = clock

    def faults(self, *, draining: bool) -> list[Fault]:
        """What keeps it from taking tasks, the gravest first; nothing where it takes them."""
        found: list[Fault] = []
        if not self._link.is_open:
            found.append(("stream", _streamless(self._link.state)))
        problem = self._trust.problem()
        if problem is not None and (self._link.is_open or not problem.code.endswith(("_missing", "_unknown"))):
            # What has not come yet is no fault of its own while there is nobody to bring it.
            found.append((_PARTS.get(problem.code.partition("_")[0], "keyring"), problem))
        if problem is None:
            found += _failing("keyring", self._trust.zone.current)
        if self._trust.zone.name in self._trust.book.keyrings:
            found += _failing("certificate", self._check_certificate)
        if draining:
            found.append(
                ("draining", Unavailable("delegate_draining", "the delegate is ending and takes no new tasks"))
            )
        return found

    def _check_certificate(self) -> None:
        book = self._trust.book
        status = book.status.document if book.status else None
        check_certificate(self._passport.certificate, book.keyrings[self._trust.zone.name], status, self._clock.now())


def _failing(part: Part, look: Callable[[], object]) -> list[Fault]:
    try:
        look()
    except PrivySealError as why:
        return [(part, why)]
    return []


def _streamless(state: str) -> Unavailable:
    return Unavailable(
        state, "no stream to the manager is open", "its log says why: look for link.failed and link.lost"
    )
