"""Calls of one Vault for one connector: threads, tries, the local policy, and what Vault's refusals mean.

Promises: no host is called that the local policy doesn't allow; every failure is one of `shared.errors` that names what was
asked and the remedy, and repeats nothing of what Vault answered; a call that takes too long is given up; threads and
connections are the connector's own, so that a Vault that is slow holds up nobody else. Must not know which paths there are,
nor whose token is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import requests.exceptions
from hvac import Client  # type: ignore[import-untyped]
from urllib3.exceptions import HTTPError, ReadTimeoutError

from delegate.credentials.refusals import Refusal, Refusals
from delegate.credentials.vault_http import CONNECTIONS, Answer, Garbled, Refused, TooLong, VaultHttp
from delegate.secret_managers.interface import Surroundings
from delegate.tries import Tries
from shared.connectors.vault import VaultConnection
from shared.crypto.plaintext import Plaintext
from shared.errors import Conflict, Denied, Malformed, NotFound, NotReady, Overloaded, PrivySealError, Unavailable

Call = Callable[[Client], Answer]

T = TypeVar("T")


class VaultCalls:
    """One server and namespace."""

    def __init__(self, settings: VaultConnection, surroundings: Surroundings, key: Plaintext | None) -> None:
        self._host = settings.host
        self._policy = surroundings.policy
        self._http = VaultHttp(settings, key, surroundings.call_seconds)
        self._tries = Tries(surroundings.call_seconds, surroundings.randomness)
        self._hurried = Tries(min(2.0, surroundings.call_seconds), surroundings.randomness, most=1)
        self._threads: ThreadPoolExecutor | None = None

    @property
    def concurrency(self) -> int:
        """As many as there are threads."""
        return CONNECTIONS

    async def ask(
        self, about: str, call: Call, token: str = "", refusals: Refusals | None = None, *, hurried: bool = False
    ) -> Answer:
        """What `call` gets with that token; `about` names it in errors: an operation and a path.

        `refusals` go before those of every call. `hurried`: once and shortly, for what may as well fail. Raises Denied,
        NotFound, Conflict, NotReady, Malformed, Unavailable, Overloaded.
        """
        self._policy.check_host(self._host)

        async def once() -> Answer:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="vault")
            try:
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._in_thread, call, token)
            except PrivySealError:
                raise
            except Exception as error:  # noqa: BLE001 (the libraries stumble in many ways over what Vault wouldn't say)
                raise refusal(error, about, refusals or {}) from None

        def slow() -> PrivySealError:
            return _made(_SLOW, about)

        return await (self._hurried if hurried else self._tries).of(once, slow)

    async def close(self) -> None:
        """Close connections and threads; a call after that opens others."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
        self._http.close()

    def _in_thread(self, call: Call, token: str) -> Answer:
        return call(self._http.client(token))


def refusal(error: Exception, about: str, refusals: Refusals) -> PrivySealError:
    """What a failure means."""
    match error:
        case Refused(status=status, said=said):
            rows = [*refusals.items(), *REFUSALS.items()]
            for key, row in rows:
                if isinstance(key, str) and key in said:
                    return _made(row, about)
            for key, row in rows:
                if key == status:
                    return _made(row, about)
            return _made(_FAILING if status >= 500 else _REDIRECTED if status < 400 else _UNKNOWN, about, status=status)
        case requests.exceptions.Timeout() | ReadTimeoutError():
            return _made(_SLOW, about)
        case requests.exceptions.ProxyError():
            return _made(_PROXY, about)
        case requests.exceptions.SSLError():
            return _made(_UNTRUSTED, about)
        case requests.exceptions.ConnectionError() | HTTPError():
            return _made(_UNREACHABLE, about)
        case TooLong():
            return _made(_TOO_LONG, about)
    return _made(_GARBLED, about)


def garbled(about: str) -> PrivySealError:
    """The error for an answer that isn't Vault's."""
    return _made(_GARBLED, about)


def parsed(answer: Answer, form: type[T], about: str) -> T:
    """An answer as that struct. Raises Unavailable for one of another form."""
    try:
        return answer.read(form)
    except Garbled:
        raise garbled(about) from None


def _made(row: Refusal, about: str, **facts: Any) -> PrivySealError:
    words = {"about": about, "place": about.rpartition(" on ")[2]}
    return row.error(row.code, row.detail.format(**words), row.hint.format(**words), **facts)


