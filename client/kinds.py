"""The kinds whose connectors this client can describe: the built-in ones and those of the packages that are installed with it.

Promises: a package's code runs when its kind is used, and at no other time; a name that two packages claim is nobody's. A
package takes part by the entry-point group `privyseal.connectors`: the kind's name, and a `shared.connectors.model.Model`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.connectors.catalogue import Catalogue
from shared.errors import NotReady

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "privyseal.connectors"


@dataclass(frozen=True, slots=True)
class Installed:
    """The entry points of one name: one, or several that contradict each other."""

    points: tuple[EntryPoint, ...]

    @property
    def origin(self) -> str:
        """The packages with their versions."""
        told = (f"{one.dist.name} {one.dist.version}" if one.dist else "an unnamed package" for one in self.points)
        return " and ".join(sorted(told))

    def load(self) -> Any:
        """What stands there. Raises NotReady where several do."""
        if len(self.points) > 1:
            raise NotReady("kind_ambiguous", "several packages bring a kind of that name", "remove all but one")
        return self.points[0].load()


def installed_kinds() -> Catalogue:
    """The catalogue of what is installed, looked for when it is needed."""

    def found() -> dict[str, Installed]:
        # Late: whoever uses built-in kinds alone needn't wait for it.
        from importlib.metadata import entry_points

        points = entry_points(group=GROUP)
        return {name: Installed(tuple(points.select(name=name))) for name in points.names}

    return Catalogue(found)
