"""Explanations: why a task went to the delegate that it went to, and where the next one would go.

Promises: nothing is sent to a delegate and nothing is signed. All of it is the manager's word but for the certificates of those
who could take a task, which are held against the keyring here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from client.account import Account, page_of
from client.candidates import certified, drawn, needed
from client.directory import Directory
from client.tasks import Operation, connectors_in_use, place_of
from shared.documents.task import EXEC, REPEAT
from shared.errors import Malformed, PrivySealError
from shared.names import Reference, Scope

OPERATIONS: tuple[str, ...] = get_args(Operation)


class Explanations:
    """One account's. `here` is where bare names live."""

    def __init__(self, account: Account, directory: Directory, here: Scope) -> None:
        self._account = account
        self._directory = directory
        self._here = here

    async def task(self, digest: str) -> dict[str, Any]:
        """What happened to a task: `steps` (chosen and why, who was passed over then, waits, lost), `wanted`, state and code.

        While it waits, `delegates` has each rule as it is now. Raises NotFound, also where it is another's and one isn't an
        administrator.
        """
        return (await self._account.ask("GET", f"tasks/{digest}/explanation")).json()

    async def choice(
        self, connector: str, op: str = "reveal", *, selectors: Sequence[str] = (), scope: str = ""
    ) -> dict[str, Any]:
        """Who would get a task about that connector, or about a secret of it that lives in `scope`.

        By default that is the chosen scope where the connector may be used in it, else the connector's own; a `check` is about
        the connector itself. Gives `winner` (delegate, name, why; None where a task would wait or nobody fits), `drawn` (for
        exec and delete: the names among which the client draws the one, who is named in the task), `certified` (`yes` or the
        code of what is wrong with a candidate's certificate), `delegates` (each with `verdict` and `rules`), `others` (those that
        are past 1,000, by code) and `wanted`. Raises NotFound, Malformed.
        """
        if op not in OPERATIONS:
            raise Malformed("op_unknown", "the operation isn't known", f"one of {', '.join(OPERATIONS)}")
        account = self._account
        await account.sync()
        via = await self._directory.connector(Reference.parse(connector, self._here))
        used = [via, *connectors_in_use(self._directory.credentials([via]))]
        place = self._place(Scope.parse(via.document.scope), op, scope)
        need, keyring = needed(account, used, str(place), selectors, runs_commands=op == EXEC)
        reply = await account.ask("POST", "plan", json={**need, "explain": True}, repeatable=True)
        told, (candidates, _) = reply.json(), page_of(reply, "candidates")
        try:
            fit = await certified(account, candidates, keyring, need)
            vouched = "yes" if len(fit) == len(candidates) else "certificate_other"
        except PrivySealError as why:
            fit, vouched = [], why.code
        once = REPEAT[op] == "never"
        return {
            "connector": str(place_of(via.document)),
            "op": op,
            "wanted": {key: value for key, value in need.items() if key != "connectors"},
            "winner": None if once else told.get("winner"),
            "drawn": sorted(one.name for one in drawn(fit)) if once else [],
            "waits": bool(candidates) and not told.get("winner"),
            "certified": vouched,
            "delegates": told.get("delegates") or [],
            "others": told.get("others") or {},
        }

    def _place(self, of_connector: Scope, op: str, scope: str) -> Scope:
        if op == "check":
            return of_connector
        place = Scope.parse(scope) if scope else self._here if of_connector.covers(self._here) else of_connector
        if not of_connector.covers(place):
            raise Malformed(
                "connector_out_of_scope",
                f"the connector of {of_connector} can't hold secrets of {place}",
                "name a scope at or below the connector's",
            )
        return place
