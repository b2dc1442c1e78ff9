"""Who a connector can be at Google: a service account by its key, a principal of a workload identity pool by the keyring's ID
tokens (or the service account that it impersonates), or what the delegate itself is.

Promises: a connector is only who its settings say, nothing else stands in for it; of a key file only the account, the key and
the project count, and what it says about where to call is not believed; tokens are kept in memory, renewed before they end.
Must not write credentials anywhere, nor put them into an error or a log line.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any, Protocol

import msgspec
import structlog
from google.auth import crypt, default, jwt
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError, TransportError

from delegate.clock import Clock
from delegate.credentials.flight import Flight
from delegate.credentials.gcp_http import GcpHttp, OwnRequests
from delegate.credentials.gcp_tokens import CLOUD_PLATFORM, LIFETIME_SECONDS, Token, TokenEndpoints, slow
from delegate.credentials.refusals import Refusal, Refusals
from delegate.secret_managers.interface import Surroundings
from delegate.tries import Tries
from shared.connectors.gcp import PROJECT, Federation
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import Denied, Malformed, NotReady, Overloaded, PrivySealError, Unavailable

EARLY_SECONDS = 300.0
AGAIN_SECONDS = 30.0
TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 (an audience)
LONGEST_KEY = 65_536
PROJECT_VARIABLES = ("GCP_PROJECT", "GOOGLE_CLOUD_PROJECT")
"""Of the delegate: its own project, where a connector names none."""

_log = structlog.get_logger()


class Identity(Protocol):
    """Who calls. `who` names it in errors."""

    who: str

    async def token(self) -> str:
        """An access token, obtained if there is none or it is about to end."""

    async def project(self) -> str:
        """Its own project, "" where it has none."""

    async def renew(self, refused: str) -> None:
        """Google doesn't take that token: let go of it."""

    async def close(self) -> None:
        """Let go of all."""


@dataclass(frozen=True, slots=True, repr=False)
class _Held:
    token: Token
    renewed: float


class Tokens:
    """Keeps one identity's token, and obtains another before it ends; who finds it due waits for the same request."""

    def __init__(self, obtain: Callable[[], Awaitable[Token]], clock: Clock) -> None:
        self._obtain = obtain
        self._clock = clock
        self._held: _Held | None = None
        self._obtaining = Flight(self._obtained)

    async def text(self) -> str:
        """The token's text. Raises what obtaining raises, once the last one has ended."""
        held, now = self._held, self._clock.now()
        if held is None or now >= held.token.ends:
            return (await self._obtaining.result()).token.text
        if now < held.renewed:
            return held.token.text
        try:
            return (await self._obtaining.result()).token.text
        except (Unavailable, Overloaded) as error:
            _log.warning("gcp_token.renewal_failed", code=error.code, error_type=type(error).__name__)
            self._held = replace(held, renewed=now + AGAIN_SECONDS)
            return held.token.text

    def forget(self, refused: str | None = None) -> None:
        """Let go of it, or only of that one."""
        if refused is None:
            self._obtaining.cancel()
        if self._held is not None and refused in {None, self._held.token.text}:
            self._held = None

    async def _obtained(self) -> _Held:
        token = await self._obtain()
        left = max(0.0, token.ends - self._clock.now())
        self._held = _Held(token, token.ends - min(EARLY_SECONDS, left / 10))
        return self._held


class _KeyFile(msgspec.Struct, frozen=True):
    type: str
    client_email: str = ""
    private_key: str = ""
    private_key_id: str = ""
    project_id: str = ""
    token_uri: str = TOKEN_URL
    universe_domain: str = "googleapis.com"


class ServiceAccount:
    """A service account, by the key that a secret holds."""

    def __init__(self, key: Plaintext, reference: str, scope: str, surroundings: Surroundings) -> None:
        self._file, self._signer = _key_of(key, reference)
        self.who = f"the service account whose key the secret {reference} holds"
        self._scope = scope
        self._clock = surroundings.clock
        self._endpoints = TokenEndpoints(surroundings, self.who, _OF_ACCOUNT)
        self._tokens = Tokens(self._obtain, surroundings.clock)

    @property
    def own_project(self) -> str:
        """The one that the key file names, "" for none."""
        return self._file.project_id

    async def token(self) -> str:
        """For the key's signature. Raises Denied, NotReady, Unavailable, Overloaded."""
        return await self._tokens.text()

    async def project(self) -> str:
        """The key file's."""
        return self.own_project

    async def renew(self, refused: str) -> None:
        """Another is obtained the next time."""
        self._tokens.forget(refused)

    async def close(self) -> None:
        """Forget the token, and close the connections."""
        self._tokens.forget()
        self._endpoints.close()

    async def _obtain(self) -> Token:
        now = int(self._clock.now())
        claims = {
            "iss": self._file.client_email,
            "scope": self._scope,
            "aud": TOKEN_URL,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
        }
        # The first use of a key also checks its factors, a tenth of a second that heartbeats needn't wait for.
        assertion: bytes = await asyncio.to_thread(jwt.encode, self._signer, claims)
        return await self._endpoints.by_assertion(assertion.decode("ascii"))


