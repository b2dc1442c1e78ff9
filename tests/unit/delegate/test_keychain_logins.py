"""SSHKeys and templates in a task: what each connector is handed of them, and when that is made anew."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from delegate.keychain import Keychain, fetched
from delegate.secret_managers.interface import SecretManager, Surroundings
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import CUSTOM, ConnectorDocument
from shared.documents.jws import Verified
from shared.documents.secret import SecretDocument
from shared.documents.task import TaskDocument
from shared.documents.template import TemplateDocument
from shared.errors import NotFound, PrivySealError
from shared.ssh import unpack
from shared.trust.warrant import Warrant, warrant
from tests.unit.delegate.test_keychain import House

SPEC: dict[str, Any] = {
    "auth": {
        "type": "SSH",
        "spec": {"credentialType": "KeyReference", "spec": {"userName": "deploy", "key": "account.pem"}},
    }
}
PEM = b"-----BEGIN OPENSSH PRIVATE KEY-----"


class Lodge(House):
    """A custom secret manager whose template is run on a host that an SSHKey logs in at."""

    def __init__(self) -> None:
        super().__init__('kinds = ["*"]\nscripts = true')
        self.made: list[tuple[TemplateDocument | None, dict[str, bytes]]] = []
        # The registry has the very mapping that tells the kinds.
        installed: Any = self.registry._installed
        installed[CUSTOM] = _Kind(self)
        self.login: Verified[SecretDocument]
        self.connector: Verified[ConnectorDocument]

    async def built(self) -> None:
        self.pem = await self.store("pem", PEM)
        self.login = self.world.login("login", ["account.pem"], spec=SPEC)
        self.template = self.world.template("reader")
        self.connector = self.world.custom("custom", self.template, ["account.login"])

    def judged(self, task: Verified[TaskDocument]) -> Warrant:
        for compact in self.world.documents[self.known :]:
            self.book.admit(compact, self.world.now)
        self.known = len(self.world.documents)
        return warrant(self.book, task, self.world.now)

    @asynccontextmanager
    async def keychain(self, task: Verified[TaskDocument]) -> AsyncIterator[tuple[Warrant, Keychain]]:
        granted = self.judged(task)
        records = [self.records.get((one.secret or "", one.n), b"") for one in granted.task.document.credentials]
        async with AsyncExitStack() as stack:
            yield granted, Keychain(granted, records, self.registry, stack)

    async def handed(self) -> tuple[TemplateDocument | None, dict[str, bytes]]:
        """What the connector's manager was made of, asked for by a fetch through it."""
        async with self.keychain(self.world.fetch(self.connector, "{}")) as (granted, keychain):
            (use,) = granted.uses
            manager = await keychain.manager(use.connector)
            if isinstance(manager, PrivySealError):
                raise manager
        return self.made[-1]


class _Kind:
    """A kind that writes down what it was made of."""

    def __init__(self, lodge: Lodge) -> None:
        self._lodge = lodge

    def load(self) -> Any:
        def kind(
            connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
        ) -> SecretManager:
            self._lodge.made.append((surroundings.template, {name: one.reveal() for name, one in secrets.items()}))
            return self._lodge.load()(connector, surroundings, secrets)  # type: ignore[operator,no-any-return]

        return kind


@pytest.fixture
async def lodge() -> Lodge:
    made = Lodge()
    await made.built()
    return made


async def test_a_connector_gets_its_template_and_its_login_with_the_values_that_it_names(lodge: Lodge) -> None:
    template, secrets = await lodge.handed()
    assert template == lodge.template.document
    assert list(secrets) == ["account.login"]
    bundle = unpack(secrets["account.login"])
    assert bundle.values == {"account.pem": PEM}
    assert bundle.spec.credential.user_name == "deploy"


async def test_other_kinds_see_no_template(lodge: Lodge) -> None:
    await lodge.store("token", b"x", lodge.world.connector_with("plain", [], type="Shelf"))
    assert lodge.registry.surroundings.template is None


async def test_what_was_made_of_a_login_is_used_again_and_made_anew_when_it_changes(lodge: Lodge) -> None:
    await lodge.handed()
    await lodge.handed()
    assert len(lodge.made) == 1
    lodge.world.revise(lodge.login, spec={**SPEC, "port": 2222})
    _, secrets = await lodge.handed()
    assert unpack(secrets["account.login"]).spec.port == 2222
    await lodge.store("pem", b"rotated", after=lodge.pem)
    _, secrets = await lodge.handed()
    assert unpack(secrets["account.login"]).values == {"account.pem": b"rotated"}
    assert len(lodge.made) == 3


async def test_a_login_whose_value_is_gone_says_whose_it_is(lodge: Lodge) -> None:
    lodge.records.clear()
    with pytest.raises(NotFound) as told:
        await lodge.handed()
    assert "the credential account.pem of the SSHKey login can't be had" in told.value.detail


async def test_a_check_of_a_login_makes_no_manager(lodge: Lodge) -> None:
    async with lodge.keychain(lodge.world.check_login(lodge.login, "db.example.com")) as (granted, keychain):
        (use,) = granted.uses
        assert use.target.reference == "db.example.com"
        assert granted.connectors == (lodge.world.connector,)
        assert granted.kinds == {CUSTOM, "Local"}
        assert unpack((await keychain.login(use)).reveal()).values == {"account.pem": PEM}
    assert lodge.made == []


async def test_what_is_fetched_directly_has_no_record_and_the_tasks_own_id(lodge: Lodge) -> None:
    shelf = lodge.world.connector_with("shelf", [], type="Shelf")
    task = lodge.world.fetch(shelf, "a/b#key", metadata={"version": "3"})
    async with lodge.keychain(task) as (granted, keychain):
        (use,) = granted.uses
        version = fetched(task.document, use)
        manager = await keychain.manager(use.connector)
    assert not isinstance(manager, PrivySealError)
    assert (version.secret.id, version.secret.reference, version.secret.metadata) == (
        task.document.jti,
        "a/b#key",
        {"version": "3"},
    )
    assert (version.n, version.connector) == (0, shelf.document)
