"""The scope document: an organisation or a project. Signed by a principal with `admin` over the scope that holds it."""

from __future__ import annotations

from shared.documents.fields import Identifier, Line, Name, Opaque, Revisioned, ScopeText, Tags


class ScopeDocument(Revisioned, frozen=True, kw_only=True):
    """`scope` is the parent: an organisation lives in `account`, a project in `org/ORG`."""

    id: Opaque
    scope: ScopeText
    identifier: Identifier
    name: Name
    description: Line = ""
    tags: Tags = {}
    deleted: bool = False
