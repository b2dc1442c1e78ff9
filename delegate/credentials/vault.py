"""Who a connector is at Vault: its token, from where the access type says, kept and renewed, or taken and revoked for each use.

Promises: many uses at once log in once; a token that Vault no longer takes is replaced once by a login, or its loss is told
with its remedy; what a login gave is revoked when it is no longer needed, what was given to us never is; renewal happens in
the background at the latest every `renewalIntervalMinutes`, never where that is 0. Tokens are kept in memory only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any

import msgspec
import structlog
from hvac import Client  # type: ignore[import-untyped]
from msgspec import Meta

from delegate.clock import Clock
from delegate.credentials.refusals import Refusal, Refusals
from delegate.credentials.vault_calls import Call, VaultCalls, parsed
from delegate.credentials.vault_http import Answer, path
from delegate.credentials.vault_logins import VAULT_TOKEN, Login, login, own_file, word
from delegate.secret_managers.interface import Surroundings
from shared.connectors.vault import VaultConnection
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import Denied, NotReady, PrivySealError

ASSUMED_SECONDS = 3600
"""How long a token is taken for good whose lease has no end that Vault tells."""
SHORTEST_SECONDS = 1.0
"""Of a lease that is worth renewing, and of a pause."""
AGAIN_SECONDS = 30.0
"""How long after it failed renewing is tried again."""

_log = structlog.get_logger()


class _Auth(msgspec.Struct, frozen=True):
    client_token: Annotated[str, Meta(max_length=8192, pattern=r"^[!-~]*$(?!\n)")]
    lease_duration: Annotated[int, Meta(ge=0, lt=2**53)] = 0
    renewable: bool = False


class _Granted(msgspec.Struct, frozen=True):
    auth: _Auth | None = None


class _Looked(msgspec.Struct, frozen=True):
    policies: tuple[str, ...] = ()
    renewable: bool = False


class _LookedUp(msgspec.Struct, frozen=True):
    data: _Looked


@dataclass(frozen=True, slots=True, repr=False)
class Lease:
    """A token and when (monotonic seconds) it is to be replaced; `seconds` is its whole time, 0 where that is unknown."""

    token: str
    seconds: float
    ends: float
    renewable: bool


class Use:
    """Calls with one token. `fresh`: it was made just now, so that a refusal isn't for its age."""

    def __init__(self, identity: VaultIdentity, lease: Lease, *, fresh: bool) -> None:
        self._identity = identity
        self._lease = lease
        self._fresh = fresh

    async def ask(self, about: str, call: Call, refusals: Refusals | None = None) -> Answer:
        """As `VaultCalls.ask`; with a new token once more, where Vault doesn't know the old one any longer.

        Raises NotReady for a token that only its owner can replace.
        """
        calls = self._identity.calls
        try:
            return await calls.ask(about, call, self._lease.token, refusals)
        except Denied as why:
            if self._fresh or why.code != "vault_denied" or await self._identity.knows(self._lease):
                raise
        self._lease, self._fresh = await self._identity.replaced(self._lease), True
        return await calls.ask(about, call, self._lease.token, refusals)