class Federated:
    """A principal of a workload identity pool, or the service account that it impersonates."""

    def __init__(
        self, federation: Federation, scope: str, connector: ConnectorDocument, surroundings: Surroundings
    ) -> None:
        email = federation.service_account_email
        self.who = f"the service account {email}" if email else f"the ID token of the connector {connector.identifier}"
        self._federation = federation
        self._scope = scope
        self._connector = connector
        self._minted = surroundings.tokens
        self._endpoints = TokenEndpoints(surroundings, self.who, _OF_POOL)
        self._tokens = Tokens(self._obtain, surroundings.clock)

    async def token(self) -> str:
        """For an ID token. Raises Denied, NotReady, Unavailable, Overloaded."""
        return await self._tokens.text()

    async def project(self) -> str:
        """The pool's."""
        return self._federation.gcp_project_id

    async def renew(self, refused: str) -> None:
        """Another is obtained the next time."""
        self._tokens.forget(refused)

    async def close(self) -> None:
        """Forget the token, and close the connections."""
        self._tokens.forget()
        self._endpoints.close()

    async def _obtain(self) -> Token:
        if self._minted is None:
            raise NotReady(
                "oidc_unconfigured",
                f"the delegate can't make ID tokens for the connector {self._connector.identifier}",
                "give its keyring an issuer: privyseal oidc enable --issuer URL",
            )
        told = self._federation
        minted = await self._minted.mint(self._connector, told.audience)
        # The exchanged token is good for nothing but impersonating where an account is named: that is a scope of its own.
        federated = await self._endpoints.by_exchange(minted, told.provider, CLOUD_PLATFORM)
        if not told.service_account_email:
            return federated
        return await self._endpoints.impersonated(federated, told.service_account_email, self._scope)


class OwnIdentity:
    """What the delegate is at Google, found as Google's library finds it: GOOGLE_APPLICATION_CREDENTIALS, gcloud's own file, the
    metadata server of its machine."""

    who = "the delegate's own Google identity"

    def __init__(self, scope: str, surroundings: Surroundings) -> None:
        self._scope = scope
        self._seconds = surroundings.call_seconds
        self._clock = surroundings.clock
        self._tries = Tries(surroundings.call_seconds, surroundings.randomness)
        self._http = GcpHttp(surroundings.policy, surroundings.call_seconds)
        self._found: tuple[Any, str] | None = None
        self._looking = Flight(self._look)
        self._tokens = Tokens(self._obtain, surroundings.clock)

    async def token(self) -> str:
        """As found, and kept fresh. Raises NotReady, Denied, Unavailable."""
        return await self._tokens.text()

    async def project(self) -> str:
        """The one that a variable names, or the library finds."""
        for name in PROJECT_VARIABLES:
            if os.environ.get(name):
                return os.environ[name]
        _, project = await self._asked(self._looking.result)
        return str(project)

    async def renew(self, refused: str) -> None:
        """It is looked for anew: files and environment may have changed."""
        self._tokens.forget(refused)
        self._found = None

    async def close(self) -> None:
        """Forget it, and close the connections."""
        self._looking.cancel()
        self._tokens.forget()
        self._found = None
        self._http.close()

    async def _look(self) -> tuple[Any, str]:
        if self._found is None:
            requests = OwnRequests(self._http)
            credentials, project = await self._http.run(default, scopes=[self._scope], request=requests)
            self._found = credentials, project or ""
        return self._found

    async def _obtain(self) -> Token:
        async def once() -> Token:
            credentials, _ = await self._looking.result()
            await self._http.run(credentials.refresh, OwnRequests(self._http))
            if credentials.expiry is None:
                return Token(credentials.token, self._clock.now() + EARLY_SECONDS)
            return Token(credentials.token, credentials.expiry.replace(tzinfo=UTC).timestamp())

        return await self._tries.of(lambda: self._asked(once), lambda: slow("metadata"))

    async def _asked(self, call: Callable[[], Awaitable[Any]]) -> Any:
        try:
            async with asyncio.timeout(self._seconds):
                return await call()
        except PrivySealError:
            raise
        except TimeoutError:
            raise Unavailable("gcp_slow", f"{self.who} couldn't be obtained in time", _HINT) from None
        except DefaultCredentialsError:
            raise NotReady(
                "gcp_credentials_missing", f"{self.who} isn't there: no credentials were found", _HINT
            ) from None
        except TransportError:
            raise Unavailable(
                "gcp_unreachable", f"{self.who} can't be obtained: what gives it doesn't answer", _HINT
            ) from None
        except RefreshError as error:
            if error.retryable or isinstance(error.__cause__, TransportError):
                raise Unavailable("gcp_unavailable", f"{self.who} can't be obtained for now", "try again") from None
            raise Denied("gcp_credentials_refused", f"Google gives no access token for {self.who}", _HINT) from None
        except (GoogleAuthError, ValueError, OSError):
            raise NotReady(
                "gcp_credentials_missing", f"{self.who} can't be used: its credentials are malformed", _HINT
            ) from None


