"""Logins: trying an SSHKey at a host, from a delegate that could use it.

Promises: the delegate logs in and out again and runs nothing; its word is signed. Must not learn what logs in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from client.account import Account
from client.directory import Directory
from client.dispatch import WAIT_SECONDS, perform
from client.outcomes import raise_first
from client.readers import Readers
from client.tasks import SignedTask, Subject, sign_task
from shared.documents.secret import SSH_KEY
from shared.documents.usage import TaskUsage
from shared.errors import Malformed
from shared.names import Reference, Scope
from shared.ssh import check_host


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A delegate's signed word that the login works from where it is."""

    place: Reference
    host: str
    delegate: str
    name: str
    milliseconds: int


class Logins:
    """One account's. `here` is where bare names live."""

    def __init__(self, account: Account, directory: Directory, readers: Readers, here: Scope) -> None:
        self._account = account
        self._directory = directory
        self._readers = readers
        self.here = here

    async def test(
        self, reference: str, host: str, *, selectors: Sequence[str] = (), usage: TaskUsage | None = None
    ) -> LoggedIn:
        """Has a delegate log in at `host` with the SSHKey `reference`. Raises the delegate's signed error.

        Denied names the key that an unknown host has shown; NotReady `no_delegate` says for each delegate why it couldn't.
        """
        host, place, account = check_host(host), Reference.parse(reference, self.here), self._account
        await account.sync()
        known = await self._directory.one(place, fresh=True)
        if known.secret.document.type != SSH_KEY:
            raise Malformed(
                "secret_no_login",
                f"{reference} is a {known.secret.document.type}, and only an SSHKey logs in",
                "describe one: docs/ssh.md",
            )

        def make() -> SignedTask:
            newest = self._directory.current(place)
            return sign_task(
                account.book,
                account.identity,
                "check",
                [Subject(newest.secret, newest.connector, reference=host)],
                self._readers.take(),
                account.clock(),
                selectors=selectors,
                credentials=self._directory.credentials([], [newest.secret.document]),
                usage=usage,
                lasting_seconds=account.patience.lasting_seconds,
            )

        began = monotonic()
        _, opened = await perform(account, make, self._directory.learn, WAIT_SECONDS)
        raise_first(opened)
        return LoggedIn(place, host, opened.delegate, opened.name, round((monotonic() - began) * 1000))
