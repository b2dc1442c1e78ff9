"""Calls of Key Vault for one connector: tries, a token that Key Vault no longer takes, and what Azure's errors mean.

Promises: the client is opened at the first call and closed with `close`; every failure is one of `shared.errors` that names the
thing, the missing right and the remedy, and repeats nothing of what Azure answered but a code. Must not know which
operations there are. Sources: "Azure Key Vault REST API error codes"; "Microsoft Entra authentication error codes".
"""

from __future__ import annotations

import re
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Generic, Protocol, TypeVar

import msgspec
from azure.core.exceptions import (
    HttpResponseError,
    ServiceRequestTimeoutError,
    ServiceResponseTimeoutError,
)
from azure.identity import CredentialUnavailableError

from delegate.credentials.azure import AzureIdentity, options, transport
from delegate.credentials.refusals import Refusal, Refusals
from delegate.secret_managers.interface import Surroundings
from delegate.tries import Tries
from shared.connectors.azure_key_vault import AzureVault
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import (
    Conflict,
    Denied,
    Expired,
    Malformed,
    NotFound,
    NotReady,
    PrivySealError,
    Unavailable,
)

R = TypeVar("R")


class Client(Protocol):
    """One of the libraries' clients of a vault."""

    async def close(self) -> None: ...


C = TypeVar("C", bound=Client)


class AzureCalls(Generic[C]):
    """A vault's calls by a client of the class `made`; `refusals` are the codes that mean something particular for it."""

    def __init__(
        self,
        made: Callable[..., C],
        settings: AzureVault,
        connector: ConnectorDocument,
        surroundings: Surroundings,
        secrets: Mapping[str, Plaintext],
        refusals: Refusals,
    ) -> None:
        self._made = made
        self._url = f"https://{settings.host}"
        self._transport = transport(settings, surroundings)
        self._identity = AzureIdentity(settings, connector, surroundings, secrets, self._transport)
        self._options = options(surroundings, self._transport)
        self._tries = Tries(surroundings.call_seconds, surroundings.randomness)
        self._refusals = refusals
        self._client: C | None = None

    async def ask(
        self, right: str, about: str, call: Callable[[C], Awaitable[R]], refusals: Refusals | None = None
    ) -> R:
        """What `call` gives; `right` is the permission that it needs, `about` the thing, both for errors.

        Raises Denied, NotReady, Malformed, NotFound, Conflict, Unavailable, Overloaded, and what the tables say.
        """
        table = {**self._refusals, **(refusals or {})}

        # What the caller is dealing with has nothing to do with what happens here.
        before = sys.exception()

        async def once() -> R:
            try:
                return await call(self._opened())
            except Exception as error:  # noqa: BLE001 (the libraries stumble in many ways over what Azure wouldn't say)
                raise refused(error, right, about, self._identity.who, table, before) from None

        def slow() -> Unavailable:
            return Unavailable(*_told(_SLOW, right, about, self._identity.who))

        try:
            return await self._tries.of(once, slow)
        except Expired:
            await self._identity.renew()
            self._client = None
        try:
            return await self._tries.of(once, slow)
        except Expired as why:
            raise Denied(why.code, why.detail, why.hint) from None

    async def close(self) -> None:
        """Close the connections; tokens are forgotten. A call after that opens them anew."""
        self._client = None
        await self._identity.close()
        await self._transport.close()

    def _opened(self) -> C:
        if self._client is None:
            self._client = self._made(self._url, self._identity, **self._options)
        return self._client


class _Inner(msgspec.Struct, frozen=True):
    code: str = ""


class _Error(msgspec.Struct, frozen=True):
    code: str = ""
    message: str = ""
    innererror: _Inner | None = None


class _VaultAnswer(msgspec.Struct, frozen=True):
    error: _Error


class _LoginAnswer(msgspec.Struct, frozen=True):
    error: str
    error_codes: tuple[int, ...] = ()


_answer = msgspec.json.Decoder(_VaultAnswer)
_login = msgspec.json.Decoder(_LoginAnswer)
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}\Z")


