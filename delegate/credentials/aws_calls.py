"""Calls of one AWS service for one connector: the client and its life, tries, and what AWS's errors mean.

Promises: the client is opened at the first call and closed with `close`; credentials that expired in between are obtained
anew and the call is made once more; every failure is one of `shared.errors` that names the action, the thing and the remedy,
and repeats nothing of what AWS answered but a code. Must not know which operations there are.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Protocol

from botocore import xform_name
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigParseError,
    ConnectTimeoutError,
    MetadataRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
    SSOError,
)

from delegate.credentials.aws_session import AwsSession
from delegate.credentials.refusals import Refusal, Refusals
from delegate.tries import Tries
from shared.errors import Denied, Expired, Malformed, NotReady, Overloaded, PrivySealError, Unavailable


class Identity(Protocol):
    """Who calls. `who` names it in errors."""

    who: str

    async def ready(self) -> ReadOnlyCredentials | None:
        """The credentials to sign with, obtained if they aren't there or are about to expire; None to sign nothing."""

    async def renew(self, refused: ReadOnlyCredentials | None) -> bool:
        """AWS takes what `ready` gave for expired: let go of it. Whether there can be others."""

    async def close(self) -> None:
        """Let go of all."""


class AwsCalls:
    """One service, as `identity`; `refusals` are the error codes that mean something particular for it."""

    def __init__(
        self, service: str, session: AwsSession, identity: Identity, tries: Tries, refusals: Refusals, **config: Any
    ) -> None:
        self._service = service
        self._session = session
        self._identity = identity
        self._tries = tries
        self._refusals = refusals
        self._config = config
        self._client: Any = None
        self._opening = asyncio.Lock()
        self._exits = AsyncExitStack()

    async def ask(
        self, action: str, about: str, refusals: Refusals | None = None, **parameters: Any
    ) -> Mapping[str, Any]:
        """AWS's answer to an action by its API name; `about` names in errors what it is about.

        `refusals` go before those of the service. Raises Denied, NotReady, Malformed, Unavailable, Overloaded, Expired,
        and what the tables say.
        """
        table = {**self._refusals, **(refusals or {})}
        used = await self._identity.ready()

        async def once() -> Mapping[str, Any]:
            return await self._once(action, about, table, parameters)

        def slow() -> Unavailable:
            return _slow(f"{self._service}:{action}")

        try:
            return await self._tries.of(once, slow)
        except Expired:
            if not await self._identity.renew(used):
                raise
        return await self._tries.of(once, slow)

    async def close(self) -> None:
        """Close the client and its connections, and the identity's. A call after that opens them anew."""
        self._client = None
        await self._exits.aclose()
        await self._identity.close()

    async def _opened(self) -> Any:
        async with self._opening:
            if self._client is None:
                self._client = await self._exits.enter_async_context(
                    self._session.create_client(self._service, **self._config)
                )
            return self._client

    async def _once(self, action: str, about: str, table: Refusals, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            client = await self._opened()
            answer: Mapping[str, Any] = await getattr(client, xform_name(action))(**parameters)
            return answer
        except PrivySealError:
            raise
        except ClientError as error:
            raise refused(error, self._service, about, self._identity.who, table) from None
        except Exception as error:  # noqa: BLE001 (the library stumbles in many ways over what AWS wouldn't say)
            raise unanswered(error, f"{self._service}:{action}", self._identity.who) from None


def refused(error: ClientError, service: str, about: str, who: str, table: Refusals | None = None) -> PrivySealError:
    """What a refusal of AWS means; `table` goes before the general one."""
    told = error.response.get("Error", {})
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code, message = str(told.get("Code", "")), str(told.get("Message", ""))
    row = {**_REFUSALS, **(table or {})}.get(code.removesuffix("Exception")) or _by_status(status)
    if row is _CREDENTIALS and _SKEWED.search(message):
        row = _CLOCK
    action = f"{service}:{error.operation_name}"
    words = {"action": action, "about": about, "who": who, "word": code if _WORD.match(code) else "unknown"}
    detail = row.detail.format(**words) + _because(row, message)
    return row.error(row.code, detail, row.hint.format(**words), action=action)


def unanswered(error: Exception, action: str, who: str) -> PrivySealError:
    """What a failure before or after AWS's answer means."""
    if isinstance(error, ConnectTimeoutError | ReadTimeoutError):
        return _slow(action)
    row = next(row for kind, row in _FAILURES.items() if isinstance(error, kind))
    return row.error(
        row.code, row.detail.format(action=action, who=who), row.hint, action=action, cause=type(error).__name__
    )


def garbled(action: str) -> Unavailable:
    """The error for an answer that isn't about what was asked."""
    return Unavailable(
        "aws_garbled",
        f"what answers {action} doesn't answer what it was asked",
        "look at what stands between the delegate and AWS, and at the delegate's aws_endpoints",
    )


def _slow(action: str) -> Unavailable:
    return Unavailable(
        "aws_slow",
        f"AWS didn't answer {action} in time",
        "try again; if it stays so, look at the network between the delegate and AWS",
        action=action,
    )


_WORD = re.compile(r"[A-Za-z][A-Za-z0-9.]{0,63}\Z")
_SKEWED = re.compile(r"Signature (expired|not yet current)")

_REASONS = (
    "explicit deny",
    "no identity-based policy",
    "no resource-based policy",
    "no permissions boundary",
    "no session policy",
    "service control policy",
    "no VPC endpoint policy",
)
"""How AWS says why it denies; nothing else of its text is passed on."""


def _because(row: Refusal, message: str) -> str:
    found = [reason for reason in _REASONS if reason in message] if row.error is Denied else []
    return f" (AWS says: {found[0]})" if found else ""


def _by_status(status: int) -> Refusal:
    if status >= 500:
        return _FAILING
    if status == 429:
        return _THROTTLED
    return _REDIRECTED if 300 <= status < 400 else _UNKNOWN


_UNKNOWN = Refusal(
    Denied,
    "aws_refused",
    "AWS refuses {action} on {about} with the code {word}",
    "look the code up in AWS's API reference",
)
_REDIRECTED = Refusal(
    Denied,
    "aws_redirected",
    "what answers {action} wants to redirect it, and redirects aren't followed",
    "look at the connector's region and the delegate's aws_endpoints and proxy",
)
_DENIED = Refusal(
    Denied,
    "aws_denied",
    "AWS doesn't allow {action} on {about} to {who}",
    "allow {action} there, in the policies of who calls and in that of what it is about",
)
_CREDENTIALS = Refusal(
    Denied,
    "aws_credentials_refused",
    "AWS doesn't know {who}, or its signature is wrong: {word} for {action}",
    "look whether they are active, and of the region's partition; store both halves of a connector's access key again",
)
_EXPIRED = Refusal(
    Expired,
    "aws_credentials_expired",
    "AWS takes the credentials of {who} for expired, at {action}",
    "renew them; look at the delegate's clock too",
)
_CLOCK = Refusal(
    NotReady, "clock_wrong", "AWS says that the delegate's clock is wrong, at {action}", "set the clock by NTP"
)
_THROTTLED = Refusal(
    Overloaded,
    "aws_throttled",
    "AWS takes no more of {action} for now",
    "try again later; raise the quota of the account, or calls_per_minute keeps a connector below it",
)
_FAILING = Refusal(Unavailable, "aws_unavailable", "AWS fails at {action}", "try again; see AWS's health page")
_INVALID = Refusal(
    Malformed, "aws_invalid", "AWS doesn't take what {action} was asked on {about}", "look at the connector's settings"
)
_REGION = Refusal(
    NotReady,
    "region_disabled",
    "the account can't use the connector's region yet: {word} for {action}",
    "enable the region in the account",
)

# By AWS's code without "Exception" at its end.
_REFUSALS: Refusals = {
    "AccessDenied": _DENIED,
    "UnauthorizedOperation": _DENIED,
    "NotAuthorized": _DENIED,
    "UnrecognizedClient": _CREDENTIALS,
    "InvalidClientTokenId": _CREDENTIALS,
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "InvalidSignature": _CREDENTIALS,
    "IncompleteSignature": _CREDENTIALS,
    "MissingAuthenticationToken": _CREDENTIALS,
    "AuthFailure": _CREDENTIALS,
    "ExpiredToken": _EXPIRED,
    "RequestExpired": _CLOCK,
    "RequestTimeTooSkewed": _CLOCK,
    "OptInRequired": _REGION,
    "RegionDisabled": _REGION,
    "SubscriptionRequired": _REGION,
    "Throttling": _THROTTLED,
    "ThrottledRequest": _THROTTLED,
    "TooManyRequests": _THROTTLED,
    "RequestLimitExceeded": _THROTTLED,
    "LimitExceeded": _THROTTLED,
    "SlowDown": _THROTTLED,
    "ServiceUnavailable": _FAILING,
    "Validation": _INVALID,
    "ValidationError": _INVALID,
    "InvalidParameter": _INVALID,
    "InvalidRequest": _INVALID,
}

_NO_CREDENTIALS = Refusal(
    NotReady,
    "aws_credentials_missing",
    "there are no credentials of {who} for {action}",
    "look at the delegate's environment, its AWS profile and its login: docs/secret-managers/aws-kms.md lists the ways",
)

# By the library's class, the first that fits.
_FAILURES: Mapping[type[Exception], Refusal] = {
    NoCredentialsError: _NO_CREDENTIALS,
    PartialCredentialsError: _NO_CREDENTIALS,
    ProfileNotFound: _NO_CREDENTIALS,
    ConfigParseError: _NO_CREDENTIALS,
    SSOError: _NO_CREDENTIALS,
    MetadataRetrievalError: Refusal(
        NotReady,
        "aws_credentials_missing",
        "there are no credentials of {who} for {action}, and no instance metadata answers",
        "give the delegate credentials or a role; instance metadata is asked by version 2 only, which needs a hop limit of 2 "
        "where the delegate is a container: docs/secret-managers/aws-kms.md lists the ways",
    ),
    SSLError: Refusal(
        Unavailable,
        "aws_untrusted",
        "the certificate of what answers {action} isn't trusted",
        "where a proxy inspects TLS, give its authority to the delegate: AWS_CA_BUNDLE",
    ),
    ProxyConnectionError: Refusal(
        Unavailable,
        "aws_unreachable",
        "the proxy on the way to {action} can't be reached",
        "look at HTTPS_PROXY and NO_PROXY",
    ),
    ParamValidationError: Refusal(
        Malformed, "aws_invalid", "{action} can't be asked with what was given", "look at the connector's settings"
    ),
    BotoCoreError: Refusal(
        Unavailable,
        "aws_unreachable",
        "AWS can't be reached for {action}",
        "look at the connector's region, the network, and the delegate's aws_endpoints",
    ),
    Exception: Refusal(
        Unavailable,
        "aws_garbled",
        "what answers {action} doesn't speak as AWS does",
        "look at what stands between the delegate and AWS, and at the delegate's aws_endpoints",
    ),
}
