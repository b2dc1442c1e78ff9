"""Finds the secret manager that a connector describes; its kind's code is imported when the first one names it.

Promises: a kind that the local policy doesn't allow is never imported, and another package's only where the policy names it;
no installed package can take the place of a built-in kind; a manager is closed when a newer revision of its connector or its
credentials replaces it, or when nobody used it for long, and never while somebody uses it. Must not import a kind itself.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from math import inf

import structlog

from delegate.metered import Calls
from delegate.policy import ANY
from delegate.secret_managers.interface import Kind, SecretManager, Surroundings
from delegate.secret_managers.loading import LOAD_SECONDS, Loadable, Loading
from delegate.secret_managers.plugins import GROUP, Plugin, plugins
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import CUSTOM, ConnectorDocument
from shared.documents.jws import Verified
from shared.documents.template import TemplateDocument
from shared.errors import Denied, NotReady

MOST_MANAGERS = 1_000
"""Connectors whose managers are kept, the last used ones."""

IDLE_SECONDS = 900.0
"""How long a manager, with its connections and credentials, is kept that nobody uses."""

CLOSE_SECONDS = 5.0


BUILT_IN: Mapping[str, EntryPoint] = {
    "AgeFile": EntryPoint("AgeFile", "delegate.secret_managers.age_file:AgeFile", GROUP),
    "AwsKms": EntryPoint("AwsKms", "delegate.secret_managers.aws_kms:AwsKms", GROUP),
    "AwsParameterStore": EntryPoint(
        "AwsParameterStore", "delegate.secret_managers.aws_parameter_store:AwsParameterStore", GROUP
    ),
    "AwsSecretManager": EntryPoint(
        "AwsSecretManager", "delegate.secret_managers.aws_secret_manager:AwsSecretManager", GROUP
    ),
    "GcpKms": EntryPoint("GcpKms", "delegate.secret_managers.gcp_kms:GcpKms", GROUP),
    "GcpSecretManager": EntryPoint(
        "GcpSecretManager", "delegate.secret_managers.gcp_secret_manager:GcpSecretManager", GROUP
    ),
    "AzureKeyVault": EntryPoint("AzureKeyVault", "delegate.secret_managers.azure_key_vault:AzureKeyVault", GROUP),
    "AzureKeyVaultKey": EntryPoint(
        "AzureKeyVaultKey", "delegate.secret_managers.azure_key_vault_key:AzureKeyVaultKey", GROUP
    ),
    "CustomSecretManager": EntryPoint(
        "CustomSecretManager", "delegate.secret_managers.custom_secret_manager:CustomSecretManager", GROUP
    ),
    "KubernetesSecrets": EntryPoint(
        "KubernetesSecrets", "delegate.secret_managers.kubernetes_secrets:KubernetesSecrets", GROUP
    ),
    "CyberArkCcp": EntryPoint("CyberArkCcp", "delegate.secret_managers.cyberark_ccp:CyberArkCcp", GROUP),
    "CyberArkConjur": EntryPoint("CyberArkConjur", "delegate.secret_managers.cyberark_conjur:CyberArkConjur", GROUP),
    "Local": EntryPoint("Local", "delegate.secret_managers.local:Local", GROUP),
    "OnePasswordConnect": EntryPoint(
        "OnePasswordConnect", "delegate.secret_managers.onepassword_connect:OnePasswordConnect", GROUP
    ),
    "Pkcs11": EntryPoint("Pkcs11", "delegate.secret_managers.pkcs11:Pkcs11", GROUP),
    "Vault": EntryPoint("Vault", "delegate.secret_managers.vault:Vault", GROUP),
    "VaultTransit": EntryPoint("VaultTransit", "delegate.secret_managers.vault_transit:VaultTransit", GROUP),
}

_log = structlog.get_logger()


def installed_kinds() -> dict[str, Loadable]:
    """Every kind that is installed, by its name, without importing any."""
    return {**plugins(), **BUILT_IN}


@dataclass(slots=True, eq=False)
class _Kept:
    """A manager and how many use it now; one that was let go is closed by its last user."""

    manager: SecretManager
    connector: str
    until: float
    last_used: float
    users: int = 0
    let_go: bool = False


class Registry:
    """Secret managers by connector document and by the versions of the credentials that they were made with.

    `calls` times what they do, where it is given. `hits` and `misses` count who found one kept and who had one made.
    """

    def __init__(
        self,
        kinds: Mapping[str, Loadable],
        surroundings: Surroundings,
        load_seconds: float = LOAD_SECONDS,
        calls: Calls | None = None,
    ) -> None:
        self._calls = calls
        self.hits = self.misses = 0
        self._installed = kinds
        self.surroundings = surroundings
        self._loading = Loading(load_seconds)
        self._managers: OrderedDict[tuple[str, ...], _Kept] = OrderedDict()
        self._newest: dict[str, tuple[str, ...]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def kept(self) -> int:
        """How many managers are."""
        return len(self._managers)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Those that a connector may name here, sorted."""
        return tuple(sorted(name for name in self._installed if self._allows(name)))

    @asynccontextmanager
    async def lend(
        self,
        connector: Verified[ConnectorDocument],
        versions: Sequence[str] = (),
        secrets: Callable[[], Awaitable[Mapping[str, Plaintext]]] | None = None,
        seconds: float = inf,
        template: TemplateDocument | None = None,
    ) -> AsyncIterator[SecretManager]:
        """The manager of exactly this revision of a connector, and so of its `template`, and these versions of its credentials.

        `secrets` is asked for their values where there is none yet, or where they were asked for `seconds` ago. One that is
        used isn't closed. Raises Denied for a kind that the local policy forbids, NotReady for one that isn't installed,
        Malformed, and what `secrets` raises.
        """
        name = (connector.digest, *versions)
        if versions:
            # What an excluded generation made is refused, also where it was taken for true before.
            name += (self._floor(),)
        kept = self._fresh(name)
        if kept is not None:
            self.hits += 1
        else:
            self.misses += 1
            kind = await self._kind(connector.document.type)
            asked = self.surroundings.clock.monotonic()
            values = await secrets() if secrets is not None else {}
            # While the credentials were fetched another may have made it.
            kept = self._fresh(name)
            if kept is None:
                made = kind(connector.document, replace(self.surroundings, template=template), values)
                if self._calls is not None:
                    made = self._calls.of(made, connector.document.type)
                kept = _Kept(made, connector.document.id, asked + seconds, asked)
                self._managers[name] = kept
        self._managers.move_to_end(name)
        with self._using(name, kept):
            self._replace(name, kept)
            yield kept.manager

    @asynccontextmanager
    async def borrow(self, connector: Verified[ConnectorDocument]) -> AsyncIterator[SecretManager | None]:
        """The manager of exactly this revision that was lent last, if it is kept; none is made, no credential asked for."""
        name = self._name_of(connector)
        kept = None if name is None else self._fresh(name)
        if name is None or kept is None:
            yield None
            return
        with self._using(name, kept):
            yield kept.manager

    def forget(self, connector: Verified[ConnectorDocument]) -> None:
        """What is kept of that revision goes when its last user does: whoever asks next has it made anew."""
        name = self._name_of(connector)
        if name is not None:
            self._let_go(name)

    def hold(self, connectors: Iterable[Verified[ConnectorDocument]]) -> None:
        """What is kept of these counts as used now, the last of them last."""
        for connector in connectors:
            name = self._name_of(connector)
            if name is not None:
                self._managers[name].last_used = self.surroundings.clock.monotonic()
                self._managers.move_to_end(name)

    @contextmanager
    def _using(self, name: tuple[str, ...], kept: _Kept) -> Iterator[None]:
        kept.users += 1
        try:
            yield
        finally:
            kept.users -= 1
            kept.last_used = self.surroundings.clock.monotonic()
            if kept.let_go:
                self._close_unused(kept)
            else:
                self._managers.move_to_end(name)

    def _name_of(self, connector: Verified[ConnectorDocument]) -> tuple[str, ...] | None:
        """Under which the manager is kept that was lent last; none where its credentials may be what a thief made."""
        name = self._newest.get(connector.document.id)
        if name is None or name[0] != connector.digest or (name[1:] and name[-1] != self._floor()):
            return None
        return name

    def _floor(self) -> str:
        return f"floor {self.surroundings.zone.floor}"

    def tidy(self) -> None:
        """Let go of what nobody used for long, and of data keys that are kept no longer: to be called now and then."""
        self._let_go_of_old()
        self.surroundings.data_keys.tidy()

    async def close(self) -> None:
        """Closes all, at the end. Nothing may be borrowed any more."""
        for name in list(self._managers):
            self._let_go(name)
        await asyncio.gather(*self._closing)

    def _fresh(self, name: tuple[str, ...]) -> _Kept | None:
        """The one that is kept; none where its credentials are too old."""
        kept = self._managers.get(name)
        if kept is not None and kept.until <= self.surroundings.clock.monotonic():
            self._let_go(name)
            return None
        return kept

    def _replace(self, name: tuple[str, ...], kept: _Kept) -> None:
        """What an older revision of the connector or older credentials made goes; so does what is too old or too many."""
        before = self._newest.get(kept.connector)
        self._newest[kept.connector] = name
        if before is not None and before != name:
            self._let_go(before)
        self._let_go_of_old()

    def _let_go_of_old(self) -> None:
        since = self.surroundings.clock.monotonic() - IDLE_SECONDS
        surplus = len(self._managers) - MOST_MANAGERS
        old: list[tuple[str, ...]] = []
        for name, kept in self._managers.items():  # those that aren't used stand in the order of their last use
            if kept.users:
                continue
            if len(old) >= surplus and kept.last_used >= since:
                break
            old.append(name)
        for name in old:
            self._let_go(name)

    def _let_go(self, name: tuple[str, ...]) -> None:
        kept = self._managers.pop(name)
        if self._newest.get(kept.connector) == name:
            del self._newest[kept.connector]
        kept.let_go = True
        self._close_unused(kept)

    def _close_unused(self, kept: _Kept) -> None:
        """Closing may wait for a provider; no task waits for that."""
        if not kept.users:
            closing = asyncio.create_task(_close(kept.manager))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _allows(self, kind: str) -> bool:
        policy = self.surroundings.policy
        # Code of others can do all that the delegate can: who runs it says so by its name.
        named = {kind} if isinstance(self._installed.get(kind), Plugin) else {kind, ANY}
        # Else tasks would come that can only be refused.
        return bool(named & policy.kinds) and (kind != CUSTOM or policy.scripts)

    async def _kind(self, name: str) -> Kind:
        if not self._allows(name):
            rule = "scripts" if name == CUSTOM and not self.surroundings.policy.scripts else "kinds"
            raise Denied(
                "local_policy",
                f"the delegate's own policy doesn't allow the kind {name}",
                f"allow it {'' if rule == 'scripts' else 'by its name '}with the key {rule} in the policy file of that delegate, "
                "or use another delegate",
                rule=rule,
            )
        point = self._installed.get(name)
        if point is None:
            raise NotReady(
                "kind_unknown",
                f"this delegate knows no secret manager of the kind {name}; it knows {_listed(self.kinds)}",
                "install the package that brings it, or use another delegate",
            )
        return await self._loading.kind(name, point)


async def _close(manager: SecretManager) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await manager.close()
    except Exception as error:  # noqa: BLE001 (what can't be closed must not fail a task that is done)
        _log.warning("connector.crashed", exc_info=error)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
