"""Views: what the manager tells of delegates and tasks.

Promises: says of each delegate whether the account's keyring really certifies it, and shows of connectors' tests only those
that such a delegate signed. Everything else here is the manager's word, for looking at, and nothing is decided by it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from client.account import Account, Pages, page_of
from client.checks import Test, read_tests
from client.search import has
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified, thumbprint
from shared.errors import NotFound, PrivySealError
from shared.names import Scope
from shared.selectors import normalise_all
from shared.trust.certificate import check_certificate
from shared.trust.group import check_group, tags_of


class Views:
    """One account's."""

    def __init__(self, account: Account) -> None:
        self._account = account

    async def delegates(self, search: str = "", selectors: Sequence[str] = ()) -> list[dict[str, Any]]:
        """As the manager lists them, each with `certified`: `yes`, or the code of what is wrong with its certificate.

        `yes` says that the certificate is that of the listed delegate, name, group and tags (those of the group too) included.
        Those that have all `selectors`, and `search` in name, tags, keyring, version or id. Raises Malformed for what is no
        selector.
        """
        needed = set(normalise_all(selectors))
        found = await self._listed(force=False)
        if any(one["certified"] != "yes" for one in found):
            # A group, keyring or the status may be newer than what this client last asked for: that is no alarm.
            found = await self._listed(force=True)
        return [one for one in found if needed <= _owned(one) and _has(one, search)]

    async def _listed(self, *, force: bool) -> list[dict[str, Any]]:
        await self._account.sync(force=force)
        found, _ = page_of(await self._account.ask("GET", "delegates"), "delegates")
        return [{**one, "certified": self._certified(one)} for one in found]

    async def delegate(self, text: str) -> dict[str, Any]:
        """The listed one of that name, or the only one whose id begins so; one that is gone too. Raises NotFound."""
        known = await self.delegates()
        found = [one for one in known if one.get("name") == text] or [
            one for one in known if str(one.get("delegate", "")).startswith(text)
        ]
        if len(found) != 1:
            raise NotFound(
                "delegate_unknown",
                "there is no delegate of that name or id, or more than one",
                "privyseal delegate list; give its whole id",
            )
        return found[0]

    def _certified(self, told: dict[str, Any]) -> str:
        book = self._account.book
        keyring = book.keyrings.get(str(told.get("keyring")))
        if keyring is None:
            return "keyring_unknown"
        try:
            status = book.status.document if book.status else None
            document = check_certificate(
                str(told.get("certificate", "")), keyring, status, self._account.clock()
            ).document
            check_group(document.group, book.groups, status)
        except PrivySealError as why:
            return why.code
        tags, group = told.get("tags"), told.get("group") or None
        shown = (
            told.get("delegate"),
            told.get("name"),
            group,
            frozenset(map(str, tags if isinstance(tags, list) else ())),
        )
        # Else a manager could show one delegate's certificate for another's name.
        mine = (thumbprint(document.key), document.name, document.group, tags_of(document, book.groups))
        return "yes" if shown == mine else "certificate_other"

    async def thumbprint(self, text: str) -> str:
        """The whole thumbprint of a delegate: `text` itself, or the only one that begins with it or has that name.

        By their certificates: the manager's word could turn a revocation against somebody else's key. Raises NotFound.
        """
        if re.match(r"[0-9A-Za-z_\-]{43}\Z", text):
            return text
        known = [one for one in await self.delegates() if one["certified"] == "yes"]
        found = {one["delegate"] for one in known if text == one["name"] or one["delegate"].startswith(text)}
        if len(found) != 1:
            raise NotFound(
                "delegate_unknown",
                "there is no certified delegate, or more than one, of that id",
                "privyseal delegate list; a delegate that isn't certified is revoked by its whole id",
            )
        return str(found.pop())

    async def tasks(self, most: int = 50, *, everybody: bool = False) -> list[dict[str, Any]]:
        """One's own tasks, or everybody's, the newest first, at most `most`."""
        found: list[dict[str, Any]] = []
        after: str | None = ""
        pages = Pages()
        while after is not None and len(found) < most:
            query: dict[str, str | int] = {"limit": min(most - len(found), 200), **({"after": after} if after else {})}
            query |= {"all": 1} if everybody else {}
            page, after = page_of(await self._account.ask("GET", "tasks", query=query), "tasks")
            found, after = found + page[: most - len(found)], pages.go_on(after)
        return found

    async def checks(
        self, connectors: Sequence[Verified[ConnectorDocument]], scope: Scope, *, below: bool
    ) -> dict[str, list[Test]]:
        """Delegates' newest tests of these connectors at `scope` (and `below` it), by connector id, the newest first.

        What isn't verified is left out. That the manager shows the newest ones isn't promised: look at their time.
        """
        await self._account.sync()
        told: list[dict[str, Any]] = []
        after: str | None = ""
        pages, one = Pages(), {"connector": connectors[0].document.id} if len(connectors) == 1 else {}
        while after is not None:
            query: dict[str, str | int] = {"scope": str(scope), "limit": 500, **({"below": 1} if below else {}), **one}
            query |= {"after": after} if after else {}
            page, after = page_of(await self._account.ask("GET", "checks", query=query), "checks")
            told, after = told + page, pages.go_on(after)
        tests = read_tests(told, connectors, self._account.book, self._account.clock())
        if sum(map(len, tests.values())) < len(told):
            # A delegate may have tested it by a tag that its group got since this client last asked.
            await self._account.sync(force=True)
            tests = read_tests(told, connectors, self._account.book, self._account.clock())
        return tests

    async def task(self, digest: str) -> dict[str, Any]:
        """One task. Raises NotFound."""
        return (await self._account.ask("GET", f"tasks/{digest}")).json()

    async def cancel(self, digest: str) -> None:
        """Gives a task up. What runs already may have happened all the same."""
        await self._account.ask("DELETE", f"tasks/{digest}")


def _owned(told: dict[str, Any]) -> set[str]:
    """The selectors of a listed delegate: its name counts as one."""
    tags = told.get("tags")
    return {str(told.get("name")), *(map(str, tags) if isinstance(tags, list) else ())}


def _has(told: dict[str, Any], search: str) -> bool:
    return has(search, [*_owned(told), *(str(told.get(name, "")) for name in ("keyring", "version", "delegate"))])
