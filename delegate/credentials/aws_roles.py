"""Roles at AWS, by temporary credentials of its token service: assumed by the delegate's own identity, or for an ID token.

Promises: credentials are kept in memory for one connector and obtained anew shortly before they end, once for all who wait;
while the token service fails, those that still hold are used; a token is signed for each request. Must not write credentials
anywhere, nor put them into an error or a log line.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog
from aiobotocore.config import AioConfig
from botocore import UNSIGNED
from botocore.credentials import ReadOnlyCredentials

from delegate.clock import Clock
from delegate.credentials.aws_calls import AwsCalls, unanswered
from delegate.credentials.aws_identities import Nobody, OwnIdentity, Signing
from delegate.credentials.aws_session import AwsSession
from delegate.credentials.flight import Flight
from delegate.credentials.refusals import Refusal, Refusals
from delegate.secret_managers.interface import Surroundings
from delegate.tries import Tries
from shared.connectors.aws import OIDC_AUDIENCE, AssumedRoleSettings, OidcSettings
from shared.documents.connector import ConnectorDocument
from shared.errors import Denied, Malformed, NotReady, Overloaded, Unavailable

EARLY_SECONDS = 300
"""How long before their end credentials are obtained anew; for short ones a tenth of their time."""
AGAIN_SECONDS = 30
"""How long after that failed it is tried again, while the old ones still hold."""

_log = structlog.get_logger()


def session_name(delegate: str, connector: str) -> str:
    """What AWS's logs show of who took a role: delegate and connector, in 2 to 64 of the characters that AWS takes."""
    return "@".join(_UNCLEAN.sub("-", text)[:31] for text in (delegate, connector))


@dataclass(frozen=True, slots=True, repr=False)
class _Held:
    """Temporary credentials and when (seconds since 1970) to obtain others."""

    credentials: ReadOnlyCredentials
    ends: float
    renewed: float


class Role:
    """`AssumeSTSRole` and `OidcAuthentication`: a role, by temporary credentials of AWS's token service."""

    def __init__(
        self, arn: str, sts: AwsCalls, ask: Callable[[AwsCalls], Awaitable[Mapping[str, Any]]], clock: Clock
    ) -> None:
        self.who = f"the role {arn}"
        self._sts = sts
        self._ask = ask
        self._clock = clock
        self._held: _Held | None = None
        self._obtaining = Flight(self._obtain)

    async def ready(self) -> ReadOnlyCredentials:
        """Those held, while they hold; whoever finds them due waits for the same request to the token service."""
        held, now = self._held, self._clock.now()
        if held is None or now >= held.ends:
            return (await self._obtaining.result()).credentials
        if now < held.renewed:
            return held.credentials
        try:
            return (await self._obtaining.result()).credentials
        except (Unavailable, Overloaded) as error:
            _log.warning("aws_role.renewal_failed", code=error.code, error_type=type(error).__name__)
            self._held = replace(held, renewed=now + AGAIN_SECONDS)
            return held.credentials

    async def renew(self, refused: ReadOnlyCredentials | None) -> bool:
        """Let go of them, unless somebody else did already."""
        if self._held is not None and self._held.credentials == refused:
            self._held = None
        return True

    async def close(self) -> None:
        """Forget them, and close the token service's client."""
        self._obtaining.cancel()
        self._held = None
        await self._sts.close()

    async def _obtain(self) -> _Held:
        answer = await self._ask(self._sts)
        now = self._clock.now()
        try:
            given = answer["Credentials"]
            end: datetime = given["Expiration"]
            ends = end.timestamp()
            credentials = ReadOnlyCredentials(
                given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], None
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise unanswered(KeyError(type(error).__name__), f"obtaining {self.who}", self.who) from None
        self._held = _Held(credentials, ends, ends - min(EARLY_SECONDS, max(0.0, (ends - now) / 10)))
        return self._held


