"""Whether a token may do at Vault what a connector will ask for: looked up beforehand, so that nothing has to be written.

Promises: one look at the engine and one at the rights (sys/capabilities-self); what is missing is named, path by path. Must
not read a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from hvac import Client  # type: ignore[import-untyped]

from delegate.credentials.refusals import Refusal, Refusals
from delegate.credentials.vault import Use
from delegate.credentials.vault_calls import garbled, parsed
from delegate.credentials.vault_http import path
from shared.connectors.vault import segments
from shared.errors import Denied, Malformed, NotFound, NotReady, PrivySealError

_KV = frozenset({"kv", "generic"})
_MOST_SHOWN, _LONGEST_SHOWN = 20, 128


class _Mount(msgspec.Struct, frozen=True):
    type: str = ""
    options: dict[str, Any] | None = None

    @property
    def version(self) -> int:
        """Of a KV engine; one that says none is of version 1."""
        return 2 if (self.options or {}).get("version") == "2" else 1


class _MountAnswer(msgspec.Struct, frozen=True):
    data: _Mount


class _Mounts(msgspec.Struct, frozen=True):
    secret: dict[str, _Mount] = {}


class _MountsAnswer(msgspec.Struct, frozen=True):
    data: _Mounts


class _Rights(msgspec.Struct, frozen=True):
    data: dict[str, Any]


async def check_engine(use: Use, engine: str, version: int) -> None:
    """Whether a KV engine of that version is at that path. Raises NotFound with the engines that there are, NotReady."""
    about = f"read on sys/internal/ui/mounts/{engine}"
    try:
        mount = (await _asked(use, about, "get", ("sys/internal/ui/mounts", engine), _MountAnswer, _ABSENT)).data
    except NotFound as why:
        if why.code != "vault_engine_missing":
            raise
        shown = await _engines(use)
        raise NotFound(
            why.code,
            f"there is no secrets engine at {engine}, or the token has no rights in it",
            "set secretEngineName to one that there is" + (f": {', '.join(shown)}" if shown else ""),
            engines=shown,
        ) from None
    if mount.type not in _KV:
        raise NotReady(
            "vault_engine_other",
            f"the secrets engine at {engine} is no KV engine",
            "set secretEngineName to a KV engine; for transit use the kind VaultTransit",
        )
    if mount.version != version:
        raise NotReady(
            "vault_engine_other",
            f"the KV engine at {engine} is of version {mount.version}, and the connector says {version}",
            f"set secretEngineVersion to {mount.version}",
        )


async def check_rights(use: Use, needed: Mapping[str, tuple[str, ...]]) -> None:
    """Whether the token has those capabilities at those paths. Raises Denied with what is missing."""
    if not needed:
        return
    about = "update on sys/capabilities-self"
    answer = await _asked(use, about, "post", ("sys/capabilities-self",), _Rights, None, json={"paths": list(needed)})
    lacking = []
    for place, capabilities in needed.items():
        has = answer.data.get(place)
        if not isinstance(has, list):
            raise garbled(about)
        if missing := [one for one in capabilities if one not in has and "root" not in has]:
            lacking.append(f"{', '.join(missing)} on {place}")
    if lacking:
        raise Denied(
            "vault_denied",
            "the token lacks " + "; ".join(lacking),
            "allow it in a policy of the token: docs/secret-managers/vault.md has one",
            lacking=lacking,
        )


async def _engines(use: Use) -> list[str]:
    """The KV engines that the token sees, as far as they can be seen."""
    try:
        found = await _asked(use, "read on sys/internal/ui/mounts", "get", ("sys/internal/ui/mounts",), _MountsAnswer)
    except PrivySealError:
        return []
    named = {name.strip("/"): one.version for name, one in found.data.secret.items() if one.type in _KV}
    return [f"{name} (version {version})" for name, version in named.items() if _is_path(name)][:_MOST_SHOWN]


def _is_path(name: str) -> bool:
    """Whether a name that the server gives may stand in an error: nothing else of its words does."""
    try:
        return 0 < len(name) <= _LONGEST_SHOWN and bool(segments(name))
    except Malformed:
        return False


async def _asked(
    use: Use, about: str, method: str, parts: tuple[str, ...], form: Any, refusals: Refusals | None = None, **given: Any
) -> Any:
    def call(client: Client) -> Any:
        return getattr(client.adapter, method)(path(*parts), **given)

    return parsed(await use.ask(about, call, refusals), form, about)


_ABSENT: Refusals = {
    "preflight": Refusal(NotFound, "vault_engine_missing", "there is no secrets engine at {about}", ""),
    404: Refusal(NotFound, "vault_engine_missing", "there is no secrets engine at {about}", ""),
}
