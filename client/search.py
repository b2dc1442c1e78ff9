"""Search: which of the listed things somebody means by a piece of text.

Promises: letters count alike in either case; names, identifiers, descriptions and tags are looked at, nothing that is secret.
Pure: filters what was verified already, and asks nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from shared.documents.connector import ConnectorDocument
from shared.documents.secret import SecretDocument


def has(search: str, words: Collection[str], tags: Mapping[str, str] | None = None) -> bool:
    """Whether one of the words or of the tags, as KEY:VALUE, has the text; an empty one is in all."""
    told = [*words, *(f"{key}:{value}" if value else key for key, value in (tags or {}).items())]
    return any(search.casefold() in one.casefold() for one in told)


def wanted(document: SecretDocument | ConnectorDocument, search: str, types: Collection[str]) -> bool:
    """Whether a document is of one of the types (of any, where none is named) and has the text."""
    if types and document.type.casefold() not in {one.casefold() for one in types}:
        return False
    return has(search, (document.identifier, document.name, document.description), document.tags)
