"""The kind `CyberArkCcp`: accounts of a Digital Vault through CyberArk's Central Credential Provider. Nothing is written.

    SAFE/OBJECT                 the account OBJECT in the safe's root folder
    SAFE/FOLDER/.../OBJECT      in a folder
    SAFE                        the one account in the safe that `additionalMetadata` tells: UserName, Address, Database, PolicyID

Promises: a reference names one account and can't widen what is asked for; what is answered about another account than the one
that was asked for is refused; what the service says of itself is compared, never repeated. Format: CyberArk's documentation,
"Call the Web Service using REST", with its table of return codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from delegate.credentials.refusals import Refusal, Refusals
from delegate.credentials.rest import Answer, Rest, encoded
from delegate.credentials.rest_refusals import OTHER, refusal
from delegate.secret_managers.direct import Direct, Found, ReadStore
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.secret_managers.selection import split
from delegate.tries import Tries
from shared.connectors.cyberark_ccp import UNSENDABLE, CyberArkCcpSettings
from shared.connectors.kinds import settings
from shared.connectors.servers import parts_of
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.documents.secret import LARGEST_VALUE_BYTES
from shared.errors import Denied, Malformed, NotFound, NotReady, Overloaded, Unavailable

CONCURRENCY = 8
CHECKED = "privyseal-check"
"""The safe and the object that a check asks for."""
PROPERTIES = ("UserName", "Address", "Database", "PolicyID")
"""By which an account is looked for in its safe."""

_ILLEGAL = frozenset('\\/:*?"<>|' + UNSENDABLE)
"""What no name of a safe, folder or object has, and what the service doesn't take."""


class _Account(msgspec.Struct, frozen=True):
    """The properties that are looked at; an account may have others."""

    Content: str
    Safe: str = ""
    Folder: str = ""
    Name: str = ""


class _Said(msgspec.Struct, frozen=True):
    ErrorCode: str = ""


class CcpAccounts(ReadStore):
    """The accounts that one application may use, as a secret store."""

    concurrency = CONCURRENCY
    longest_value = LARGEST_VALUE_BYTES

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        told = settings("CyberArkCcp", connector.spec)
        assert isinstance(told, CyberArkCcpSettings)
        origin, base = parts_of(told.url)
        certificate = None
        if told.client_key is not None:
            certificate = (told.client_certificate.encode(), secrets[told.client_key].reveal())
        self._rest = Rest(
            origin,
            surroundings.policy,
            surroundings.call_seconds,
            authorities=told.ca_certificate,
            certificate=certificate,
            name="the Central Credential Provider",
            code="ccp",
        )
        self._tries = Tries(surroundings.call_seconds, surroundings.randomness)
        self._path = base + encoded(told.web_service, "api", "Accounts")
        self._common = {"AppID": told.app_id, **({"Reason": told.reason} if told.reason else {})}
        if told.fail_on_password_change:
            self._common["FailRequestOnPasswordChange"] = "true"

    async def check(self) -> None:
        """An account that can't be there is asked for; that the service doesn't find it is the answer that is wanted."""
        try:
            await self._asked({"Safe": CHECKED, "Object": CHECKED}, "a check")
        except NotFound:
            pass

    async def read(self, locator: str, version: str, secret: SecretVersion) -> Found:
        """The account's password; all its properties as JSON where the reference selects one."""
        place = _place(locator, secret)
        about = f"the account {locator}"
        answer = await self._asked(place, about)
        account = self._rest.parsed(answer, _Account, about)
        if not _is_asked(account, place):
            raise self._rest.garbled(about)
        if split(secret.secret.reference)[1] is not None:
            return Found(Plaintext(answer.body), "")
        if not account.Content:
            raise NotFound(
                "ccp_empty",
                f"{about} has no password",
                "look at the account in the Vault; the connector's application may lack the right to retrieve it",
            )
        return Found(Plaintext(account.Content.encode()), "")

    async def close(self) -> None:
        """Close the connections."""
        await self._rest.close()

    async def _asked(self, place: Mapping[str, str], about: str) -> Answer:
        async def once() -> Answer:
            answer = await self._rest.ask("GET", self._path, query={**self._common, **place}, about=about)
            if answer.status != 200:
                said = answer.read(_Said)
                # Without a code of its own it isn't the service that answers, but what should lead to it.
                table = REFUSALS if said is not None and said.ErrorCode else {**REFUSALS, **_NO_SERVICE}
                raise refusal(answer.status, "" if said is None else said.ErrorCode, about, table)
            return answer

        return await self._tries.of(once, lambda: self._rest.slow(about))


class CyberArkCcp(Direct):
    """The kind `CyberArkCcp`."""

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        super().__init__(CcpAccounts(connector, surroundings, secrets), surroundings.zone)


