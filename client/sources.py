"""Sources: where the values come from that a task asks for. Each is a stored secret, or what a connector reads directly."""

from __future__ import annotations

from dataclasses import dataclass

from client.directory import Directory, Known
from client.meanings import Meaning
from client.tasks import Subject
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.errors import PrivySealError
from shared.names import Reference
from shared.references import DirectReference


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


def source_of(place: Reference, found: Known | PrivySealError) -> Source | PrivySealError:
    """The source of a stored secret that was looked for, or why there is none."""
    return found if isinstance(found, PrivySealError) else Source(place, found.connector, found.secret.document.scope)


async def sourced(directory: Directory, meant: DirectReference) -> Source | PrivySealError:
    """The source of what is fetched directly, or why there is none."""
    try:
        connector = await directory.read_by(meant)
    except PrivySealError as why:
        return why
    return Source(meant, connector, connector.document.scope)