def _key_of(value: Plaintext, reference: str) -> tuple[_KeyFile, crypt.RSASigner]:
    """Raises Malformed for what isn't a service account's key, saying what is wrong and not what is there."""

    def refuse(why: str) -> Malformed:
        return Malformed(
            "credential_malformed",
            f"the secret {reference} isn't a service account's key: {why}",
            "store the JSON file that `gcloud iam service-accounts keys create` writes: privyseal secret set --from-file",
        )

    raw = value.reveal()
    if len(raw) > LONGEST_KEY:
        raise refuse("it is too long")
    try:
        file = msgspec.json.decode(raw, type=_KeyFile)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise refuse("it isn't a JSON object with texts for type, client_email and private_key") from None
    if file.type != "service_account":
        raise refuse(f"its type is {file.type}" if file.type in _OTHER_TYPES else "its type isn't service_account")
    if not _EMAIL.match(file.client_email):
        raise refuse("it has no client_email, or one that isn't an e-mail address")
    if file.project_id and not _PROJECT.match(file.project_id):
        raise refuse("its project_id isn't the id of a project")
    if file.universe_domain != "googleapis.com":
        raise refuse("its universe_domain isn't googleapis.com, and no other is served")
    if file.token_uri not in _TOKEN_URIS:
        raise refuse(
            "its token_uri isn't Google's; where another one is to be asked, the delegate's gcp_endpoints says"
        )
    try:
        signer = crypt.RSASigner.from_string(  # type: ignore[no-untyped-call]
            file.private_key, file.private_key_id or None
        )
    except (ValueError, TypeError):
        raise refuse("its private_key isn't an RSA key in PEM") from None
    return file, signer


_EMAIL = re.compile(r"[!-?A-~]{1,128}@[a-zA-Z0-9.\-]{1,253}\Z")
_PROJECT = re.compile(PROJECT)
_TOKEN_URIS = frozenset(
    {TOKEN_URL, "https://accounts.google.com/o/oauth2/token", "https://www.googleapis.com/oauth2/v4/token"}
)
_OTHER_TYPES = frozenset(
    {"authorized_user", "external_account", "impersonated_service_account", "gdch_service_account"}
)
_HINT = "give the delegate an identity: docs/secret-managers/gcp-kms.md lists the ways"
_KEY_REFUSED = Refusal(
    Denied,
    "gcp_credentials_refused",
    "Google doesn't take the key of {who}: {word}",
    "look whether the account and this key of it are there and enabled, and store a new key",
)
_OF_ACCOUNT: Refusals = {"invalid_grant": _KEY_REFUSED, "invalid_client": _KEY_REFUSED}

_NOT_TAKEN = Refusal(
    Denied,
    "oidc_refused",
    "Google doesn't take the connector's ID token for {who}: {word}",
    "compare the pool's provider (issuer, audiences, attribute mapping and condition, whether Google can read its keys) with: "
    "privyseal oidc show",
)
_OF_POOL: Refusals = {
    "invalid_grant": _NOT_TAKEN,
    "unauthorized_client": _NOT_TAKEN,
    "invalid_request": _NOT_TAKEN,
    "invalid_target": Refusal(
        Denied,
        "oidc_refused",
        "Google knows no such pool or provider, or it is disabled: {word}",
        "look at workloadPoolId, providerId and gcpProjectId, which is the project's number",
    ),
    "PERMISSION_DENIED": Refusal(
        Denied,
        "gcp_denied",
        "Google doesn't let the connector's principal be {who}",
        "grant roles/iam.workloadIdentityUser on that account to the connector's principal: "
        "docs/secret-managers/gcp-kms.md",
    ),
    "NOT_FOUND": Refusal(NotReady, "gcp_account_missing", "Google doesn't know {who}", "look at serviceAccountEmail"),
}