def assumed(
    settings: AssumedRoleSettings, region: str, connector: ConnectorDocument, surroundings: Surroundings
) -> Role:
    """`AssumeSTSRole`: the delegate's own identity assumes it."""
    own = OwnIdentity(region, surroundings)
    tries = Tries(surroundings.call_seconds, surroundings.randomness)
    session = AwsSession(region, surroundings, credentials=Signing(own))
    parameters: dict[str, Any] = {
        "RoleArn": settings.role_arn,
        "RoleSessionName": session_name(surroundings.delegate, connector.identifier),
    }
    if settings.external_name is not None:
        parameters["ExternalId"] = settings.external_name
    if settings.assume_sts_role_duration > 0:
        parameters["DurationSeconds"] = settings.assume_sts_role_duration

    async def ask(sts: AwsCalls) -> Mapping[str, Any]:
        return await sts.ask("AssumeRole", f"the role {settings.role_arn}", **parameters)

    return Role(settings.role_arn, AwsCalls("sts", session, own, tries, _STS), ask, surroundings.clock)


def trusting(settings: OidcSettings, region: str, connector: ConnectorDocument, surroundings: Surroundings) -> Role:
    """`OidcAuthentication`: it trusts the keyring's issuer."""
    session = AwsSession(region, surroundings)
    tries = Tries(surroundings.call_seconds, surroundings.randomness)
    nobody = Nobody(f"the ID token of the connector {connector.identifier}")
    sts = AwsCalls("sts", session, nobody, tries, _STS_BY_TOKEN, config=AioConfig(signature_version=UNSIGNED))

    async def ask(sts: AwsCalls) -> Mapping[str, Any]:
        if surroundings.tokens is None:
            raise NotReady(
                "oidc_unconfigured",
                f"the delegate can't make ID tokens for the connector {connector.identifier}",
                "give its keyring an issuer: privyseal oidc enable --issuer URL",
            )
        return await sts.ask(
            "AssumeRoleWithWebIdentity",
            f"the role {settings.iam_role_arn}",
            RoleArn=settings.iam_role_arn,
            RoleSessionName=session_name(surroundings.delegate, connector.identifier),
            WebIdentityToken=await surroundings.tokens.mint(connector, OIDC_AUDIENCE),
        )

    return Role(settings.iam_role_arn, sts, ask, surroundings.clock)


_UNCLEAN = re.compile(r"[^A-Za-z0-9_+=,.@\-]")

# The token service's own codes, and what its refusals mean.
_STS: Refusals = {
    "AccessDenied": Refusal(
        Denied,
        "aws_denied",
        "AWS doesn't allow {action} on {about} to {who}",
        "let the role's trust policy name who calls, with the connector's externalName as sts:ExternalId; allow {action} to "
        "who calls where he is in another account",
    ),
    "ValidationError": Refusal(
        Malformed,
        "aws_invalid",
        "AWS doesn't take what {action} was asked on {about}",
        "look at roleArn and externalName, and whether assumeStsRoleDuration is longer than the role allows",
    ),
}
_NOT_TAKEN = Refusal(
    Denied,
    "oidc_refused",
    "AWS doesn't take {who} for {about}: {word}",
    "compare IAM's identity provider (URL, audience, whether AWS can read its keys) with: privyseal oidc show",
)
_STS_BY_TOKEN: Refusals = {
    **_STS,
    "AccessDenied": Refusal(
        Denied,
        "aws_denied",
        "AWS doesn't allow {action} on {about} to {who}",
        "let the role's trust policy name the issuer, the audience sts.amazonaws.com and the connector's exact subject: "
        "privyseal oidc show",
    ),
    "InvalidIdentityToken": _NOT_TAKEN,
    "IDPRejectedClaim": _NOT_TAKEN,
    "IDPCommunicationError": Refusal(
        Unavailable,
        "oidc_unreachable",
        "AWS can't read the keys of the issuer of {who}",
        "look whether they are published",
    ),
}