class VaultIdentity:
    """The identity of one connector at its Vault. Constructing asks nobody; raises Malformed for an unusable credential."""

    def __init__(
        self,
        settings: VaultConnection,
        connector: ConnectorDocument,
        surroundings: Surroundings,
        secrets: Mapping[str, Plaintext],
    ) -> None:
        key = None if settings.client_key is None else secrets[settings.client_key]
        self.calls = VaultCalls(settings, surroundings, key)
        self._settings = settings
        self._surroundings = surroundings
        self._clock: Clock = surroundings.clock
        self._connector = connector.identifier
        self._login: Login | None = login(settings, connector, surroundings, secrets)
        given = settings.auth_token if settings.access == "TOKEN" else None
        self._given = "" if given is None else word(secrets, given, "a token of Vault")
        self._held: Lease | None = None
        self._taking = asyncio.Lock()
        self._renewing: asyncio.Task[None] | None = None

    @property
    def single(self) -> bool:
        """Whether each use logs in and revokes."""
        kept = self._settings.access == "APP_ROLE" and self._settings.renew_app_role_token
        return self._login is not None and not (self._settings.enable_cache or kept)

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Use]:
        """Calls with a token that holds now."""
        if not self.single:
            held = self._held
            lease = await self._lease()
            yield Use(self, lease, fresh=lease is not held and self._login is not None)
            return
        lease = await self._logged_in()
        try:
            yield Use(self, lease, fresh=True)
        finally:
            await asyncio.shield(self._revoke(lease))

    async def check(self) -> None:
        """Whether there is a token, and whether it can be renewed as the connector says. Raises NotReady, Denied."""
        async with self.use() as use:
            if self._settings.access != "TOKEN" or not self._settings.renewal_interval_minutes:
                return
            answer = await use.ask("read on auth/token/lookup-self", _look_up)
        looked = parsed(answer, _LookedUp, "read on auth/token/lookup-self").data
        if not looked.renewable:
            what = "is a root token" if "root" in looked.policies else "can't be renewed"
            raise NotReady(
                "vault_token_not_renewable",
                f"the token of the connector {self._connector} {what}, and renewalIntervalMinutes says to renew it",
                "give a periodic token with a policy, or set renewalIntervalMinutes to 0",
            )

    async def knows(self, lease: Lease) -> bool:
        """Whether Vault still knows the token."""
        try:
            await self.calls.ask("read on auth/token/lookup-self", _look_up, lease.token)
        except Denied:
            return False
        return True

    async def replaced(self, dead: Lease) -> Lease:
        """Another token for one that Vault doesn't know any more. Raises NotReady where there is none to be had."""
        if self._settings.access == "VAULT_AGENT":
            lease = await self._lease()
            if lease.token != dead.token:
                return lease
            raise NotReady(
                "vault_token_dead",
                f"Vault doesn't take the token in {self._settings.sink_path} any longer",
                "look whether Vault Agent runs and can log in",
            )
        if self._login is None:
            raise NotReady(
                "vault_token_dead",
                f"Vault doesn't take the token in the secret {self._settings.auth_token} any longer: it has expired or was "
                "revoked, or may not look itself up",
                "store a new token in that secret; a periodic one lives as long as it is renewed",
            )
        if self._held is dead:
            self._held = None
        return await self._lease()

    async def close(self) -> None:
        """Stop renewing, revoke what a login gave, close the connections."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        lease, self._held = self._held, None
        if lease is not None and self._login is not None:
            await self._revoke(lease)
        await self.calls.close()

    async def _lease(self) -> Lease:
        if self._settings.access == "VAULT_AGENT":
            token = await own_file(self._surroundings, self._settings.sink_path, "sink", VAULT_TOKEN)
            return Lease(token, 0, 0, renewable=False)
        async with self._taking:
            if self._login is None:
                held = self._held or Lease(self._given, 0, 0, renewable=True)
            elif self._held is not None and self._clock.monotonic() < self._held.ends:
                return self._held
            else:
                held = await self._logged_in()
            self._held = held
            self._keep_renewing(held)
            return held

    async def _logged_in(self) -> Lease:
        assert self._login is not None
        login = self._login
        about = "login on " + "/".join(("auth", *login.path))
        body = dict(await login.body())
        began = self._clock.monotonic()
        answer = await self.calls.ask(
            about, lambda client: client.adapter.post(path("auth", *login.path), json=body), "", login.refusals
        )
        return self._granted(answer, about, began)

    def _granted(self, answer: Answer, about: str, began: float) -> Lease:
        auth = parsed(answer, _Granted, about).auth
        if auth is None or not auth.client_token:
            raise NotReady(
                "vault_login_unfinished",
                f"Vault asks for more than {self._login.who if self._login else 'the token'}, at {about}",
                "a delegate can't answer a second factor: leave the login's identity out of it",
            )
        # A little before the end, so that what is begun with it ends with it.
        return Lease(
            auth.client_token,
            auth.lease_duration,
            began + 0.99 * (auth.lease_duration or ASSUMED_SECONDS),
            auth.renewable,
        )

    def _keep_renewing(self, lease: Lease) -> None:
        minutes, kept = self._settings.renewal_interval_minutes, self._renewing
        manual = self._settings.access == "APP_ROLE" and not self._settings.renew_app_role_token
        if minutes and lease.renewable and not manual and (kept is None or kept.done()):
            self._renewing = asyncio.create_task(self._renew(60.0 * minutes))

    async def _renew(self, interval: float) -> None:
        """Renew what is held until nothing is, or it can't be."""
        failed = False
        while (held := self._held) is not None and held.renewable:
            # How long a token lives that was given to us is known from its first renewal, which is due at once.
            wait = min(interval, held.seconds * 2 / 3 if held.seconds or self._login else 0)
            await asyncio.sleep(max(SHORTEST_SECONDS, min(wait, AGAIN_SECONDS)) if failed else wait)
            renewed = await self._renewed(held)
            failed = renewed is held
            if self._held is held:
                self._held = renewed

    async def _renewed(self, held: Lease) -> Lease:
        """The lease as it is after a renewal; the same where that may yet succeed."""
        about, began = "update on auth/token/renew-self", self._clock.monotonic()
        try:
            answer = await self.calls.ask(about, _renew, held.token, _UNRENEWABLE)
            lease = self._granted(answer, about, began)
        except PrivySealError as why:
            _log.warning("vault_token.unrenewed", connector=self._connector, code=why.code, hint=why.hint)
            # A login makes another one at the next use; one that was given to us is used as long as Vault takes it.
            return held if why.retryable else replace(held, renewable=False)
        if 0 < lease.seconds < held.seconds / 2:
            _log.warning("vault_token.ending", connector=self._connector, seconds=lease.seconds)
        # Close to its longest life there is less and less to be had.
        return replace(lease, renewable=lease.renewable and lease.seconds > SHORTEST_SECONDS)

    async def _revoke(self, lease: Lease) -> None:
        """As well as can be: what can't be revoked ends by itself."""
        try:
            await self.calls.ask("update on auth/token/revoke-self", _revoke, lease.token, hurried=True)
        except PrivySealError as why:
            _log.info("vault_token.unrevoked", connector=self._connector, code=why.code)


def _look_up(client: Client) -> Any:
    return client.auth.token.lookup_self()


def _renew(client: Client) -> Any:
    return client.auth.token.renew_self()


def _revoke(client: Client) -> Any:
    return client.auth.token.revoke_self()


_UNRENEWABLE: Refusals = {
    400: Refusal(
        NotReady,
        "vault_token_not_renewable",
        "Vault doesn't renew the connector's token",
        "give a renewable, better a periodic token, or set renewalIntervalMinutes to 0",
    )
}
