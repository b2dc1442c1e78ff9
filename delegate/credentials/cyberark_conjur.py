"""Who a connector is at Conjur: its access token, by an API key or by an ID token of the keyring's issuer.

Promises: many uses at once log in once; a token is replaced before its end, and once where Conjur doesn't take it any longer;
tokens are kept in memory only, and nothing that Conjur answers is repeated in an error. Formats: Conjur's REST API, routes
`authn` and `authn-jwt`; the token goes in base64 into the header Authorization.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol
from urllib.parse import urlencode

import msgspec
from msgspec import Meta

from delegate.credentials.refusals import Refusal, Refusals
from delegate.credentials.rest import Answer, Rest, encoded
from delegate.credentials.rest_refusals import OTHER, refusal
from delegate.secret_managers.interface import Surroundings
from delegate.tries import Tries
from shared.connectors.cyberark_conjur import ApiKey, ApiKeySettings, CyberArkConjurSettings, JwtSettings
from shared.connectors.servers import parts_of
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import Conflict, Denied, Malformed, NotFound, NotReady, Overloaded, PrivySealError, Unavailable

LIFETIME_SECONDS = 480.0
"""Of a token, unless it says that it ends earlier."""
LARGEST_ANSWER = 16 * 1024 * 1024
LONGEST_TOKEN = 16_384

_WORD = re.compile(rb"[!-~]{1,1024}\Z")


class _Token(msgspec.Struct, frozen=True):
    """Only looked at for its form: what it says is Conjur's business, but for its end."""

    protected: Annotated[str, Meta(min_length=1)]
    payload: Annotated[str, Meta(min_length=1)]
    signature: Annotated[str, Meta(min_length=1)]


class _Claims(msgspec.Struct, frozen=True):
    iat: int
    exp: int


class _Who(msgspec.Struct, frozen=True):
    account: str
    username: str


@dataclass(frozen=True, slots=True, repr=False)
class Lease:
    """The header's value, and until when (monotonic seconds) it is used."""

    header: str
    ends: float


class Login(Protocol):
    """`path` is where it logs in, below the base path."""

    path: str
    refusals: Refusals

    async def body(self) -> tuple[str, bytes]:
        """Content type, and what is posted there."""


class KeyLogin:
    """A role's name and its API key."""

    def __init__(self, settings: ApiKeySettings, account: str, secrets: Mapping[str, Plaintext]) -> None:
        self.path = encoded("authn", account, settings.login, "authenticate")
        self.refusals = _refused(
            "its login and API key",
            "compare login and account; a host's login begins with host/; store the current key",
        )
        value = secrets[settings.api_key].reveal().strip()
        if not _WORD.match(value):
            raise Malformed(
                "credential_malformed",
                f"the secret {settings.api_key} isn't an API key",
                "store it again: privyseal secret set",
            )
        self._key = value

    async def body(self) -> tuple[str, bytes]:
        """The key."""
        return "text/plain", self._key


class JwtLogin:
    """An ID token of the keyring's issuer, made for each login."""

    def __init__(
        self, settings: JwtSettings, account: str, connector: ConnectorDocument, surroundings: Surroundings
    ) -> None:
        host = settings.host_id if settings.host_id.startswith("host/") else f"host/{settings.host_id}"
        who = (host,) if settings.host_id else ()
        self.path = encoded("authn-jwt", settings.service_id, account, *who, "authenticate")
        self.refusals = _refused(
            "its ID token",
            "compare the authenticator's issuer, jwks-uri or public-keys and audience, and the host's annotations, with: "
            "privyseal oidc show; look whether the authenticator is enabled and the host may use it",
        )
        self._settings = settings
        self._connector = connector
        self._surroundings = surroundings

    async def body(self) -> tuple[str, bytes]:
        """The token, as a form. Raises NotReady where the keyring has no issuer."""
        if self._surroundings.tokens is None:
            raise NotReady(
                "oidc_unconfigured",
                f"the delegate can't make ID tokens for the connector {self._connector.identifier}",
                "give its keyring an issuer: privyseal oidc enable --issuer URL",
            )
        jwt = await self._surroundings.tokens.mint(self._connector, self._settings.audience)
        return "application/x-www-form-urlencoded", urlencode({"jwt": jwt}).encode()


