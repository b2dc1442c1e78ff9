"""Which connectors, of those whose tests are remembered, name a secret: by account, and once for each connector.

Promises: takes room for each connector and not for each test, whatever its author has it name. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.documents.connector import ConnectorDocument
from shared.names import Reference, Scope


class Named:
    """All accounts'."""

    def __init__(self) -> None:
        self._references: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {}
        """By account and connector: the digest of its document, and the secrets that that names, as references in full."""
        self._connectors: dict[tuple[str, str], set[str]] = {}

    def put(self, account: str, connector: ConnectorDocument, digest: str) -> None:
        """What the connector names by that revision, instead of what it named by an older one."""
        place = account, connector.id
        known = self._references.get(place)
        if known is not None and known[0] == digest:
            return
        self.drop(*place)
        scope = Scope.parse(connector.scope)
        references = tuple(str(Reference.parse(one, scope)) for one in connector.secrets)
        self._references[place] = digest, references
        for one in references:
            self._connectors.setdefault((account, one), set()).add(connector.id)

    def drop(self, account: str, connector: str) -> None:
        """None of its tests is remembered any more; nothing where none was."""
        _, references = self._references.pop((account, connector), ("", ()))
        for one in references:
            connectors = self._connectors.get((account, one), set())
            connectors.discard(connector)
            if not connectors:
                self._connectors.pop((account, one), None)

    def naming(self, account: str, reference: str) -> Iterable[str]:
        """The connectors, by their ids, that name the secret."""
        return tuple(self._connectors.get((account, reference), ()))

    def __len__(self) -> int:
        return len(self._references) + len(self._connectors)
