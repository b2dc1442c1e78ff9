"""Sources: where the values come from that a task asks for. Each is a stored secret, or what a connector reads directly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from client.directory import Directory, Known
from client.meanings import Meaning
from client.tasks import Subject
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.errors import PrivySealError
from shared.names import Reference


@dataclass(frozen=True, slots=True)
class Source:
    """What somebody meant, the connector that reads it, and the scope that it is of."""

    meant: Meaning
    connector: Verified[ConnectorDocument]
    scope: str

    def subject(self, directory: Directory, *, excluded: bool = False) -> Subject:
        """The target of a task, in the newest revisions that the book holds; `excluded` is as in `Target`. Raises NotFound."""
        if isinstance(self.meant, Reference):
            return directory.newest(self.meant, excluded=excluded)
        connector = directory.newest_revision(self.connector)
        return Subject(None, connector, reference=self.meant.reference, metadata=self.meant.metadata)


async def sources_of(
    directory: Directory, places: Sequence[Meaning], stored: Mapping[Reference, Known | PrivySealError]
) -> list[Source | PrivySealError]:
    """Where each place's value comes from, or why from nowhere; `stored` is what those of them that are secrets stand for.

    A connector that is to read directly is asked for once, however many of the places it reads.
    """
    connectors: dict[tuple[Reference, str], Verified[ConnectorDocument] | PrivySealError] = {}
    sources: list[Source | PrivySealError] = []
    for one in places:
        if isinstance(one, Reference):
            known = stored[one]
            sources.append(
                known
                if isinstance(known, PrivySealError)
                else Source(one, known.connector, known.secret.document.scope)
            )
            continue
        reader = one.connector, one.kind
        if reader not in connectors:
            try:
                connectors[reader] = await directory.read_by(one)
            except PrivySealError as why:
                connectors[reader] = why
        connector = connectors[reader]
        sources.append(
            connector if isinstance(connector, PrivySealError) else Source(one, connector, connector.document.scope)
        )
    return sources
