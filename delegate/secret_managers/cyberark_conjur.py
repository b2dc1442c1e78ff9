"""The kind `CyberArkConjur`: variables of a Conjur, read by their ids. Nothing is written: see the settings' module.

Promises: a reference can't lead to another route of Conjur than that of its variable; reads of one moment are asked for in one
call, and each has its own value or its own error all the same; a value comes under the very id that was asked for. Formats:
Conjur's REST API, `GET /secrets/ACCOUNT/variable/ID` and `GET /secrets?variable_ids=`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from delegate.credentials.cyberark_conjur import Conjur
from delegate.credentials.refusals import Refusal, Refusals
from delegate.credentials.rest import encoded
from delegate.secret_managers.direct import Direct, Found, ReadStore
from delegate.secret_managers.interface import SecretVersion, Surroundings
from shared.connectors.cyberark_conjur import CyberArkConjurSettings
from shared.connectors.kinds import settings
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.documents.secret import LARGEST_VALUE_BYTES
from shared.errors import Denied, Malformed, NotFound, PrivySealError

TOGETHER = 50
"""Variables in one call."""
TOGETHER_CHARACTERS = 3_000
"""Of their ids; common servers take lines of 8 KiB."""
TOGETHER_SECONDS = 0.003
"""How long a read waits for others of the same moment."""

Values = Mapping[str, Plaintext | PrivySealError]


class ConjurVariables(ReadStore):
    """The variables of one account, as a secret store."""

    concurrency = TOGETHER
    longest_value = LARGEST_VALUE_BYTES

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        told = settings("CyberArkConjur", connector.spec)
        assert isinstance(told, CyberArkConjurSettings)
        self._account = told.account
        self._conjur = Conjur(told, connector, surroundings, secrets)
        self._gathering: _Gathering | None = None
        self._calls: set[asyncio.Task[Values]] = set()

    async def check(self) -> None:
        """Whether Conjur knows the connector's role."""
        await self._conjur.check()

    async def read(self, locator: str, version: str, secret: SecretVersion) -> Found:
        """The version that the metadata say, the newest where they say none."""
        name, version = _named(locator), _chosen(secret)
        if version or "," in name:
            return Found(await self._alone(name, version), version)
        if self._gathering is None or not self._gathering.takes(name):
            self._gathering = self._gathered()
        gathering = self._gathering
        gathering.names[name] = None
        found = (await asyncio.shield(gathering.call))[name]
        if isinstance(found, PrivySealError):
            raise found
        return Found(found, "")

    async def close(self) -> None:
        """End what is under way, forget the token, close the connections."""
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        await self._conjur.close()

    def _gathered(self) -> _Gathering:
        names: dict[str, None] = {}
        call = asyncio.create_task(self._together(names))
        self._calls.add(call)
        call.add_done_callback(self._ended)
        return _Gathering(names, call)

    def _ended(self, call: asyncio.Task[Values]) -> None:
        self._calls.discard(call)
        # Everybody may have left; that it failed is then nobody's concern, nor a line in the log.
        if not call.cancelled():
            call.exception()

    async def _together(self, names: dict[str, None]) -> Values:
        """What each of `names`, and of those that join them within a moment, has."""
        await asyncio.sleep(TOGETHER_SECONDS)
        if self._gathering is not None and self._gathering.names is names:
            self._gathering = None
        if len(names) > 1:
            try:
                return await self._batch(tuple(names))
            except (Denied, Malformed, NotFound) as why:
                if why.code not in _ONE_OF_THEM:
                    raise
        # Conjur answers all or none: which one is the cause is told by asking for each.
        return dict(zip(names, await asyncio.gather(*(self._kept(name) for name in names)), strict=True))

    async def _batch(self, names: tuple[str, ...]) -> Values:
        ids = {name: f"{self._account}:variable:{name}" for name in names}
        about = f"read on {len(names)} variables"
        answer = await self._conjur.ask(about, "/secrets", {"variable_ids": ",".join(ids.values())}, _UNTEXTUAL)
        values = self._conjur.parsed(answer, dict[str, str], about)
        if not values.keys() >= set(ids.values()):
            raise self._conjur.garbled(about)
        return {name: Plaintext(values[id].encode()) for name, id in ids.items()}

    async def _kept(self, name: str) -> Plaintext | PrivySealError:
        try:
            return await self._alone(name, "")
        except PrivySealError as why:
            return why

    async def _alone(self, name: str, version: str) -> Plaintext:
        about = f"read on the variable {name}"
        query = {"version": version} if version else {}
        answer = await self._conjur.ask(about, encoded("secrets", self._account, "variable", name), query)
        if not answer.body:
            # A variable's value is never empty.
            raise self._conjur.garbled(about)
        return Plaintext(answer.body)


class _Gathering:
    """Reads that will be one call."""

    def __init__(self, names: dict[str, None], call: asyncio.Task[Values]) -> None:
        self.names = names
        self.call = call

    def takes(self, name: str) -> bool:
        """Whether one more fits."""
        length = sum(len(encoded(one)) for one in (*self.names, name))
        return name in self.names or (len(self.names) < TOGETHER and length <= TOGETHER_CHARACTERS)


class CyberArkConjur(Direct):
    """The kind `CyberArkConjur`."""

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        super().__init__(ConjurVariables(connector, surroundings, secrets), surroundings.zone)


def _named(locator: str) -> str:
    if any(part in {"", ".", ".."} or not part.isprintable() for part in locator.split("/")):
        raise Malformed(
            "path_malformed",
            "the id of a variable is malformed",
            "give its whole id, without the account: parts with / between them, none of them empty, . or ..",
        )
    return locator


def _chosen(secret: SecretVersion) -> str:
    if not secret.secret.metadata.keys() <= {"version"}:
        raise Malformed(
            "metadata_unknown",
            "additionalMetadata of the secret has a value that means nothing to Conjur",
            "known is version",
        )
    version = secret.secret.metadata.get("version", "")
    if version in {"", "latest"}:
        return ""
    if not (version.isascii() and version.isdigit() and 0 < int(version) < 2**31):
        raise Malformed(
            "version_malformed",
            "the version in additionalMetadata isn't one that Conjur could have",
            "give a number from 1 on, or latest",
        )
    return version


# What fails for all where it fails for one.
_ONE_OF_THEM = {"conjur_denied", "conjur_missing", "conjur_untextual", "conjur_invalid", "value_too_large"}
_UNTEXTUAL: Refusals = {
    406: Refusal(Malformed, "conjur_untextual", "one of the values of {about} is no text", "it is asked for alone")
}
