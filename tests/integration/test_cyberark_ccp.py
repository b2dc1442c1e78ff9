"""The kind CyberArkCcp against a stand-in that follows the service's documentation: who asks, for what, and what goes wrong."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509

from delegate.policy import LocalPolicy
from delegate.secret_managers.cyberark_ccp import CyberArkCcp
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.zone import Zone
from shared.canonical import digest
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, Malformed, NotFound, NotReady, Overloaded, PrivySealError, Unavailable
from tests.fakes.authority import Authority
from tests.fakes.ccp import Account, Application, Ccp, Safe
from tests.fakes.world import World
from tests.servers.https import Https, Reply, Request, told

APP = "PrivySeal"
DB = "Databases/db1"
ACCOUNT = "/AIMWebService/api/Accounts"


@dataclass
class Stage:
    """One connector before one service; `clients` issues the certificates that TLS takes."""

    site: Https
    ccp: Ccp
    clients: Authority
    certificate: bytes = b""
    key: bytes = b""
    world: World = field(default_factory=World)
    opened: list[CyberArkCcp] = field(default_factory=list)

    def surroundings(self, policy: str = "", seconds: float = 15.0) -> Surroundings:
        zone = Zone(self.world.keyring, self.world.book())
        policy_of = LocalPolicy.parse(policy, ["CyberArkCcp"])
        return Surroundings(zone, policy_of, secrets.token_bytes, call_seconds=seconds)

    def manager(self, surroundings: Surroundings | None = None, **spec: Any) -> CyberArkCcp:
        base = {"url": self.site.url, "appId": APP, "caCertificate": self.site.trust}
        shown = {"clientCertificate": self.certificate.decode(), "clientKey": "account.ccpKey"}
        machine = {"delegateSelectors": ["here"]}
        connector = self.world.connector_document(
            "ccp",
            type="CyberArkCcp",
            spec={**base, **(shown if self.certificate else machine), **spec},
            secrets=("account.ccpKey",),
        )
        made = CyberArkCcp(connector, surroundings or self.surroundings(), {"account.ccpKey": Plaintext(self.key)})
        self.opened.append(made)
        return made

    def version(self, reference: str = DB, **document: Any) -> SecretVersion:
        connector = self.world.connector_document("ccp", type="CyberArkCcp")
        made = self.world.secret_document(
            "one", scope="org/acme", connector=connector.id, reference=reference, **document
        )
        place = self.world.place(self.world.sign(made, self.world.administrator), 1, digest(f"store {reference!a}"))
        return SecretVersion(made, connector, 1, place)

    async def read(self, manager: CyberArkCcp, reference: str = DB, **metadata: str) -> bytes:
        """Stored as a reference, and fetched."""
        secret = self.version(reference, metadata=metadata)
        return (await manager.fetch(secret, await manager.store(secret, Plaintext(b"")))).reveal()

    async def refused(self, manager: CyberArkCcp, reference: str = DB, **metadata: str) -> PrivySealError:
        with pytest.raises(PrivySealError) as caught:
            await self.read(manager, reference, **metadata)
        assert caught.value.hint and "hunter2" not in repr(caught.value.problem())
        return caught.value


@pytest.fixture
def ccp() -> Ccp:
    accounts = [
        Account("hunter2", "db1", UserName="svc", Address="db1.example.com", Database="orders", PolicyID="Oracle"),
        Account("hunter2 two", "db2", UserName="svc", Address="db2.example.com"),
        Account("hunter2 three", "db1", "Root\\OS\\Windows", UserName="win"),
        Account("hunter2 changing", "moving", changing=True),
        Account("", "empty"),
    ]
    safes = {"Databases": Safe({APP}, accounts), "Others": Safe({"Other"}, [Account("hunter2", "x")])}
    return Ccp(safes=safes)


@pytest_asyncio.fixture
async def stage(ccp: Ccp, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr("delegate.tries.Tries.pause", lambda *_: 0.0)
    clients = Authority("clients")
    with Https(ccp, clients=clients) as site:
        key, certificate = clients.issue()
        made = Stage(site, ccp, clients, certificate, key)
        ccp.applications[APP] = Application({x509.load_pem_x509_certificate(certificate).serial_number})
        ccp.applications["Other"] = Application({1})
        yield made
        for one in made.opened:
            await one.close()


async def test_a_password_is_read_by_safe_and_object(stage: Stage) -> None:
    manager = stage.manager()
    await manager.check()
    assert await stage.read(manager) == b"hunter2"
    asked = stage.site.requests[-1]
    assert (asked.path, asked.method) == (ACCOUNT, "GET")
    assert asked.query == {"AppID": APP, "Reason": "Privy Seal", "Safe": "Databases", "Object": "db1"}
    assert set(stage.ccp.reasons) == {"Privy Seal"}


@pytest.mark.parametrize(
    ("reference", "metadata", "value"),
    [
        ("Databases/Root/db1", {}, b"hunter2"),
        ("Databases/Root/OS/Windows/db1", {}, b"hunter2 three"),
        ("databases/DB2", {}, b"hunter2 two"),
        ("Databases", {"Address": "db1.example.com"}, b"hunter2"),
        ("Databases", {"UserName": "svc", "Database": "orders"}, b"hunter2"),
        ("Databases", {"PolicyID": "Oracle"}, b"hunter2"),
    ],
)
async def test_each_form_of_a_reference_finds_its_account(
    stage: Stage, reference: str, metadata: dict[str, str], value: bytes
) -> None:
    assert await stage.read(stage.manager(), reference, **metadata) == value


async def test_a_key_selects_a_property(stage: Stage) -> None:
    manager = stage.manager()
    assert await stage.read(manager, "Databases/db2#UserName") == b"svc"
    assert await stage.read(manager, "Databases/db2#Address") == b"db2.example.com"
    assert await stage.read(manager, "Databases/db2#Content") == b"hunter2 two"
    assert (await stage.refused(manager, "Databases/db2#Port")).code == "key_missing"


async def test_a_reason_and_another_web_service_are_sent_as_the_connector_says(stage: Stage, ccp: Ccp) -> None:
    ccp.name = "AIMWebServiceCert"
    assert await stage.read(stage.manager(webService=ccp.name, reason="Order 7"), "Databases/db2") == b"hunter2 two"
    assert set(ccp.reasons) == {"Order 7"}
    assert await stage.read(stage.manager(webService=ccp.name, reason=""), "Databases/db2") == b"hunter2 two"
    assert "Reason" not in stage.site.requests[-1].query


async def test_a_password_that_is_being_changed_comes_or_is_told_as_the_connector_says(stage: Stage) -> None:
    assert await stage.read(stage.manager(), "Databases/moving") == b"hunter2 changing"
    why = await stage.refused(stage.manager(failOnPasswordChange=True), "Databases/moving")
    assert isinstance(why, Unavailable) and why.code == "ccp_changing"


# ---- who asks


async def test_an_application_may_be_known_by_its_machine(stage: Stage, ccp: Ccp) -> None:
    stage.certificate = b""
    why = await stage.refused(stage.manager())
    assert isinstance(why, Denied) and why.code == "ccp_denied"
    ccp.applications[APP] = Application(machines={"127.0.0.1"})
    manager = stage.manager()
    await manager.check()
    assert await stage.read(manager, "Databases/db2") == b"hunter2 two"
    ccp.applications[APP] = Application(machines={"192.0.2.7"})
    assert (await stage.refused(stage.manager())).code == "ccp_denied"


async def test_another_certificate_of_the_same_authority_is_not_the_applications(stage: Stage) -> None:
    stage.key, stage.certificate = stage.clients.issue()
    for call in (stage.manager().check(), stage.read(stage.manager())):
        with pytest.raises(Denied) as caught:
            await call
        assert caught.value.code == "ccp_denied"


async def test_a_certificate_of_another_authority_ends_the_handshake(stage: Stage) -> None:
    stage.key, stage.certificate = Authority("strangers").issue()
    assert (await stage.refused(stage.manager())).code in {"ccp_untrusted", "ccp_cut"}
    assert stage.site.requests == []


async def test_a_key_that_is_not_the_certificates_is_told_without_repeating_it(stage: Stage) -> None:
    for key in (Authority().issue()[0], b"hunter2", b""):
        stage.key = key
        why = await stage.refused(stage.manager())
        assert isinstance(why, Malformed) and why.code == "client_certificate_malformed"
    assert stage.site.requests == []


async def test_an_application_that_the_vault_does_not_know_is_told(stage: Stage) -> None:
    with pytest.raises(Denied) as caught:
        await stage.manager(appId="Nobody").check()
    assert caught.value.code == "ccp_application_unknown"


# ---- what is asked for


async def test_what_is_not_there_or_not_to_be_seen_is_told(stage: Stage) -> None:
    manager = stage.manager()
    for reference in ("Databases/db9", "Nowhere/db1", "Others/x", "Databases/Elsewhere/db1"):
        why = await stage.refused(manager, reference)
        assert isinstance(why, NotFound) and why.code == "ccp_missing"
    assert (await stage.refused(manager, "Databases/empty")).code == "ccp_empty"


async def test_a_reference_that_several_accounts_answer_to_is_told(stage: Stage) -> None:
    why = await stage.refused(stage.manager(), "Databases", UserName="svc")
    assert isinstance(why, Malformed) and why.code == "ccp_ambiguous"


@pytest.mark.parametrize(
    "reference",
    [
        "Databases",
        "/db1",
        "Databases/",
        "Databases//db1",
        "Databases/ /db1",
        "Databases/../db1",
        "Databases/team/.. /others/db1",
        "Databases/team/ ../others/db1",
        "./db1",
        "Databases/db1;Safe=Others",
        "Databases&Safe=Others/x",
        "Data%2Fbases/db1",
        "Databases/a+b",
        "Databases/db\n1",
        "Databases\\Root/db1",
        "Databases/*",
        "Databases/d?1",
    ],
)
async def test_a_reference_that_could_ask_for_more_is_never_sent(stage: Stage, reference: str) -> None:
    assert (await stage.refused(stage.manager(), reference)).code == "path_malformed"
    assert stage.site.requests == []


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({"Safe": "Others"}, "metadata_unknown"),
        ({"Object": "x"}, "metadata_unknown"),
        ({"Query": "Safe=Others"}, "metadata_unknown"),
        ({"AppID": "Other"}, "metadata_unknown"),
        ({"username": "svc"}, "metadata_unknown"),
        ({"UserName": "hunter2;Safe=Others"}, "metadata_malformed"),
        ({"Address": "hunter2&Safe=Others"}, "metadata_malformed"),
        ({"Address": "hunter2\n"}, "metadata_malformed"),
        ({"Address": " "}, "metadata_malformed"),
    ],
)
async def test_metadata_that_could_ask_for_more_is_never_sent(
    stage: Stage, metadata: dict[str, str], code: str
) -> None:
    assert (await stage.refused(stage.manager(), "Databases", **metadata)).code == code
    assert stage.site.requests == []


@pytest.mark.parametrize("other", [{"Safe": "Others"}, {"Name": "db2"}, {"Folder": "Root\\OS"}])
async def test_an_answer_about_another_account_is_not_taken(stage: Stage, other: Mapping[str, str]) -> None:
    given = {"Content": "hunter2", "Safe": "Databases", "Folder": "Root", "Name": "db1", **other}
    stage.site.fail(ACCOUNT, told(200, given))
    why = await stage.refused(stage.manager(), "Databases/Root/db1")
    assert isinstance(why, Unavailable) and why.code == "ccp_garbled"


async def test_what_an_answer_does_not_say_of_the_account_is_no_reason_to_refuse_it(stage: Stage) -> None:
    stage.site.fail(ACCOUNT, told(200, {"Content": "hunter2", "PasswordChangeInProcess": False}), times=2)
    assert await stage.read(stage.manager()) == b"hunter2"


# ---- what goes wrong

CODES = [
    (400, "APPAP227E", Malformed, "ccp_ambiguous"),
    (400, "APPAP228E", Malformed, "ccp_ambiguous"),
    (400, "APPAP229E", Malformed, "ccp_ambiguous"),
    (400, "APPAP007E", Unavailable, "ccp_vault_unreachable"),
    (400, "APPAP081E", Malformed, "ccp_invalid"),
    (400, "CASVL010E", Malformed, "ccp_invalid"),
    (400, "AIMWS030E", Malformed, "ccp_invalid"),
    (400, "AIMWS031E", Malformed, "ccp_invalid"),
    (400, "APPXX999E", Malformed, "ccp_invalid"),
    (403, "APPAP306E", Denied, "ccp_denied"),
    (403, "APPAP008E", Denied, "ccp_application_unknown"),
    (403, "APPXX999E", Denied, "ccp_denied"),
    (404, "APPAP004E", NotFound, "ccp_missing"),
    (500, "APPAP282E", Unavailable, "ccp_changing"),
    (500, "APPXX999E", Unavailable, "ccp_unavailable"),
    (404, "", NotReady, "ccp_service_missing"),
    (401, "", Denied, "ccp_denied"),
    (418, "", Denied, "ccp_refused"),
    (429, "", Overloaded, "ccp_throttled"),
    (500, "", Unavailable, "ccp_unavailable"),
    (503, "", Unavailable, "ccp_unavailable"),
    (302, "", Denied, "ccp_redirected"),
]


@pytest.mark.parametrize(("status", "said", "kind", "code"), CODES)
async def test_each_code_of_the_service_is_told_as_what_it_means(
    stage: Stage, status: int, said: str, kind: type[PrivySealError], code: str
) -> None:
    body = json.dumps({"ErrorCode": said, "ErrorMsg": "hunter2"}).encode() if said else b"<html>hunter2</html>"
    stage.site.fail(ACCOUNT, Reply(status, body, {"Location": "https://hunter2.example"}), times=3)
    why = await stage.refused(stage.manager())
    assert (type(why), why.code) == (kind, code)
    assert len(stage.site.requests) == (3 if why.retryable else 1)


async def test_what_passes_is_not_noticed(stage: Stage) -> None:
    stage.site.fail(ACCOUNT, told(400, {"ErrorCode": "APPAP007E", "ErrorMsg": "x"}), times=2)
    assert await stage.read(stage.manager()) == b"hunter2"


@pytest.mark.parametrize("body", [b"", b"<html>hunter2</html>", b"[]", b"{}", b'{"Content": 5}', b"\xff", b"[" * 9999])
async def test_an_answer_of_another_form_is_told(stage: Stage, body: bytes) -> None:
    stage.site.fail(ACCOUNT, Reply(200, body))
    assert (await stage.refused(stage.manager())).code == "ccp_garbled"


async def test_an_answer_without_an_end_is_not_read_to_it(stage: Stage) -> None:
    stage.site.fail(ACCOUNT, told(200, {"Content": "x" * 2**20}))
    assert (await stage.refused(stage.manager())).code == "value_too_large"


async def test_who_never_answers_is_given_up(stage: Stage) -> None:
    stage.site.fail(ACCOUNT, Reply(hangs=True), times=3)
    assert (await stage.refused(stage.manager(stage.surroundings(seconds=0.2)))).code == "ccp_slow"


async def test_a_host_that_the_policy_forbids_is_not_called(stage: Stage) -> None:
    why = await stage.refused(stage.manager(stage.surroundings('hosts = ["ccp.example.com"]')))
    assert (why.code, stage.site.requests) == ("local_policy", [])


async def test_a_server_of_another_authority_is_not_asked(stage: Stage) -> None:
    why = await stage.refused(stage.manager(caCertificate=Authority("another").certificate.decode()))
    assert (why.code, stage.site.requests) == ("ccp_untrusted", [])


async def test_nothing_is_written_or_deleted(stage: Stage) -> None:
    manager = stage.manager()
    inline = stage.version("")
    with pytest.raises(Denied) as caught:
        await manager.store(inline, Plaintext(b"hunter2"))
    assert caught.value.code == "connector_read_only"
    with pytest.raises(Denied):
        await manager.delete(inline, None)
    await manager.delete(stage.version(), None)
    assert stage.site.requests == []


def test_the_stand_in_itself_refuses_what_the_service_does() -> None:
    ccp = Ccp(applications={APP: Application()})
    for query, code in (
        ({}, "AIMWS031E"),
        ({"AppID": APP}, "AIMWS030E"),
        ({"AppID": APP, "Safe": "a+b"}, "AIMWS030E"),
        ({"AppID": APP, "Sort": "x", "Safe": "s"}, "AIMWS030E"),
        ({"AppID": APP, "Safe": "s"}, "APPAP004E"),
    ):
        assert code in ccp.answer(Request("GET", ACCOUNT, query, {}, b"")).body.decode()
    assert ccp.answer(Request("POST", ACCOUNT, {}, {}, b"")).status == 405
