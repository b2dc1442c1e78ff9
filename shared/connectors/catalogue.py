"""The kinds that a program can read connectors of: the built-in ones, and those of packages that the program has found.

Promises: a built-in name is the built-in model's, whoever else claims it; a package's model is loaded when its kind is used,
and what is wrong with it concerns no other kind. Pure: the program hands over what is installed. Must not be needed by the
manager, which reads no settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from shared.connectors.kinds import KINDS
from shared.connectors.model import Model, convert
from shared.errors import Malformed, PrivySealError


class Loadable(Protocol):
    """A model that is installed; `origin` says by which package, for whoever has to do something about it."""

    @property
    def origin(self) -> str: ...

    def load(self) -> Any:
        """Whatever stands there. Raises whatever it raises."""


class Catalogue:
    """Models by the `type` of their YAML. `installed` is asked once, when something else than a built-in kind is meant."""

    def __init__(self, installed: Callable[[], Mapping[str, Loadable]] = dict) -> None:
        self._installed = installed
        self._found: Mapping[str, Loadable] | None = None
        self._models: dict[str, type[Model]] = dict(KINDS)

    @property
    def names(self) -> tuple[str, ...]:
        """Every kind, sorted."""
        return tuple(sorted({*KINDS, *self._others()}))

    def model(self, kind: str) -> type[Model]:
        """The model of a kind. Raises Malformed: kind_unknown, kind_unloadable."""
        known = self._models.get(kind)
        if known is not None:
            return known
        point = self._others().get(kind)
        if point is None:
            names = list(self.names)
            raise Malformed(
                "kind_unknown",
                "type: the connector's type is not a known kind",
                f"known are: {_listed(names)}; another one comes with its package, which this program needs too",
                path="type",
                allowed=names,
            )
        self._models[kind] = found = _loaded(kind, point)
        return found

    def settings(self, kind: str, spec: Mapping[str, Any]) -> Model:
        """The settings of a connector of that kind. Raises Malformed as `model`, and connector_malformed with its path."""
        model = self.model(kind)
        try:
            return convert(model, spec, kind)
        except PrivySealError:
            raise
        except Exception as error:
            if kind in KINDS:
                raise
            # A package's model may raise anything.
            why = f"its model fails with {type(error).__name__} at these settings"
            raise _unfit(kind, self._others()[kind].origin, why) from None

    def _others(self) -> Mapping[str, Loadable]:
        if self._found is None:
            self._found = {name: one for name, one in self._installed().items() if name not in KINDS}
        return self._found


def _loaded(kind: str, point: Loadable) -> type[Model]:
    try:
        found = point.load()
    except PrivySealError as error:
        raise _unfit(kind, point.origin, error.detail) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 (the code of a package may raise anything)
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        why = f"the module {missing} is missing" if missing else f"it fails with {type(error).__name__}"
        raise _unfit(kind, point.origin, why) from None
    if not isinstance(found, type) or not issubclass(found, Model) or found is Model:
        raise _unfit(kind, point.origin, "what it names is no shared.connectors.model.Model")
    return found


def _unfit(kind: str, origin: str, why: str) -> Malformed:
    return Malformed(
        "kind_unloadable",
        f"type: the settings of the kind {kind} can't be read here: {why}",
        f"the kind comes from {origin}: install what it needs, or another version of it",
        path="type",
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