def _place(locator: str, secret: SecretVersion) -> dict[str, str]:
    """What is asked for. Raises Malformed."""
    parts = locator.split("/")
    # Windows drops blanks around a name.
    if any(part.strip() in {"", ".", ".."} or not part.isprintable() or _ILLEGAL & set(part) for part in parts):
        raise Malformed(
            "path_malformed",
            "the reference to an account is malformed",
            'write SAFE/OBJECT, SAFE/FOLDER/OBJECT or SAFE; no part is empty, . or .., or has any of \\ : * ? " < > | + & % ;',
        )
    metadata = secret.secret.metadata
    if not metadata.keys() <= set(PROPERTIES):
        raise Malformed(
            "metadata_unknown",
            "additionalMetadata of the secret has a value that means nothing to the Central Credential Provider",
            f"known are {', '.join(PROPERTIES)}",
        )
    found = {"Safe": parts[0]}
    if len(parts) > 2:
        found["Folder"] = "\\".join(parts[1:-1])
    if len(parts) > 1:
        found["Object"] = parts[-1]
    for name, value in metadata.items():
        if not value.strip() or not value.isprintable() or set(UNSENDABLE) & set(value):
            raise Malformed(
                "metadata_malformed",
                f"{name} in additionalMetadata of the secret can't be sent",
                "the service takes no + & % ; and nothing empty",
            )
        found[name] = value
    if len(found) < 2:
        raise Malformed(
            "path_malformed",
            "the reference names a safe, and nothing says which account in it",
            f"write SAFE/OBJECT, or tell it by additionalMetadata: {', '.join(PROPERTIES)}",
        )
    return found


def _is_asked(account: _Account, place: Mapping[str, str]) -> bool:
    """Whether it is the one that was asked for, as far as it says; names are compared as the Vault does, in any case."""
    asked = {"Safe": account.Safe, "Folder": account.Folder, "Object": account.Name}
    return all(
        not said or name not in place or said.casefold() == place[name].casefold() for name, said in asked.items()
    )


def _rows(row: Refusal, *codes: str) -> dict[int | str, Refusal]:
    return dict.fromkeys(codes, row)


_DENIED = Refusal(
    Denied,
    "ccp_denied",
    "the Central Credential Provider doesn't take the connector's application for {about}",
    "compare the application's certificate, allowed machines and OS users in the Vault with the connector's and the "
    "delegate's: docs/secret-managers/cyberark-ccp.md",
)
_UNKNOWN = Refusal(
    Denied,
    "ccp_application_unknown",
    "the Vault doesn't know the connector's application, at {about}",
    "compare appId with the application's id in the Vault, and look whether it is disabled or expired",
)
_MISSING = Refusal(
    NotFound,
    "ccp_missing",
    "the Central Credential Provider finds nothing for {about}, or the application may not see it",
    "look at safe, folder and object; application and provider user both need to be members of the safe, with list and "
    "retrieve",
)
_AMBIGUOUS = Refusal(
    Malformed, "ccp_ambiguous", "several accounts answer to {about}", "name one: SAFE/OBJECT, or more of its properties"
)
_CHANGING = Refusal(
    Unavailable, "ccp_changing", "the password of {about} is being changed just now", "try again in a minute"
)
_APART = Refusal(
    Unavailable,
    "ccp_vault_unreachable",
    "the Central Credential Provider can't reach the Vault for {about}",
    "try again; look at the provider's log and its connection to the Vault",
)
_INVALID = Refusal(
    Malformed,
    "ccp_invalid",
    "the Central Credential Provider doesn't take what it was asked, at {about}",
    "look at appId, reason and the reference: no + & % ; in any of them",
)
_FAILING = Refusal(
    Unavailable, "ccp_unavailable", "the Central Credential Provider fails at {about}", "try again; see its log"
)

# What the service's codes mean, and where it gives none or one that isn't listed its status.
REFUSALS: Refusals = {
    **_rows(_MISSING, "APPAP004E", "APPAP249E", "APPAP324E"),
    **_rows(_AMBIGUOUS, "APPAP227E", "APPAP228E", "APPAP229E", "APPAP230E", "APPAP251E"),
    **_rows(_CHANGING, "APPAP282E", "APPAP286E"),
    **_rows(_APART, "APPAP007E", "APPBC007E", "APPAP289E", "APPAP291E", "APPAP292E", "APPAP297E"),
    **_rows(_DENIED, "APPAP306E", "APPAP087E", "APPAP132E", "APPAP133E"),
    **_rows(_UNKNOWN, "APPAP008E"),
    **_rows(_INVALID, "APPAP081E", "AIMWS030E", "AIMWS031E", "CASVL010E"),
    400: _INVALID,
    401: _DENIED,
    403: _DENIED,
    404: _MISSING,
    429: Refusal(
        Overloaded,
        "ccp_throttled",
        "the Central Credential Provider takes no more of {about} for now",
        "try again later; calls_per_minute keeps a connector below its limit",
    ),
    500: _FAILING,
    OTHER: Refusal(Denied, "ccp_refused", "the Central Credential Provider refuses {about}", "see its log"),
}
_NO_SERVICE: Mapping[int | str, Any] = {
    404: Refusal(
        NotReady,
        "ccp_service_missing",
        "there is no such web service, at {about}",
        "compare url and webService with the sites of the provider's web server",
    )
}
