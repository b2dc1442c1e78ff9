"""Default connectors: where new secrets go whose author names no connector; one in each scope, else one above, else the built-in.

Promises: a default is a flag in a signed connector; what was once seen as a scope's default isn't given up because it is shown
no more, but only for a newer signed revision of it. Existing secrets stay where they are. Must not publish.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec import structs

from client.account import Account
from client.descriptions import KIND, Description, body_of, describe
from client.directory import Directory
from client.manifest import Manifest
from shared.connectors.catalogue import Catalogue
from shared.connectors.model import DEFAULT_ALIAS
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.errors import Conflict, PrivySealError, Tampered
from shared.names import ACCOUNT_SCOPE, Reference, Scope


@dataclass(frozen=True, slots=True)
class Demotion:
    """A connector that is to be its scope's default no more."""

    before: Verified[ConnectorDocument]
    description: Description
    wanted: ConnectorDocument


class Defaults:
    """One account's."""

    def __init__(self, account: Account, directory: Directory) -> None:
        self._account = account
        self._directory = directory

    async def of(self, scope: Scope) -> Verified[ConnectorDocument]:
        """The connector of new secrets at `scope`. Raises Tampered where one that was seen is withheld, NotFound."""
        for place in _upwards(scope):
            chosen = await self._at(place)
            if chosen is not None:
                document = chosen.document
                found = await self._directory.connector(Reference(place, document.identifier))
                if found.document.id != document.id:
                    raise Conflict("document_changed", "the scope's default connector has just changed", "try again")
                return found
        return await self._directory.connector(None)

    async def _at(self, place: Scope) -> Verified[ConnectorDocument] | None:
        state, found = self._account.state, await self.living(place)
        # Two people may have made one at the same time: the newer word counts, for everybody alike.
        chosen = max(found, key=lambda one: (one.document.iat, one.document.id), default=None)
        id = chosen.document.id if chosen is not None else ""
        seen = state.seen.defaults.get(str(place), "")
        if seen and seen not in {one.document.id for one in found}:
            await self._check_withdrawn(place, seen)
        state.take_default(str(place), id)
        return chosen

    async def living(self, place: Scope) -> list[Verified[ConnectorDocument]]:
        """The connectors at exactly `place` that say that they are its default. Raises why one of them isn't believed."""
        found: list[Verified[ConnectorDocument]] = []
        async for one in self._directory.documents("connector", ConnectorDocument, place, below=False):
            if not one.document.is_default or one.document.deleted:
                continue
            if one.refused:
                raise _unbelieved(one.document, one.refused)
            if one.verified:
                found.append(one.verified)
        return found

    async def _check_withdrawn(self, place: Scope, id: str) -> None:
        """One that was the default before says itself that it isn't any more, or is deleted."""
        newest = await self._directory.connector_of_id(id)
        if newest is None or (newest.document.is_default and not newest.document.deleted):
            raise Tampered(
                "default_withheld",
                f"the default connector of {place} was seen before, and the manager shows it no more",
                "name a connector with --connector, or find out why: it lies outside of your grants now, or it is withheld",
            )

    async def demoted(
        self, wanted: Mapping[str, tuple[Description, ConnectorDocument]], kinds: Catalogue
    ) -> list[Demotion]:
        """The connectors that lose the flag to those that are wanted (by their ids).

        Raises Malformed where two of them are to be the default of one scope.
        """
        winners: dict[str, str] = {}
        for description, document in wanted.values():
            if not document.is_default:
                continue
            first = winners.setdefault(document.scope, document.identifier)
            if first != document.identifier:
                raise description.refused(
                    "spec.default", f"a scope has one default, and {first} is one too", "leave it out of one of them"
                )
        return [
            _demotion(one, kinds)
            for scope in winners
            for one in await self.living(Scope.parse(scope))
            if one.document.id not in wanted
        ]


def _demotion(before: Verified[ConnectorDocument], kinds: Catalogue) -> Demotion:
    document = before.document
    spec = {key: value for key, value in document.spec.items() if key not in {"default", DEFAULT_ALIAS}}
    wanted = structs.replace(document, spec=spec)
    source = f"the account's {document.identifier}"
    return Demotion(before, describe(Manifest(source, 1, KIND, body_of(wanted, ""), {}), kinds), wanted)


def _upwards(scope: Scope) -> list[Scope]:
    return list(dict.fromkeys((scope, Scope(scope.org), ACCOUNT_SCOPE)))


def _unbelieved(document: ConnectorDocument, why: PrivySealError) -> PrivySealError:
    detail = f"the default connector {document.identifier} of {document.scope} isn't believed: {why.detail}"
    return type(why)(why.code, detail, "name a connector with --connector, or have it signed anew", **why.facts)
