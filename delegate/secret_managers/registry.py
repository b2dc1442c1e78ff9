"""Finds the secret manager that a connector describes; its kind's code is imported when the first one names it.

Promises: a kind that the local policy doesn't allow is never imported; no installed package can take the place of a
built-in kind. Must not import a kind itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

import structlog

from delegate.policy import ANY
from delegate.secret_managers.interface import Kind, SecretManager, Surroundings
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.errors import Denied, NotReady

GROUP = "privyseal.secret_managers"
MOST_MANAGERS = 1_000
"""Connectors whose managers are kept, the last used ones."""


class Loadable(Protocol):
    """An entry point: something that gives a kind when asked."""

    def load(self) -> Any: ...


BUILT_IN: Mapping[str, EntryPoint] = {
    "Local": EntryPoint("Local", "delegate.secret_managers.local:Local", GROUP),
}

_log = structlog.get_logger()


def installed_kinds() -> dict[str, Loadable]:
    """Every kind that is installed, by its name, without importing any."""
    return {**{point.name: point for point in entry_points(group=GROUP)}, **BUILT_IN}


class Registry:
    """Secret managers by connector document."""

    def __init__(self, kinds: Mapping[str, Loadable], surroundings: Surroundings) -> None:
        self._installed = kinds
        self._surroundings = surroundings
        self._kinds: dict[str, Kind] = {}
        self._managers: OrderedDict[str, SecretManager] = OrderedDict()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Those that a connector may name here, sorted."""
        return tuple(sorted(name for name in self._installed if self._allows(name)))

    def manager(self, connector: Verified[ConnectorDocument]) -> SecretManager:
        """The manager of exactly this revision of a connector.

        Raises Denied for a kind that the local policy forbids, NotReady for one that isn't installed, Malformed.
        """
        known = self._managers.get(connector.digest)
        if known is not None:
            self._managers.move_to_end(connector.digest)
            return known
        made = self._kind(connector.document.type)(connector.document, self._surroundings)
        self._managers[connector.digest] = made
        if len(self._managers) > MOST_MANAGERS:
            self._managers.popitem(last=False)
        return made

    def _allows(self, kind: str) -> bool:
        return bool({kind, ANY} & self._surroundings.policy.kinds)

    def _kind(self, name: str) -> Kind:
        if not self._allows(name):
            raise Denied(
                "local_policy",
                f"the delegate's own policy doesn't allow the kind {name}",
                "allow it with the key kinds in the policy file of that delegate, or use another delegate",
                rule="kinds",
            )
        known = self._kinds.get(name)
        if known is not None:
            return known
        point = self._installed.get(name)
        if point is None:
            raise NotReady(
                "kind_unknown",
                f"this delegate knows no secret manager of the kind {name}; it knows {_listed(self.kinds)}",
                "install the package that brings it, or use another delegate",
            )
        try:
            loaded: Kind = point.load()
        except (ImportError, AttributeError) as error:
            _log.error("kind.unloadable", kind=name, exc_info=error)
            raise NotReady(
                "kind_unloadable",
                f"the code of the kind {name} can't be loaded on this delegate",
                "install what it needs: its traceback is in the delegate's log",
            ) from None
        self._kinds[name] = loaded
        return loaded


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