class Conjur:
    """One Conjur and a connector's identity there. Constructing asks nobody; raises Malformed for an unusable credential."""

    def __init__(
        self,
        settings: CyberArkConjurSettings,
        connector: ConnectorDocument,
        surroundings: Surroundings,
        secrets: Mapping[str, Plaintext],
    ) -> None:
        origin, self._base = parts_of(settings.url)
        self._rest = Rest(
            origin,
            surroundings.policy,
            surroundings.call_seconds,
            authorities=settings.ca_certificate,
            largest=LARGEST_ANSWER,
            name="Conjur",
            code="conjur",
        )
        self._tries = Tries(surroundings.call_seconds, surroundings.randomness)
        self._clock = surroundings.clock
        self._account = settings.account
        self._login: Login
        if isinstance(settings.credential, ApiKey):
            self._login = KeyLogin(settings.credential.spec, settings.account, secrets)
        else:
            self._login = JwtLogin(settings.credential.spec, settings.account, connector, surroundings)
        self._held: Lease | None = None
        self._taking = asyncio.Lock()

    async def ask(
        self, about: str, path: str, query: Mapping[str, str] | None = None, refusals: Refusals | None = None
    ) -> Answer:
        """A GET with a token; a new one once more, where Conjur doesn't take the old one any longer.

        `refusals` go before those of every call. Raises Denied, NotFound, NotReady, Malformed, Unavailable, Overloaded.
        """
        held = self._held
        lease = await self._lease()
        answer = await self._got(about, path, query, lease, refusals)
        if answer.status == 401 and lease is held:
            if self._held is lease:
                self._held = None
            lease = await self._lease()
            answer = await self._got(about, path, query, lease, refusals)
        if answer.status == 401:
            raise refusal(401, "", about, refusals or {}, REFUSALS)
        return answer

    async def check(self) -> None:
        """Whether Conjur knows us, in the account that was meant. Raises Denied, NotReady, Unavailable."""
        about = "read on whoami"
        who = self.parsed(await self.ask(about, "/whoami"), _Who, about)
        if who.account != self._account:
            raise self._rest.garbled(about)

    def parsed(self, answer: Answer, form: Any, about: str) -> Any:
        """An answer as that struct. Raises Unavailable for one of another form."""
        return self._rest.parsed(answer, form, about)

    def garbled(self, about: str) -> PrivySealError:
        """The error for an answer that isn't Conjur's."""
        return self._rest.garbled(about)

    async def close(self) -> None:
        """Forget the token, which Conjur lets end by itself, and close the connections."""
        self._held = None
        await self._rest.close()

    async def _lease(self) -> Lease:
        async with self._taking:
            if self._held is None or self._clock.monotonic() >= self._held.ends:
                self._held = await self._logged_in()
            return self._held

    async def _logged_in(self) -> Lease:
        about = "login on " + self._login.path.removesuffix("/authenticate").lstrip("/")
        kind, body = await self._login.body()
        began = self._clock.monotonic()

        async def once() -> Answer:
            answer = await self._rest.ask(
                "POST", self._base + self._login.path, headers={"Content-Type": kind}, body=body, about=about
            )
            if answer.status != 200:
                raise refusal(answer.status, "", about, self._login.refusals, REFUSALS)
            return answer

        answer = await self._tries.of(once, lambda: self._rest.slow(about))
        token: _Token = self.parsed(answer, _Token, about)
        if len(answer.body) > LONGEST_TOKEN:
            raise self._rest.garbled(about)
        # A little before the end, so that what is begun with it ends with it.
        header = f'Token token="{base64.b64encode(answer.body).decode("ascii")}"'
        return Lease(header, began + 0.75 * _seconds(token.payload))

    async def _got(
        self, about: str, path: str, query: Mapping[str, str] | None, lease: Lease, refusals: Refusals | None
    ) -> Answer:
        """The answer where it is one of success, or says that the token isn't taken."""

        async def once() -> Answer:
            headers = {"Authorization": lease.header}
            answer = await self._rest.ask("GET", self._base + path, headers=headers, query=query, about=about)
            if answer.status not in {200, 401}:
                raise refusal(answer.status, "", about, refusals or {}, REFUSALS)
            return answer

        return await self._tries.of(once, lambda: self._rest.slow(about))


def _seconds(payload: str) -> float:
    """How long a token lives by its payload (base64url); by the default where that doesn't say, and never longer."""
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=_Claims)
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        return LIFETIME_SECONDS
    return min(LIFETIME_SECONDS, max(0.0, float(claims.exp - claims.iat)))


def _refused(what: str, hint: str) -> Refusals:
    row = Refusal(Denied, "conjur_login_refused", f"Conjur doesn't take {what} at {{about}}", hint)
    return {400: row, 401: row, 403: row, 404: row, 422: row}


_PAGE = "docs/secret-managers/cyberark-conjur.md"

# What Conjur's status codes mean.
REFUSALS: Refusals = {
    400: Refusal(Malformed, "conjur_invalid", "Conjur doesn't take what it was asked, at {about}", "see " + _PAGE),
    401: Refusal(
        Denied,
        "conjur_unauthenticated",
        "Conjur doesn't take its own token at {about}, though it was made just now",
        "look whether all nodes behind the url have the same keys and clock, and what Conjur's log says",
    ),
    403: Refusal(
        Denied,
        "conjur_denied",
        "Conjur doesn't allow {about} to the connector's role",
        "permit execute on the variable to that role in a policy: " + _PAGE,
    ),
    404: Refusal(
        NotFound,
        "conjur_missing",
        "Conjur has nothing for {about}: no such variable, none that the role may see, or it has no value in that version",
        "look at the variable's whole id, at account, and at what the role may see; Conjur keeps the last 20 versions",
    ),
    409: Refusal(Conflict, "conjur_changed", "Conjur is changing what {about} asks for", "try again"),
    422: Refusal(Malformed, "conjur_invalid", "Conjur doesn't take what it was asked, at {about}", "see " + _PAGE),
    429: Refusal(
        Overloaded,
        "conjur_throttled",
        "Conjur takes no more of {about} for now",
        "try again later; calls_per_minute keeps a connector below its limit",
    ),
    500: Refusal(Unavailable, "conjur_unavailable", "Conjur fails at {about}", "try again; see Conjur's log"),
    OTHER: Refusal(Denied, "conjur_refused", "Conjur refuses {about}", "see Conjur's log for the reason"),
}
