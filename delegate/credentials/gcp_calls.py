"""Calls of one of Google's gRPC services for one connector: the channel and its life, tries, and what Google's errors mean.

Promises: the channel is opened at the first call and closed with `close`; it is TLS, but to a loopback address that the
delegate's own configuration gives; the local policy allows the host; each call carries its own token, and is made once more
with another where Google doesn't take that; nothing of requests, answers or Google's texts gets into a log or an error, but
codes and names of permissions. Must not know which methods there are.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

import grpc
from google.api_core.exceptions import GoogleAPICallError
from grpc import StatusCode, aio

from delegate.credentials.gcp_identities import Identity
from delegate.credentials.gcp_tokens import garbled, slow
from delegate.credentials.refusals import Refusal
from delegate.endpoints import Endpoints
from delegate.policy import LocalPolicy
from delegate.tries import Tries
from shared.errors import Denied, Expired, Malformed, NotFound, NotReady, Overloaded, PrivySealError, Unavailable

CONNECTIONS = 32
"""Calls of one task at once: they share one connection."""

Refusals = Mapping[StatusCode, Refusal]
_OPTIONS = (("grpc.max_receive_message_length", 1024 * 1024), ("grpc.enable_retries", 0))


class Client(Protocol):
    """Makes the SDK's client of a channel. `host` is where it goes."""

    def __call__(self, channel: aio.Channel, host: str) -> Any: ...


class GcpCalls:
    """One service, as `identity`; `refusals` are the status codes that mean something particular for it."""

    def __init__(
        self,
        service: str,
        client: Client,
        identity: Identity,
        endpoints: Endpoints,
        policy: LocalPolicy,
        tries: Tries,
        refusals: Refusals,
    ) -> None:
        self.identity = identity
        self._service = service
        self._make = client
        self._url = urlsplit(endpoints.url(service) or f"https://{service}.googleapis.com")
        self._policy = policy
        self._tries = tries
        self._refusals = refusals
        self._channel: aio.Channel | None = None
        self._client: Any = None

    async def ask(
        self,
        method: str,
        permission: str,
        about: str,
        request: Any,
        check: Callable[[Any], None] = lambda _: None,
        refusals: Refusals | None = None,
    ) -> Any:
        """The answer to a method of the SDK's client that `check` finds nothing wrong with.

        `permission` and `about` are named in errors; `refusals` go before those of the service. What `check` raises as
        Unavailable is asked again. Raises Denied, NotFound, NotReady, Malformed, Unavailable, Overloaded, Expired, and what
        the tables say.
        """
        table = {**_REFUSALS, **self._refusals, **(refusals or {})}

        async def asked(token: str) -> Any:
            async def once() -> Any:
                answer = await self._once(method, request, token, table, permission, about)
                check(answer)
                return answer

            return await self._tries.of(once, lambda: slow(self._service))

        used = await self.identity.token()
        try:
            return await asked(used)
        except Expired:
            await self.identity.renew(used)
        return await asked(await self.identity.token())

    async def close(self) -> None:
        """Close the channel, and what the identity has. A call after that opens another."""
        channel, self._channel, self._client = self._channel, None, None
        if channel is not None:
            await channel.close(None)
        await self.identity.close()

    async def _once(self, method: str, request: Any, token: str, table: Refusals, permission: str, about: str) -> Any:
        client = self._opened()
        try:
            return await getattr(client, method)(
                request=request,
                # `delegate.tries` counts them, and only there.
                retry=None,
                timeout=self._tries.seconds,
                metadata=(("authorization", f"Bearer {token}"),),
            )
        except GoogleAPICallError as error:
            raise refused(error, table, self._service, permission, about, self.identity.who) from None
        except PrivySealError:
            raise
        except Exception:  # noqa: BLE001 (the library stumbles in many ways over what Google wouldn't say)
            raise garbled(self._service) from None

    def _opened(self) -> Any:
        if self._client is None:
            host = self._url.hostname or ""
            self._policy.check_host(host)
            plain = self._url.scheme == "http"
            target = f"{self._url.netloc}" if self._url.port else f"{self._url.netloc}:{80 if plain else 443}"
            options = (*_OPTIONS, ("grpc.enable_http_proxy", 0 if plain else 1))
            self._channel = (
                aio.insecure_channel(target, options)
                if plain
                else aio.secure_channel(target, grpc.ssl_channel_credentials(), options)
            )
            self._client = self._make(self._channel, target)
            # The library writes whole requests and answers to the debug log, values and tokens among them.
            logging.getLogger(type(self._client.transport).__module__).setLevel(logging.INFO)
        return self._client


def astray(permission: str) -> Unavailable:
    """An answer to another question than was asked."""
    return Unavailable(
        "gcp_garbled",
        f"what answers {permission} doesn't answer what it was asked",
        "look at what stands between the delegate and Google, and at the delegate's gcp_endpoints",
        action=permission,
    )