def refused(
    error: Exception,
    right: str,
    about: str,
    who: str,
    table: Refusals | None = None,
    before: BaseException | None = None,
) -> PrivySealError:
    """What a failure of a call means; `table` goes before the general one. `before` failed before the call was made."""
    chain = tuple(_chain(error, before))
    for one in chain:
        if isinstance(one, PrivySealError):
            return one
    for one in chain:
        if isinstance(one, HttpResponseError) and one.response is not None:
            if isinstance(error, CredentialUnavailableError) and int(one.status_code or 0) in {400, 403, 404}:
                break
            row, word = _answered(one, {**_REFUSALS, **(table or {})})
            return row.error(*_told(row, right, about, who, word))
    if isinstance(error, ValueError) and "challenge" in str(error):
        # How the library says that a vault asks for a token for somewhere else.
        return Denied(*_told(_FOREIGN, right, about, who))
    row = next(row for kind, row in _FAILURES if any(isinstance(one, kind) for one in chain))
    return row.error(*_told(row, right, about, who), cause=type(error).__name__)


def _chain(error: BaseException | None, before: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came from, up to what was `before`."""
    seen: set[int] = {id(before)}
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _told(row: Refusal, right: str, about: str, who: str, word: str = "") -> tuple[str, str, str]:
    words = {"right": right, "about": about, "who": who, "word": word or "none"}
    return row.code, row.detail.format(**words), row.hint.format(**words)


def _answered(error: HttpResponseError, table: Refusals) -> tuple[Refusal, str]:
    status, body = int(error.status_code or 0), _body(error)
    try:
        told = _answer.decode(body).error
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _not_from_a_vault(status, body)
    inner = told.innererror.code if told.innererror else ""
    word = next((one for one in (inner, told.code) if _WORD.match(one)), "")
    if status == 403 and "purge protection" in told.message.lower():
        return table.get("PurgeProtection", _DENIED), word
    return table.get(inner) or table.get(told.code) or _by_status(status), word


def _body(error: HttpResponseError) -> bytes:
    response: Any = error.response
    body = getattr(response, "body", None) or getattr(response, "content", None)
    try:
        found = body() if callable(body) else body
    except Exception:  # noqa: BLE001 (an answer that wasn't read to its end has no body)
        return b""
    return found if isinstance(found, bytes) else b""


def _not_from_a_vault(status: int, body: bytes) -> tuple[Refusal, str]:
    """Entra ID, the identity of this machine, or something in between."""
    try:
        told = _login.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return (_by_status(status) if status >= 400 else _GARBLED), ""
    for number in told.error_codes:
        if number in _LOGIN:
            return _LOGIN[number], f"AADSTS{number}"
    return _CREDENTIALS, f"AADSTS{told.error_codes[0]}" if told.error_codes else "none"


def _by_status(status: int) -> Refusal:
    return {401: _EXPIRED, 403: _DENIED, 408: _SLOW, 409: _CHANGING}.get(status, _UNKNOWN)


_DENIED = Refusal(
    Denied,
    "azure_denied",
    "Key Vault doesn't allow {right} on {about} to {who}",
    "grant it by a role assignment or an access policy of the vault: docs/secret-managers/azure-key-vault.md",
)
_EXPIRED = Refusal(
    Expired,
    "azure_unauthenticated",
    "Key Vault doesn't take the token of {who}",
    "look at tenantId and azureEnvironmentType of the connector, and at the delegate's clock",
)
_CHANGING = Refusal(Conflict, "azure_changing", "{about} is being changed by others", "try again")
_UNKNOWN = Refusal(
    Denied,
    "azure_refused",
    "Key Vault refuses {right} on {about} with the code {word}",
    "look the code up in Key Vault's REST reference",
)
_SLOW = Refusal(
    Unavailable,
    "azure_slow",
    "Azure didn't answer {right} on {about} in time",
    "try again; if it stays so, look at the network between the delegate and Azure",
)
_GARBLED = Refusal(
    Unavailable,
    "azure_garbled",
    "what answers {right} on {about} doesn't speak as Azure does",
    "look at what stands between the delegate and Azure, and at the delegate's azure_endpoints",
)
_FOREIGN = Refusal(
    Denied,
    "azure_challenge_foreign",
    "what answers {right} on {about} asks for a token that isn't one for Key Vault of its cloud",
    "look at azureEnvironmentType, and at what stands between the delegate and the vault",
)
_NETWORK = Refusal(
    Denied,
    "azure_network_denied",
    "the vault's firewall doesn't let {right} on {about} through from where the delegate is",
    "allow its address or network at the vault, or give it a private endpoint",
)
_DISABLED = Refusal(NotReady, "azure_disabled", "{about} is disabled at Key Vault", "enable it, or use another version")

# By Key Vault's inner code, or its code.
_REFUSALS: Refusals = {
    "ForbiddenByRbac": _DENIED,
    "ForbiddenByPolicy": _DENIED,
    "AccessDenied": _DENIED,
    "ForbiddenByFirewall": _NETWORK,
    "ForbiddenByConnection": _NETWORK,
    "SecretDisabled": _DISABLED,
    "KeyDisabled": _DISABLED,
    "VaultNotFound": Refusal(
        NotFound, "vault_not_found", "there is no vault for {about}", "look at vaultName and azureEnvironmentType"
    ),
    "BadParameter": Refusal(
        Malformed,
        "azure_invalid",
        "Key Vault doesn't take what {right} on {about} was asked with",
        "look at the connector's settings and the secret's metadata",
    ),
}

_CREDENTIALS = Refusal(
    Denied,
    "azure_credentials_refused",
    "Entra ID doesn't take {who}: {word}",
    "look at clientId, tenantId and azureEnvironmentType, and the code up in the list of AADSTS codes",
)
_SECRET_HINT = "store a new client secret's value, not its id: docs/secret-managers/azure-key-vault.md"  # noqa: S105
# By the number of Entra ID's code.
_LOGIN: Mapping[int, Refusal] = {
    7000215: _CREDENTIALS._replace(detail="Entra ID doesn't take the client secret of {who}", hint=_SECRET_HINT),
    7000222: _CREDENTIALS._replace(detail="the client secret of {who} has expired", hint=_SECRET_HINT),
    700027: _CREDENTIALS._replace(
        detail="Entra ID doesn't know the certificate of {who}, or it has expired",
        hint="upload the certificate to the app registration, or store the one that is there",
    ),
    700024: Refusal(
        NotReady, "clock_wrong", "Entra ID says that the delegate's clock is wrong", "set the clock by NTP"
    ),
    **dict.fromkeys(
        (70021, 700211, 700212, 700213, 700214),
        _CREDENTIALS._replace(
            detail="no federated credential of {who} fits the ID token: {word}",
            hint="its issuer, subject and audience must be exactly those that `privyseal oidc show` prints",
        ),
    ),
}
_IDENTITY_MISSING = Refusal(
    NotReady,
    "azure_identity_missing",
    "where the delegate runs, nothing gives a token for {who}",
    "assign that managed identity to the machine, pod or app of the delegate, or use another identity",
)
# By the library's class, the first that fits anywhere in what led to the failure.
_FAILURES: tuple[tuple[type[BaseException], Refusal], ...] = (
    (
        ssl.SSLError,
        Refusal(
            Unavailable,
            "azure_untrusted",
            "the certificate of what answers for {about} isn't trusted",
            "where a proxy inspects TLS, give its authority to the delegate: SSL_CERT_FILE",
        ),
    ),
    (CredentialUnavailableError, _IDENTITY_MISSING),
    (ServiceRequestTimeoutError, _SLOW),
    (ServiceResponseTimeoutError, _SLOW),
    (
        OSError,
        Refusal(
            Unavailable,
            "azure_unreachable",
            "Azure can't be reached for {right} on {about}",
            "look at vaultName and azureEnvironmentType, the network, proxies, and the delegate's azure_endpoints",
        ),
    ),
    (Exception, _GARBLED),
)