_SLOW = Refusal(
    Unavailable,
    "vault_slow",
    "Vault didn't answer {about} in time",
    "try again; if it stays so, look at Vault's load and the network between the delegate and it",
)
_PROXY = Refusal(
    Unavailable,
    "vault_unreachable",
    "the proxy on the way to Vault can't be reached or refuses, at {about}",
    "look at HTTPS_PROXY and NO_PROXY of the delegate",
)
_UNTRUSTED = Refusal(
    Unavailable,
    "vault_untrusted",
    "TLS with Vault fails at {about}: its certificate isn't trusted or has another name, or it refuses the connector's",
    "give the authority that issued its certificate: caCertificate; certificates are always verified",
)
_UNREACHABLE = Refusal(
    Unavailable,
    "vault_unreachable",
    "Vault can't be reached for {about}",
    "look at the connector's vaultUrl and the network between the delegate and Vault",
)
_TOO_LONG = Refusal(Malformed, "value_too_large", "Vault's answer to {about} is longer than 16 MiB", "refer to less")
_GARBLED = Refusal(
    Unavailable,
    "vault_garbled",
    "what answers {about} doesn't speak as Vault does",
    "look at the connector's vaultUrl and at what stands between the delegate and Vault",
)
_REDIRECTED = Refusal(
    Unavailable,
    "vault_standby",
    "what answers {about} wants to redirect it, as a standby node does; redirects aren't followed",
    "let vaultUrl name the active node, or a load balancer that finds it",
)
_FAILING = Refusal(
    Unavailable, "vault_unavailable", "Vault fails at {about}", "try again; see the log of Vault and of its storage"
)
_UNKNOWN = Refusal(Denied, "vault_refused", "Vault refuses {about}", "see Vault's audit log for the reason")
_STANDBY = Refusal(
    Unavailable,
    "vault_standby",
    "the node of Vault that answers {about} is a standby without an active node",
    "try again; let vaultUrl name a load balancer that finds the active node",
)

REFUSALS: Refusals = {
    "check-and-set parameter": Refusal(
        Conflict, "vault_changed", "somebody else wrote at the same time as {about}", "try again"
    ),
    "too large": Refusal(
        Malformed,
        "value_too_large",
        "Vault's storage doesn't take a value of this length, at {about}",
        "Vault's limits: 1 MiB for integrated storage, 512 KiB for Consul",
    ),
    "active cluster node not found": _STANDBY,
    "is sealed": Refusal(Unavailable, "vault_sealed", "Vault is sealed, so it can't do {about}", "unseal it"),
    "no handler for route": Refusal(
        NotFound,
        "vault_engine_missing",
        "there is nothing mounted where {place} leads",
        "look at secretEngineName, at the path of the auth method, and at the namespace of the connector",
    ),
    400: Refusal(
        Malformed, "vault_invalid", "Vault doesn't take what {about} was asked with", "look at the connector's settings"
    ),
    403: Refusal(
        Denied,
        "vault_denied",
        "Vault doesn't allow {about}",
        "allow it in a policy of the token: docs/secret-managers/vault.md lists what is needed",
    ),
    404: Refusal(
        NotFound,
        "vault_missing",
        "Vault has nothing at {place}",
        "look at the path, and at secretEngineName, secretEngineVersion and namespace of the connector",
    ),
    405: Refusal(
        NotReady, "vault_unsupported", "Vault doesn't know {about}", "look at secretEngineName and secretEngineVersion"
    ),
    412: Refusal(Unavailable, "vault_behind", "the node of Vault is behind the others, at {about}", "try again"),
    413: Refusal(
        Malformed,
        "value_too_large",
        "Vault doesn't take a request of this length, at {about}",
        "raise max_request_size, or store less",
    ),
    429: Refusal(
        Overloaded,
        "vault_throttled",
        "Vault takes no more of {about} for now: a rate limit quota is spent",
        "try again later; raise the quota, or calls_per_minute keeps a connector below it",
    ),
    472: _STANDBY,
    473: _STANDBY,
    501: Refusal(NotReady, "vault_uninitialised", "Vault isn't initialised, so it can't do {about}", "initialise it"),
    503: Refusal(
        Unavailable,
        "vault_sealed",
        "Vault is sealed or in maintenance, so it can't do {about}",
        "unseal it, or wait until it is back",
    ),
}
