"""Google's three token endpoints: what is posted there, what comes back, and what their refusals mean.

Promises: each is asked at the address that Google documents for it, or where the delegate's own configuration says, never
where a key file says; each try has its time, three at most; a refusal is told by its closed list of codes, and nothing else of
Google's text is passed on. Formats: "Using OAuth 2.0 for Server to Server Applications"; Security Token Service API v1,
`token`; IAM Service Account Credentials API v1, `generateAccessToken`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from msgspec import Meta
from requests.exceptions import ConnectionError as NotConnected
from requests.exceptions import ProxyError, SSLError, Timeout
from urllib3.exceptions import HTTPError, ReadTimeoutError

from delegate.credentials.gcp_http import Answer, GcpHttp, Slow
from delegate.credentials.refusals import Refusal, Refusals
from delegate.secret_managers.interface import Surroundings
from delegate.tries import Tries
from shared.errors import Denied, NotReady, Overloaded, PrivySealError, Unavailable

LIFETIME_SECONDS = 3600
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """An access token and when (seconds since 1970) it ends."""

    text: str
    ends: float


class TokenEndpoints:
    """Of one identity, `who` in errors; `refusals` go before the general ones."""

    def __init__(self, surroundings: Surroundings, who: str, refusals: Refusals) -> None:
        self._endpoints = surroundings.gcp_endpoints
        self._clock = surroundings.clock
        self._tries = Tries(surroundings.call_seconds, surroundings.randomness)
        self._http = GcpHttp(surroundings.policy, surroundings.call_seconds)
        self._who = who
        self._table = {**_REFUSALS, **refusals}

    async def by_assertion(self, assertion: str) -> Token:
        """For a JWT that a service account's key signed."""
        body = urlencode({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion})
        return self._granted(await self._posted("oauth2", "/token", _FORM, body, _Granted))

    async def by_exchange(self, id_token: str, provider: str, scope: str) -> Token:
        """For an ID token that a provider of a workload identity pool believes, by the provider's resource name."""
        body = urlencode(
            {
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                "audience": f"//iam.googleapis.com/{provider}",
                "scope": scope,
                "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "subject_token": id_token,
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            }
        )
        return self._granted(await self._posted("sts", "/v1/token", _FORM, body, _Granted))

    async def impersonated(self, token: Token, email: str, scope: str) -> Token:
        """A service account's, for whoever `token` says and that account lets."""
        headers = {**_JSON, "Authorization": f"Bearer {token.text}"}
        body = msgspec.json.encode({"scope": [scope], "lifetime": f"{LIFETIME_SECONDS}s"})
        path = f"/v1/projects/-/serviceAccounts/{email}:generateAccessToken"
        given = await self._posted("iamcredentials", path, headers, body, _Impersonated)
        return Token(given.token, given.ends.timestamp())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _granted(self, given: _Granted) -> Token:
        return Token(given.access_token, self._clock.now() + given.expires_in)

    async def _posted(self, service: str, path: str, headers: Mapping[str, str], body: bytes | str, form: Any) -> Any:
        url = (self._endpoints.url(service) or f"https://{service}.googleapis.com") + path

        async def once() -> Any:
            try:
                answer = await self._http.run(self._http.ask, "POST", url, headers, body)
            except PrivySealError:
                raise
            except Exception as error:  # noqa: BLE001 (the library stumbles in many ways over what Google wouldn't say)
                raise unanswered(error, service) from None
            if answer.status != 200:
                raise self._refused(answer, service)
            try:
                return msgspec.json.decode(answer.body, type=form)
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                raise garbled(service) from None

        return await self._tries.of(once, lambda: slow(service))

    def _refused(self, answer: Answer, service: str) -> PrivySealError:
        code, said = _told(answer.body)
        row = self._table.get(code) or _by_status(answer.status)
        if code == "invalid_grant" and _SKEWED.search(said):
            row = _CLOCK
        word = code if _WORD.match(code) else str(answer.status)
        return row.error(row.code, row.detail.format(who=self._who, word=word), row.hint, action=service)


