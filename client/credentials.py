"""Credentials: the secrets that a connector names, and whether its signer may name them.

Promises: a connector that this client signs names only secrets that are there, that its signer may use, that its own zone can
open, and that don't lead back to itself. A delegate judges by its own rules again. Must not open any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from client.account import Account
from client.changes import Described
from client.descriptions import Description
from client.directory import Directory, Known
from client.tasks import place_of, places_of
from shared.documents.connector import CUSTOM, ConnectorDocument
from shared.documents.jws import Verified
from shared.documents.secret import SSH_KEY, SecretDocument
from shared.errors import Denied, Malformed, NotFound, PrivySealError
from shared.names import Reference, Scope

NO_LOGINS: Mapping[Reference, Known] = {}
_LONGEST = 8
"""Connectors that may stand on each other's secrets."""


class Credentials:
    """One account's."""

    def __init__(self, account: Account, directory: Directory) -> None:
        self._account = account
        self._directory = directory

    async def named(
        self, description: Described, field: str, place: Reference, logins: Mapping[Reference, Known] = NO_LOGINS
    ) -> Known:
        """The secret that a field names: it is there (or one of the `logins` to be made) and this identity may use it.

        Raises NotFound, Denied or Malformed at the field.
        """
        account = self._account
        try:
            known = logins.get(place) or await self._directory.one(place, fresh=True)
            secret = known.secret.document
            try:
                account.book.authority.chain(
                    account.identity.kid, "use", Scope.parse(secret.scope), secret.id, account.clock()
                )
            except Denied as why:
                raise Denied(why.code, f"you may not use {place} ({why.detail})", why.hint) from None
        except (Denied, Malformed, NotFound) as why:
            placed = description.refused(field, why.detail, why.hint)
            raise type(why)(why.code, placed.detail, why.hint, **placed.facts) from None
        return known

    async def check(
        self,
        description: Description,
        wanted: ConnectorDocument,
        planned: Mapping[str, ConnectorDocument],
        logins: Mapping[Reference, Known],
    ) -> None:
        """Raises Malformed, NotFound or Denied at the field that names the secret.

        `planned` are to be published together, and the SSHKeys `logins` before them.
        """
        here, named = Scope.parse(wanted.scope), [*description.settings.named_references().items()]
        # What the connector doesn't name itself is its template's.
        own = {text for _, text in named}
        named += [("template.templateRef", one) for one in wanted.secrets if one not in own]
        for path, text in named:
            field, place = f"spec.{path}", Reference.parse(text, here)
            known = await self.named(description, field, place, logins)
            self._check_fit(description, field, known)
            check_keyring(description, field, known, wanted.keyring)
            await self._check_cycle(description, field, wanted, known, planned)

    @staticmethod
    def _check_fit(description: Description, field: str, known: Known) -> None:
        """An SSHKey is for the login of a custom secret manager, and nothing else is."""
        is_login = known.secret.document.type == SSH_KEY
        if is_login != (description.type == CUSTOM and field == "spec.connectorRef"):
            raise description.refused(
                field,
                "the secret is an SSHKey, which has no value of its own" if is_login else "the secret is no SSHKey",
                f"only the connectorRef of a {CUSTOM} names an SSHKey, and nothing else",
                code="credential_unfit",
            )

    async def _check_cycle(
        self,
        description: Description,
        field: str,
        wanted: ConnectorDocument,
        known: Known,
        planned: Mapping[str, ConnectorDocument],
    ) -> None:
        """Follows the secret to its connector, to that one's secrets, and so on."""
        waiting, depth = [known], 0
        while waiting:
            depth += 1
            found: list[Known] = []
            for one in waiting:
                connector = one.connector.document
                leads_back = connector.id == wanted.id and one.secret.document.type != SSH_KEY
                if leads_back or depth > _LONGEST:
                    raise description.refused(
                        field,
                        "Detected cyclic dependency in credentials of secret manager",
                        "store the secret in the built-in secret manager",
                        code="credentials_cyclic",
                    )
                # Who holds an SSHKey keeps nothing of it: what counts is what the SSHKey names.
                secret = one.secret.document
                holder = secret if secret.type == SSH_KEY else planned.get(connector.id, connector)
                found += await self._below(holder)
            waiting = found

    async def _below(self, holder: ConnectorDocument | SecretDocument) -> list[Known]:
        """The secrets that something names; what can't be followed can't lead back through this client's changes."""
        found = await self._directory.find(places_of(holder))
        return [one for one in found if isinstance(one, Known)]

    # ---- looking

    async def plan_of(self, connector: Verified[ConnectorDocument]) -> list[dict[str, Any]]:
        """A row for each secret that the connector names, then for what holds those; an SSHKey's own secrets follow it.

        `state` is `ok`, or why the secret can't be had: the code of the error.
        """
        waiting: list[Verified[ConnectorDocument] | Verified[SecretDocument]] = [connector]
        rows: list[dict[str, Any]] = []
        seen: set[str] = set()
        while waiting:
            holder = waiting.pop(0)
            if holder.document.id in seen:
                continue
            seen.add(holder.document.id)
            for place in places_of(holder.document):
                (found,) = await self._directory.find([place])
                row: dict[str, Any] = {
                    "connector": str(place_of(holder.document)),
                    "type": holder.document.type,
                    "secret": str(place),
                    "n": "",
                    "holder": "",
                    "state": "ok",
                }
                if isinstance(found, PrivySealError):
                    row["state"] = found.code
                else:
                    row |= {"n": found.n or "", "holder": str(place_of(found.connector.document))}
                    row["state"] = self._state(holder.kid, found)
                    waiting.append(found.secret if found.secret.document.type == SSH_KEY else found.connector)
                rows.append(row)
        return rows

    def _state(self, kid: str, held: Known) -> str:
        """Whether the signer of what names a secret may use it, and there is a value."""
        account, secret = self._account, held.secret.document
        try:
            account.book.authority.chain(kid, "use", Scope.parse(secret.scope), secret.id, account.clock())
        except Denied as why:
            return why.code
        return "ok" if held.n or secret.type == SSH_KEY else "version_unknown"


def references(description: Description, here: Scope) -> tuple[str, ...]:
    """The secrets that a connector at `here` names, as its document lists them. Raises Malformed at the field."""
    named = description.settings.named_references()
    for path, text in named.items():
        try:
            Reference.parse(text, here)
        except Malformed as why:
            raise description.refused(f"spec.{path}", why.detail, why.hint, code=why.code) from None
    return tuple(sorted(set(named.values())))


def check_keyring(description: Described, field: str, known: Known, keyring: str) -> None:
    """The delegates of a keyring can open the secret that is named at a field. Raises Malformed."""
    if known.connector.document.keyring != keyring:
        raise description.refused(
            field,
            f"the secret belongs to another keyring than what names it, {keyring}",
            "no delegate could open it; store it at a connector of the same keyring",
            code="secret_of_other_keyring",
        )
