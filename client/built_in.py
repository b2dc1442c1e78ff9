"""The built-in secret manager's switch: disabled, it takes no new secrets, and those that are there go on.

Promises: it is disabled only where new secrets have somewhere else to go, whose own credentials it keeps already, so that
nobody locks himself out. Only administrators switch it. Must not touch any secret.
"""

from __future__ import annotations

from typing import Any, cast

from client.account import Account
from client.descriptions import Description
from client.directory import Directory, Known
from client.drafts import next_revision
from client.publish import Publisher
from client.tasks import places_of
from shared.connectors.model import DEFAULT_ALIAS
from shared.documents.connector import BUILT_IN, BUILT_IN_ALIASES, ConnectorDocument
from shared.documents.jws import Verified
from shared.errors import Conflict, Denied, Malformed
from shared.names import ACCOUNT_SCOPE, Reference, Scope


class BuiltIn:
    """One account's."""

    def __init__(self, account: Account, publisher: Publisher, directory: Directory) -> None:
        self._account = account
        self._publisher = publisher
        self._directory = directory

    async def disable(self) -> Verified[ConnectorDocument]:
        """Lets it take no new secrets; it is its scope's default no more. What is so already stays as it is.

        Raises Denied for who isn't an administrator, Conflict where no other secret manager in the account's scope has all
        its credentials (if any) in the built-in one.
        """
        connector = await self._own()
        if connector.document.is_disabled:
            return connector
        await self._check_other(connector)
        return await self._publish({"disabled": True}, "default", DEFAULT_ALIAS)

    async def enable(self) -> Verified[ConnectorDocument]:
        """Lets it take new secrets again. Raises Denied."""
        connector = await self._own()
        return await self._publish({}, "disabled") if connector.document.is_disabled else connector

    async def _own(self) -> Verified[ConnectorDocument]:
        await self._account.sync(force=True)
        if not self._account.is_administrator:
            raise Denied(
                "not_administrator",
                "only an administrator disables or enables the built-in secret manager",
                "ask one: privyseal account show lists them",
            )
        return await self._directory.connector(None)

    async def _publish(self, more: dict[str, Any], *less: str) -> Verified[ConnectorDocument]:
        connector = await self._directory.connector(None)
        spec = {**{key: value for key, value in connector.document.spec.items() if key not in less}, **more}
        (made,) = (await self._publisher.publish(lambda now: [next_revision(connector, now, spec=spec)]))[:1]
        return cast("Verified[ConnectorDocument]", made)

    async def _check_other(self, built_in: Verified[ConnectorDocument]) -> None:
        others: list[str] = []
        async for one in self._directory.documents("connector", ConnectorDocument, ACCOUNT_SCOPE, below=False):
            # What isn't believed can't take anybody's secrets.
            if not one.verified or one.document.deleted or one.document.id == built_in.document.id:
                continue
            if await self._stands_on(one.document, built_in.document):
                return
            others.append(f"account.{one.document.identifier}")
        if others:
            raise Conflict(
                "built_in_needed",
                "no other secret manager in the account's scope has all its credentials in the built-in one, or needs none",
                f"store those of one of them there first: {', '.join(sorted(others))}",
                connectors=sorted(others),
            )
        raise Conflict(
            "built_in_needed",
            "there is no other secret manager in the account's scope: new secrets would have nowhere to go",
            "make one first: privyseal connector create",
        )

    async def _stands_on(self, connector: ConnectorDocument, built_in: ConnectorDocument) -> bool:
        held = await self._directory.find(places_of(connector), fresh=True)
        return all(isinstance(one, Known) and one.n and one.connector.document.id == built_in.id for one in held)


def check_named(text: str, here: Scope) -> None:
    """Raises Malformed for a reference that names another connector than the built-in."""
    place = Reference.parse(text, here)
    if place.identifier not in BUILT_IN_ALIASES:
        raise Malformed(
            "connector_not_built_in",
            f"only the built-in secret manager can be disabled, and {place.identifier} is another",
            f"it is account.{BUILT_IN}; delete other connectors",
        )


def check_switch(description: Description, before: ConnectorDocument | None, wanted: ConnectorDocument) -> None:
    """Raises Malformed for YAML that would disable or enable: that has preconditions, and is a command."""
    if wanted.is_disabled == (before is not None and before.is_disabled):
        return
    if (wanted.scope, wanted.identifier) != (str(ACCOUNT_SCOPE), BUILT_IN):
        raise description.refused(
            "spec.disabled", "only the built-in secret manager can be disabled", "leave it out, or delete the connector"
        )
    raise description.refused(
        "spec.disabled",
        "the built-in secret manager is disabled and enabled by a command of its own",
        f"leave the field as it is; privyseal connector {'disable' if wanted.is_disabled else 'enable'} account.{BUILT_IN}",
    )