Word = Annotated[str, Meta(min_length=1, max_length=16_384, pattern=r"^[!-~]+$(?!\n)")]


class _Granted(msgspec.Struct, frozen=True):
    access_token: Word
    expires_in: Annotated[int, Meta(ge=1, le=86_400)]


class _Impersonated(msgspec.Struct, frozen=True):
    token: Word = msgspec.field(name="accessToken")
    ends: Annotated[datetime, Meta(tz=True)] = msgspec.field(name="expireTime")


class _Status(msgspec.Struct, frozen=True):
    status: str = ""
    message: str = ""


class _Error(msgspec.Struct, frozen=True):
    error: str | _Status
    error_description: str = ""


def _told(body: bytes) -> tuple[str, str]:
    """The code of a refusal, OAuth's (RFC 6749, section 5.2) or Google's own, and its text, which is only compared."""
    try:
        told = msgspec.json.decode(body, type=_Error)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return "", ""
    if isinstance(told.error, str):
        return told.error, told.error_description
    return told.error.status, told.error.message


def slow(service: str) -> Unavailable:
    """No answer in time."""
    return Unavailable(
        "gcp_slow",
        f"Google's {service} didn't answer in time",
        "try again; if it stays so, look at the network between the delegate and Google",
        action=service,
    )


def garbled(service: str) -> Unavailable:
    """An answer that isn't Google's."""
    return Unavailable(
        "gcp_garbled",
        f"what answers for Google's {service} doesn't speak as Google does",
        "look at what stands between the delegate and Google, and at the delegate's gcp_endpoints",
        action=service,
    )


def unanswered(error: Exception, service: str) -> PrivySealError:
    """What a failure before or after an answer means."""
    if isinstance(error, Timeout | ReadTimeoutError | Slow):
        return slow(service)
    if isinstance(error, SSLError):
        return Unavailable(
            "gcp_untrusted",
            f"the certificate of what answers for Google's {service} isn't trusted",
            "where a proxy inspects TLS, give its authority to the delegate: SSL_CERT_FILE and "
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
            action=service,
        )
    if isinstance(error, NotConnected | ProxyError | HTTPError):
        return Unavailable(
            "gcp_unreachable",
            f"Google's {service} can't be reached",
            "look at the network, the delegate's proxy variables and its gcp_endpoints",
            action=service,
        )
    return garbled(service)


_WORD = re.compile(r"[A-Za-z][A-Za-z_]{0,63}\Z")
_SKEWED = re.compile(r"reasonable timeframe|[Tt]oken used too early|[Ss]tale to sign-in|ID Token .* expired")


def _by_status(status: int) -> Refusal:
    if status >= 500:
        return _FAILING
    if status == 429:
        return _THROTTLED
    return _REDIRECTED if 300 <= status < 400 else _UNKNOWN


_UNKNOWN = Refusal(
    Denied,
    "gcp_refused",
    "Google gives no access token for {who}: {word}",
    "look the code up in Google's documentation",
)
_REDIRECTED = Refusal(
    Denied,
    "gcp_redirected",
    "what answers for Google wants to redirect the delegate, and redirects aren't followed",
    "look at the delegate's gcp_endpoints and proxy",
)
_CLOCK = Refusal(NotReady, "clock_wrong", "Google says that the delegate's clock is wrong", "set the clock by NTP")
_THROTTLED = Refusal(Overloaded, "gcp_throttled", "Google gives no more access tokens for now", "try again later")
_FAILING = Refusal(Unavailable, "gcp_unavailable", "Google fails at giving an access token", "try again")

# By the code, OAuth's or google.rpc.Code's.
_REFUSALS: Refusals = {
    "internal_failure": _FAILING,
    "server_error": _FAILING,
    "temporarily_unavailable": _FAILING,
    "RESOURCE_EXHAUSTED": _THROTTLED,
    "UNAVAILABLE": _FAILING,
    "INTERNAL": _FAILING,
    "DEADLINE_EXCEEDED": _FAILING,
}
