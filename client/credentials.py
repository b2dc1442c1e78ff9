"""Credentials: the secrets that a connector names, and whether its signer may name them.

Promises: a connector that this client signs names only secrets that are there, that its signer may use, that its own zone can
open, and that don't lead back to itself. A delegate judges by its own rules again. Must not open any of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from client.account import Account
from client.descriptions import Description
from client.directory import Directory, Known
from client.tasks import places_of
from shared.documents.connector import ConnectorDocument
from shared.errors import Denied, Malformed, NotFound, PrivySealError
from shared.names import Reference, Scope

_LONGEST = 8
"""Connectors that may stand on each other's secrets."""


class Credentials:
    """One account's."""

    def __init__(self, account: Account, directory: Directory) -> None:
        self._account = account
        self._directory = directory

    async def check(
        self, description: Description, wanted: ConnectorDocument, planned: Mapping[str, ConnectorDocument]
    ) -> None:
        """Raises Malformed, NotFound or Denied at the field that names the secret. `planned` are to be published together."""
        here, named = Scope.parse(wanted.scope), description.settings.named_references()
        for path, text in named.items():
            field, place = f"spec.{path}", Reference.parse(text, here)
            (known,) = await self._directory.find([place], fresh=True)
            if isinstance(known, PrivySealError):
                raise _at(description, field, known)
            self._check_use(description, field, known)
            if known.connector.document.keyring != wanted.keyring:
                raise description.refused(
                    field,
                    f"the secret belongs to another keyring than the connector's, {wanted.keyring}",
                    "no delegate could open it; store it at a connector of the same keyring",
                    code="secret_of_other_keyring",
                )
            await self._check_cycle(description, field, wanted, known, planned)

    def _check_use(self, description: Description, field: str, known: Known) -> None:
        account, secret = self._account, known.secret.document
        scope = Scope.parse(secret.scope)
        try:
            account.book.authority.chain(account.identity.kid, "use", scope, secret.id, account.clock())
        except Denied as why:
            raise _at(
                description,
                field,
                Denied(why.code, f"you may not use the secret that it names ({why.detail})", why.hint),
            ) from None

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
                if connector.id == wanted.id or depth > _LONGEST:
                    raise description.refused(
                        field,
                        "Detected cyclic dependency in credentials of secret manager",
                        "store the secret in the built-in secret manager",
                        code="credentials_cyclic",
                    )
                found += await self._below(planned.get(connector.id, connector))
            waiting = found

    async def _below(self, connector: ConnectorDocument) -> list[Known]:
        """The secrets that a connector names; what can't be followed can't lead back through this client's changes."""
        found = await self._directory.find(places_of(connector))
        return [one for one in found if isinstance(one, Known)]


def references(description: Description, here: Scope) -> tuple[str, ...]:
    """The secrets that a connector at `here` names, as its document lists them. Raises Malformed at the field."""
    named = description.settings.named_references()
    for path, text in named.items():
        try:
            Reference.parse(text, here)
        except Malformed as why:
            raise description.refused(f"spec.{path}", why.detail, why.hint, code=why.code) from None
    return tuple(sorted(set(named.values())))


def _at(description: Description, field: str, why: PrivySealError) -> PrivySealError:
    """The same error with its place in front."""
    placed = description.refused(field, why.detail, why.hint, code=why.code)
    return type(why)(why.code, placed.detail, why.hint, **placed.facts) if isinstance(why, NotFound | Denied) else why
