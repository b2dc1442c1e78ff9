"""What a connector takes of the template that it names."""

from __future__ import annotations

from typing import Any, cast

import pytest

from client.account import Account
from client.custom_managers import CustomManagers
from client.descriptions import Description, describe
from client.directory import Directory
from client.manifest import Manifest
from client.templates import Templates
from shared.connectors.catalogue import Catalogue
from shared.documents.template import TemplateDocument
from shared.errors import Malformed
from shared.names import Reference
from shared.selectors import MAXIMUM
from tests.fakes.world import World

WORLD = World()


def template(*selectors: str) -> TemplateDocument:
    content = {"shell": "Bash", "script": "secret=x", "selectors": selectors}
    return WORLD.template_document("reader", version="v1", content=content)


def connector(*selectors: str) -> Description:
    link = {"templateRef": "account.reader", "versionLabel": "v1"}
    spec = {"executeOnDelegate": True, "template": link, "delegateSelectors": list(selectors)}
    body = {"name": "store", "type": "CustomSecretManager", "spec": spec}
    return describe(Manifest("file.yaml", 7, "connector", body), Catalogue())


async def bound(description: Description, document: TemplateDocument) -> dict[str, Any]:
    # A template that is made together with its connector is looked up nowhere.
    nobody = cast(Any, None)
    managers = CustomManagers(cast(Account, nobody), cast(Directory, nobody), cast(Templates, nobody))
    planned = {(Reference.parse("account.reader", description.place.scope), "v1"): document}
    return await managers.bound(description, planned)


async def test_a_connector_has_its_own_selectors_and_those_of_its_template() -> None:
    found = await bound(connector("Zone:A", "linux"), template("linux", "region:eu"))
    assert found["selectors"] == ("linux", "region:eu", "zone:a")
    assert (await bound(connector(), template("linux")))["selectors"] == ("linux",)
    assert (await bound(connector("linux"), template()))["selectors"] == ("linux",)
    assert (await bound(connector(), template()))["selectors"] == ()


async def test_more_selectors_than_a_task_can_have_are_refused_together() -> None:
    half = MAXIMUM // 2 + 1
    own, of_template = ([f"{word}:{n}" for n in range(half)] for word in ("own", "template"))
    assert len((await bound(connector(*own), template(*own)))["selectors"]) == half
    with pytest.raises(Malformed, match="too many secrets or selectors"):
        await bound(connector(*own), template(*of_template))
