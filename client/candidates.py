"""Candidates: the delegates that may be named in a task that must not run twice.

Promises: a delegate that is given was certified by the keyring's own certifier and carries the selectors, whatever the
manager says of it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from client.account import Account, page_of
from client.choice import Choice
from client.tasks import keyring_of
from shared.condition import parsed
from shared.documents.connector import ConnectorDocument
from shared.documents.fields import Key
from shared.documents.jws import Verified, thumbprint
from shared.documents.task import EXEC
from shared.errors import Malformed, NotReady
from shared.selectors import effective, missing
from shared.trust.certificate import check_certificate


@dataclass(frozen=True, slots=True)
class Candidate:
    """A delegate by the key that the keyring certifies."""

    key: Key
    name: str

    @property
    def thumbprint(self) -> str:
        """How a task names it."""
        return thumbprint(self.key)


async def candidate(
    account: Account,
    connectors: Iterable[Verified[ConnectorDocument]],
    scope: str,
    selectors: Sequence[str],
    *,
    runs_commands: bool = False,
) -> Candidate:
    """A delegate that can use all those connectors, which belong to one keyring. Raises NotReady with each one's reasons."""
    used = list(connectors)
    if len({one.document.keyring for one in used}) != 1:
        raise Malformed(
            "keyrings_differ",
            "the secrets belong to different keyrings, and no delegate holds more than one",
            "use secrets of one keyring at a time",
        )
    keyring = keyring_of(account.book, used[0])
    choice = Choice.of(selectors)
    conditions = {choice.where, *(one.document.where for one in used)} - {""}
    wanted = effective(
        ((one, choice.origin) for one in choice),
        (selector for one in used for selector in one.document.selectors),
    )
    kinds = {one.document.type for one in used} | ({EXEC} if runs_commands else set())
    plan = {
        "keyring": keyring.document.id,
        "gen": keyring.document.gen,
        "kinds": sorted(kinds),
        "scope": scope,
        "selectors": sorted(wanted),
        "where": sorted(conditions),
    }
    reply = await account.ask("POST", "plan", json=plan, repeatable=True)
    candidates, _ = page_of(reply, "candidates")
    status = account.live_status().document
    fit: list[Candidate] = []
    for one in candidates:
        certificate = check_certificate(str(one.get("certificate")), keyring, status, account.clock()).document
        meets = all(parsed(one).holds(certificate.tags) for one in conditions)
        if meets and not missing(wanted, certificate.tags):
            fit.append(Candidate(certificate.key, certificate.name))
    if not fit:
        raise NotReady(
            "no_delegate",
            "no delegate can take the task now",
            "see privyseal delegate list",
            delegates=reply.json().get("refused") or [],
        )
    return random.choice(fit)  # noqa: S311 (any will do)