def corrupted(permission: str) -> Unavailable:
    """An answer, or a question as it arrived, whose checksum doesn't fit."""
    return Unavailable(
        "gcp_corrupted",
        f"a checksum is wrong: something was changed on the way of {permission}",
        "try again; if it stays so, look at what stands between the delegate and Google",
        action=permission,
    )


def refused(
    error: GoogleAPICallError, table: Refusals, service: str, permission: str, about: str, who: str
) -> PrivySealError:
    """What a refusal of Google means; `table` by its status code."""
    code = error.grpc_status_code
    reason = str(error.reason or "")
    row = _REASONS.get(reason) or (table.get(code) if code is not None else None) or _UNKNOWN
    if code is StatusCode.INVALID_ARGUMENT and _CHECKSUM.search(error.message or ""):
        row = _CORRUPTED
    if row is _FAILING and _UNREACHABLE.search(error.message or ""):
        row = _NOT_THERE
    words = {
        "permission": permission,
        "about": about,
        "who": who,
        "word": code.name if code is not None else "unknown",
        "service": service,
    }
    return row.error(row.code, row.detail.format(**words), row.hint.format(**words), action=permission)


# What gRPC itself says where it hasn't reached anybody, as UNAVAILABLE.
_UNREACHABLE = re.compile(r"failed to connect|[Cc]onnect(ion)? (refused|timed out)|DNS|[Nn]ame resolution|[Hh]andshake")
_CHECKSUM = re.compile(r"(?i)crc32c|checksum")

_CORRUPTED = Refusal(
    Unavailable,
    "gcp_corrupted",
    "Google says that a checksum is wrong: something was changed on the way of {permission}",
    "try again; if it stays so, look at what stands between the delegate and Google",
)
_UNKNOWN = Refusal(
    Denied,
    "gcp_refused",
    "Google refuses {permission} on {about} with the code {word}",
    "look at the connector's settings, and at Google's audit log",
)
_FAILING = Refusal(Unavailable, "gcp_unavailable", "Google's {service} fails at {permission}", "try again")
_NOT_THERE = Refusal(
    Unavailable,
    "gcp_unreachable",
    "Google's {service} can't be reached",
    "look at the network, the delegate's proxy variables, its gcp_endpoints, and at whom its TLS trusts: "
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
)
_SLOW = Refusal(
    Unavailable,
    "gcp_slow",
    "Google's {service} didn't answer {permission} in time",
    "try again; if it stays so, look at the network between the delegate and Google",
)
_THROTTLED = Refusal(
    Overloaded,
    "gcp_throttled",
    "Google takes no more of {permission} for now",
    "try again later; raise the project's quota, or calls_per_minute keeps a connector below it",
)
_API_OFF = Refusal(
    NotReady,
    "gcp_api_disabled",
    "the API {service}.googleapis.com isn't enabled in the project",
    "enable it: gcloud services enable {service}.googleapis.com",
)
_BILLING = Refusal(NotReady, "gcp_billing_disabled", "billing is off in the project of {about}", "enable billing there")

_REFUSALS: Refusals = {
    StatusCode.PERMISSION_DENIED: Refusal(
        Denied,
        "gcp_denied",
        "Google doesn't allow {permission} on {about} to {who}, or there is no such thing",
        "grant a role with {permission} there; look at its name, project and location too",
    ),
    StatusCode.UNAUTHENTICATED: Refusal(
        Expired,
        "gcp_credentials_expired",
        "Google doesn't take the access token of {who} any more",
        "try again; look at the delegate's clock, and whether the account is enabled",
    ),
    StatusCode.NOT_FOUND: Refusal(
        NotFound, "gcp_not_found", "Google doesn't have {about}", "look at its name, project and location"
    ),
    StatusCode.INVALID_ARGUMENT: Refusal(
        Malformed,
        "gcp_invalid",
        "Google doesn't take what it was asked about {about}",
        "look at the connector's settings",
    ),
    StatusCode.RESOURCE_EXHAUSTED: _THROTTLED,
    StatusCode.DEADLINE_EXCEEDED: _SLOW,
    StatusCode.UNAVAILABLE: _FAILING,
    StatusCode.INTERNAL: _FAILING,
    StatusCode.ABORTED: _FAILING,
    StatusCode.UNKNOWN: _FAILING,
    StatusCode.CANCELLED: _FAILING,
}
# Reasons of google.rpc.ErrorInfo, from the domain googleapis.com (ErrorReason): they go before the status code.
_REASONS: Mapping[str, Refusal] = {
    "SERVICE_DISABLED": _API_OFF,
    "BILLING_DISABLED": _BILLING,
    "RATE_LIMIT_EXCEEDED": _THROTTLED,
    "RESOURCE_QUOTA_EXCEEDED": _THROTTLED,
}
