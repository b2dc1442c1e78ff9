"""The catalogue of kinds: built-in names are nobody else's, and a package's model is loaded when its kind is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

from shared.connectors.catalogue import Catalogue, Loadable
from shared.connectors.fields import Forms, Refused
from shared.connectors.kinds import KINDS
from shared.connectors.local import LocalSettings
from shared.connectors.model import Model
from shared.documents.fields import SecretReference
from shared.errors import Malformed, NotReady


class ShelfSettings(Model, frozen=True, kw_only=True):
    """A package's model."""

    FORMS: ClassVar[Forms] = Forms(forms={"key": "the reference of a secret"})

    shelf: str
    key: SecretReference | None = None

    def __post_init__(self) -> None:
        if self.shelf == "forbidden":
            raise Refused("shelf", "this one is forbidden")
        if self.shelf == "broken":
            raise RuntimeError("hunter2 stands in the text of this error")


class Point:
    """An entry point that counts."""

    origin = "privyseal-shelf 1.2"

    def __init__(self, give: Callable[[], Any]) -> None:
        self._give = give
        self.loads = 0

    def load(self) -> Any:
        self.loads += 1
        return self._give()


def shelf() -> Point:
    return Point(lambda: ShelfSettings)


def failing(error: BaseException) -> Callable[[], Any]:
    def give() -> Any:
        raise error

    return give


def catalogue(**points: Loadable) -> Catalogue:
    return Catalogue(lambda: points)


def refused(kinds: Catalogue, kind: str, spec: Mapping[str, Any] | None = None) -> Malformed:
    with pytest.raises(Malformed) as caught:
        kinds.settings(kind, spec or {})
    assert "hunter2" not in repr(caught.value) + caught.value.detail + caught.value.hint
    return caught.value


def test_without_packages_the_built_in_kinds_are_known() -> None:
    assert Catalogue().names == tuple(sorted(KINDS))
    assert Catalogue().settings("Local", {}) == LocalSettings()


def test_a_packages_model_is_loaded_once_and_when_its_kind_is_used() -> None:
    point = shelf()
    kinds = catalogue(Shelf=point)
    assert kinds.names == tuple(sorted({*KINDS, "Shelf"}))
    kinds.settings("Local", {})
    assert point.loads == 0
    made = kinds.settings("Shelf", {"shelf": "upper", "key": "account.key"})
    assert isinstance(made, ShelfSettings)
    assert (made.shelf, made.references(), kinds.model("Shelf")) == ("upper", ("account.key",), ShelfSettings)
    assert point.loads == 1


def test_nothing_is_looked_for_as_long_as_only_built_in_kinds_are_used() -> None:
    def never() -> Mapping[str, Loadable]:
        raise AssertionError

    assert isinstance(Catalogue(never).settings("Local", {}), LocalSettings)


def test_no_package_takes_the_name_of_a_built_in_kind() -> None:
    point = shelf()
    kinds = catalogue(Local=point)
    assert kinds.names == tuple(sorted(KINDS))
    assert isinstance(kinds.settings("Local", {}), LocalSettings)
    assert point.loads == 0


def test_an_unknown_kind_is_told_with_those_that_are_known() -> None:
    why = refused(catalogue(Shelf=shelf()), "Drawer")
    assert (why.code, why.facts["path"]) == ("kind_unknown", "type")
    assert why.facts["allowed"] == sorted({*KINDS, "Shelf"})
    assert "Shelf" in why.hint and "package" in why.hint


def test_wrong_settings_are_told_by_path_and_never_by_value() -> None:
    kinds = catalogue(Shelf=shelf())
    assert refused(kinds, "Shelf", {"shelf": "hunter2", "key": "hunter 2"}).facts["path"] == "spec.key"
    assert (
        refused(kinds, "Shelf", {"shelf": "forbidden"}).detail
        == "spec.shelf of the Shelf connector: this one is forbidden"
    )


@pytest.mark.parametrize(
    ("give", "why"),
    [
        (failing(ModuleNotFoundError("hunter2", name="shelving")), "the module shelving is missing"),
        (failing(ImportError("hunter2")), "it fails with ImportError"),
        (failing(RuntimeError("hunter2")), "it fails with RuntimeError"),
        (failing(SystemExit("hunter2")), "it fails with SystemExit"),
        (failing(NotReady("kind_ambiguous", "two packages bring it")), "two packages bring it"),
        (lambda: "hunter2", "what it names is no shared.connectors.model.Model"),
        (lambda: Model, "what it names is no shared.connectors.model.Model"),
        (lambda: dict, "what it names is no shared.connectors.model.Model"),
    ],
)
def test_a_model_that_can_not_be_loaded_names_its_package_and_harms_no_other_kind(
    give: Callable[[], Any], why: str
) -> None:
    kinds = catalogue(Broken=Point(give), Shelf=shelf())
    told = refused(kinds, "Broken")
    assert (told.code, told.facts["path"]) == ("kind_unloadable", "type")
    assert why in told.detail and "Broken" in told.detail
    assert "privyseal-shelf 1.2" in told.hint
    assert kinds.settings("Shelf", {"shelf": "upper"})


def test_a_model_that_fails_at_some_settings_is_told_without_the_text_of_its_error() -> None:
    why = refused(catalogue(Shelf=shelf()), "Shelf", {"shelf": "broken"})
    assert why.code == "kind_unloadable"
    assert "RuntimeError" in why.detail


def test_a_fault_of_a_built_in_model_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Faulty(Model, frozen=True, kw_only=True):
        def __post_init__(self) -> None:
            raise RuntimeError

    monkeypatch.setitem(KINDS, "Local", Faulty)
    with pytest.raises(RuntimeError):
        Catalogue().settings("Local", {})
