"""Candidates: the delegates that may be named in a task that must not run twice.

Promises: a delegate that is given was certified by the keyring's own certifier and carries the selectors, whatever the
manager says of it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from client.account import Account, page_of
from client.choice import Choice
from client.tasks import keyring_of
from shared.condition import parsed
from shared.documents.connector import ConnectorDocument
from shared.documents.fields import Key
from shared.documents.jws import Verified, thumbprint
from shared.documents.keyring import KeyringDocument
from shared.documents.task import EXEC
from shared.errors import Malformed, NotReady
from shared.selectors import effective, missing
from shared.trust.certificate import check_certificate
from shared.trust.group import check_group, tags_of


@dataclass(frozen=True, slots=True)
class Candidate:
    """A delegate by the key that the keyring certifies; `free` by the manager's word, where it could take a task at once."""

    key: Key
    name: str
    free: bool = True

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
    need, keyring = needed(account, connectors, scope, selectors, runs_commands=runs_commands)
    reply = await account.ask("POST", "plan", json=need, repeatable=True)
    candidates, _ = page_of(reply, "candidates")
    told = reply.json()
    fit = await certified(account, candidates, keyring, need)
    if not fit:
        raise NotReady(
            "no_delegate",
            "no delegate can take the task now",
            "see privyseal delegate list",
            delegates=told.get("refused") or [],
            **({"others": told["others"]} if told.get("others") else {}),
        )
    return random.choice(drawn(fit))  # noqa: S311 (any will do)


def needed(
    account: Account,
    connectors: Iterable[Verified[ConnectorDocument]],
    scope: str,
    selectors: Sequence[str],
    *,
    runs_commands: bool = False,
) -> tuple[dict[str, Any], Verified[KeyringDocument]]:
    """What a task with those connectors needs of a delegate, as the manager is asked it, and their keyring. Raises Malformed."""
    used = list(connectors)
    if len({one.document.keyring for one in used}) != 1:
        raise Malformed(
            "keyrings_differ",
            "the secrets belong to different keyrings, and no delegate holds more than one",
            "use secrets of one keyring at a time",
        )
    keyring = keyring_of(account.book, used[0])
    choice = Choice.of(selectors)
    wanted = effective(
        ((one, choice.origin) for one in choice),
        (selector for one in used for selector in one.document.selectors),
    )
    kinds = {one.document.type for one in used} | ({EXEC} if runs_commands else set())
    return {
        "keyring": keyring.document.id,
        "gen": keyring.document.gen,
        "kinds": sorted(kinds),
        "scope": scope,
        "selectors": sorted(wanted),
        "where": sorted({choice.where, *(one.document.where for one in used)} - {""}),
        "connectors": sorted({one.digest for one in used}),
    }, keyring


async def certified(
    account: Account, told: Sequence[Mapping[str, Any]], keyring: Verified[KeyringDocument], need: Mapping[str, Any]
) -> list[Candidate]:
    """Those of the manager's candidates who fit by certificate and group too. Raises what is wrong with a certificate."""
    fit = _certified(account, told, keyring, need)
    if len(fit) < len(told):
        # A group may have other tags since this client last asked.
        await account.sync(force=True)
        fit = _certified(account, told, keyring, need)
    return fit


def _certified(
    account: Account, told: Iterable[Mapping[str, Any]], keyring: Verified[KeyringDocument], need: Mapping[str, Any]
) -> list[Candidate]:
    status, groups = account.live_status().document, account.book.groups
    fit: list[Candidate] = []
    for one in told:
        certificate = check_certificate(str(one.get("certificate")), keyring, status, account.clock()).document
        try:
            check_group(certificate.group, groups, status)
        except NotReady:
            # The delegate itself would be as wary.
            continue
        tags = tags_of(certificate, groups)
        meets = all(parsed(condition).holds(tags) for condition in need["where"])
        if meets and not missing(need["selectors"], tags):
            fit.append(Candidate(certificate.key, certificate.name, one.get("free") is True))
    return fit


def drawn(fit: Sequence[Candidate]) -> Sequence[Candidate]:
    """Among whom it is drawn: those who could take the task at once, or all where there is none."""
    return [one for one in fit if one.free] or fit
