"""What Azure's libraries send and take: nobody else's credentials, no proxy for a machine's own identity, no endless answer."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import pytest_asyncio
from azure.core.exceptions import ServiceRequestError
from azure.core.rest import HttpRequest

from delegate.credentials.azure import METADATA
from delegate.credentials.azure_http import LARGEST_ANSWER
from delegate.secret_managers.ownership import tags_of
from shared.crypto.plaintext import Plaintext
from shared.errors import NotFound, PrivySealError, Unavailable
from tests.fakes.azure import Stage
from tests.fakes.versions import whole
from tests.servers.azure import CLIENT, VAULT, Azure

MACHINE = {
    "useManagedIdentity": True,
    "azureManagedIdentityType": "SystemAssignedManagedIdentity",
    "delegateSelectors": ["zone:a"],
}


@pytest_asyncio.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr("delegate.tries.Tries.pause", lambda *_: 0.0)
    with Azure() as azure:
        monkeypatch.setenv("SSL_CERT_FILE", str(azure.authority))
        made = Stage(azure)
        yield made
        await made.close()


class Proxy(ThreadingHTTPServer):
    """Writes down what it is asked for, and refuses it."""

    def __init__(self) -> None:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 (the library's word)
                pass

            def _refused(self) -> None:
                asked.append(self.path)
                self.send_error(403)

            do_CONNECT = do_GET = do_POST = _refused  # noqa: N815 (the library's names)

        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = asked


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with Proxy() as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{one.server_address[1]}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        yield one
        one.shutdown()
        thread.join()


async def test_a_netrc_of_the_delegate_speaks_for_nobody(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    manager = stage.manager()
    stored = await manager.store(stage.version(), Plaintext(b"x"))
    assert (await manager.fetch(stage.version(), stored)).reveal() == b"x"


async def test_an_answer_without_an_end_is_not_read_to_it(stage: Stage) -> None:
    manager = stage.manager()
    stored = await manager.store(stage.version(), Plaintext(b"x"))
    endless = json.dumps({"value": "x" * (LARGEST_ANSWER + 1), "id": "hunter2"})
    stage.azure.fail("/secrets/", 200, json.loads(endless), times=3)
    with pytest.raises(Unavailable) as caught:
        await manager.fetch(stage.version(), stored)
    assert (caught.value.code, "too long" in caught.value.detail) == ("azure_garbled", True)
    assert (await manager.fetch(stage.version(), stored)).reveal() == b"x"


async def test_an_answer_that_is_packed_is_not_unpacked(stage: Stage) -> None:
    manager = stage.manager()
    stored = await manager.store(stage.version(), Plaintext(b"x"))
    stage.azure.fail("/secrets/", 200, {}, times=3, Content_Encoding="gzip")
    with pytest.raises(Unavailable) as caught:
        await manager.fetch(stage.version(), stored)
    assert (caught.value.code, "packed" in caught.value.detail) == ("azure_garbled", True)


async def test_the_vault_and_its_authority_are_asked_by_the_environments_proxy(stage: Stage, proxy: Proxy) -> None:
    with pytest.raises(PrivySealError):
        await stage.manager().check()
    assert set(proxy.asked) == {stage.azure.url.removeprefix("https://")}


async def test_a_proxy_is_never_asked_for_the_machines_own_identity(stage: Stage, proxy: Proxy) -> None:
    machine = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    url = f"http://127.0.0.1:{machine.server_address[1]}"
    machine.server_close()
    manager = stage.manager(stage.surroundings(endpoints=f"vault=https://127.0.0.1:1,identity={url}"), **MACHINE)
    transport = manager._store._calls._transport  # type: ignore[attr-defined]
    with pytest.raises(ServiceRequestError):
        await transport.send(HttpRequest("GET", f"{METADATA}/metadata/identity/oauth2/token"))
    assert proxy.asked == []


async def test_an_answer_about_another_deleted_secret_recovers_and_purges_nothing(stage: Stage) -> None:
    manager, secret = stage.manager(enablePurge=True), stage.version()
    stage.azure.vault.put("acme-0db", "theirs")
    deleted = stage.azure.vault
    assert deleted.answer(CLIENT, "DELETE", "/secrets/acme-0db", {"api-version": "7.6"}, {})[0] == 200
    other = {
        "id": f"https://{VAULT}.vault.azure.net/secrets/other/{'0' * 32}",
        "attributes": {},
        "tags": tags_of(secret),
    }
    for call in (manager.store(secret, Plaintext(b"ours")), manager.delete(whole(secret), None)):
        stage.azure.fail("/deletedsecrets/", 200, other, times=3, method="GET")
        with pytest.raises(Unavailable) as caught:
            await call
        assert caught.value.code == "azure_garbled"
        stage.azure.faults.clear()
    assert "acme-0db" in deleted.deleted


async def test_what_failed_before_a_call_is_not_taken_for_its_own_failure(stage: Stage) -> None:
    manager = stage.manager()
    stored = await manager.store(stage.version(), Plaintext(b"x"))
    stage.azure.vault.secrets.clear()
    try:
        raise Unavailable("earlier", "something else failed")
    except Unavailable:
        with pytest.raises(NotFound) as caught:
            await manager.fetch(stage.version(), stored)
    assert caught.value.code == "secret_not_found"
