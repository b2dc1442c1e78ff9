"""The kind CyberArkConjur against a stand-in that follows Conjur's own routes: logins, reads alone and together, what goes wrong."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from delegate.clock import Clock
from delegate.policy import LocalPolicy
from delegate.secret_managers.cyberark_conjur import TOGETHER, CyberArkConjur
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.tokens import Tokens
from delegate.zone import Zone
from shared import oidc
from shared.canonical import digest
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, Malformed, NotFound, NotReady, Overloaded, PrivySealError, Unavailable
from tests.fakes.authority import Authority
from tests.fakes.closing import StandingClock
from tests.fakes.conjur import Authenticator, Conjur, Host
from tests.fakes.issuers import ISSUER, speak
from tests.fakes.world import World
from tests.servers.https import Https, Reply, told

HOST = "host/apps/privyseal"
KEY = "3hunter2w5x7y9z1a3b5c7d9e1f3g5h7i9j1k3l5m7n9o1p3q5r7s9t1u"
LOGIN = {"type": "ApiKey", "spec": {"login": HOST, "apiKey": "account.conjurKey"}}
DB = "prod/aws/db-password"


@dataclass
class Stage:
    """One connector before one Conjur."""

    site: Https
    conjur: Conjur
    world: World = field(default_factory=World)
    key: str = KEY
    clock: StandingClock = field(default_factory=StandingClock)
    opened: list[CyberArkConjur] = field(default_factory=list)

    def surroundings(self, policy: str = "", seconds: float = 15.0, tokens: bool = True) -> Surroundings:
        zone = Zone(self.world.keyring, self.world.book())
        return Surroundings(
            zone,
            LocalPolicy.parse(policy, ["CyberArkConjur"]),
            secrets.token_bytes,
            clock=self.clock,
            tokens=Tokens(zone, Clock(), secrets.token_bytes) if tokens else None,
            call_seconds=seconds,
        )

    def manager(self, surroundings: Surroundings | None = None, **spec: Any) -> CyberArkConjur:
        base = {"url": self.site.url + self.conjur.base, "account": "acme", "caCertificate": self.site.trust}
        connector = self.world.connector_document(
            "conjur", type="CyberArkConjur", spec={**base, "credential": LOGIN, **spec}, secrets=("account.conjurKey",)
        )
        held = {"account.conjurKey": Plaintext(self.key.encode())}
        made = CyberArkConjur(connector, surroundings or self.surroundings(), held)
        self.opened.append(made)
        return made

    def version(self, reference: str = DB, **document: Any) -> SecretVersion:
        connector = self.world.connector_document("conjur", type="CyberArkConjur")
        made = self.world.secret_document(
            "one", scope="org/acme", connector=connector.id, reference=reference, **document
        )
        place = self.world.place(self.world.sign(made, self.world.administrator), 1, digest(f"store {reference!a}"))
        return SecretVersion(made, connector, 1, place)

    async def read(self, manager: CyberArkConjur, reference: str = DB, **metadata: str) -> bytes:
        """Stored as a reference, and fetched."""
        secret = self.version(reference, metadata=metadata)
        return (await manager.fetch(secret, await manager.store(secret, Plaintext(b"")))).reveal()

    async def refused(self, manager: CyberArkConjur, reference: str = DB, **metadata: str) -> PrivySealError:
        with pytest.raises(PrivySealError) as caught:
            await self.read(manager, reference, **metadata)
        assert caught.value.hint and "hunter2" not in repr(caught.value.problem())
        return caught.value


@pytest.fixture
def conjur() -> Conjur:
    made = Conjur("acme", hosts={HOST: Host(KEY)})
    made.variables[DB] = [b"hunter2 one", b"hunter2"]
    made.permit(HOST, DB)
    return made


@pytest_asyncio.fixture
async def stage(conjur: Conjur, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr("delegate.tries.Tries.pause", lambda *_: 0.0)
    with Https(conjur) as site:
        made = Stage(site, conjur)
        yield made
        for one in made.opened:
            await one.close()


async def test_a_variable_is_read_by_its_id(stage: Stage) -> None:
    manager = stage.manager()
    await manager.check()
    assert await stage.read(manager) == b"hunter2"
    (login,) = stage.site.calls("/authn/")
    assert (login.path, login.body) == ("/authn/acme/host%2Fapps%2Fprivyseal/authenticate", KEY.encode())
    asked = stage.site.calls("/secrets/")[0]
    assert asked.path == "/secrets/acme/variable/prod%2Faws%2Fdb-password"
    assert KEY not in str([one for one in stage.site.requests if one is not login])


async def test_a_base_path_goes_before_every_route(stage: Stage, conjur: Conjur) -> None:
    conjur.base = "/api"
    manager = stage.manager()
    await manager.check()
    assert await stage.read(manager) == b"hunter2"
    assert all(one.path.startswith("/api/") for one in stage.site.requests)


async def test_a_key_selects_from_json_and_bytes_come_as_they_are(stage: Stage, conjur: Conjur) -> None:
    conjur.variables |= {"j": [b'{"a": {"b": "hunter2"}, "n": 10000000000000000000000}'], "b": [bytes(range(256))]}
    conjur.permit(HOST, "j", "b")
    manager = stage.manager()
    assert await stage.read(manager, "j#a.b") == b"hunter2"
    assert await stage.read(manager, "j#n") == b"10000000000000000000000"
    assert await stage.read(manager, "b") == bytes(range(256))
    assert (await stage.refused(manager, "j#c")).code == "key_missing"


async def test_a_version_that_is_named_is_the_one_that_comes(stage: Stage, conjur: Conjur) -> None:
    manager = stage.manager()
    assert await stage.read(manager, version="1") == b"hunter2 one"
    assert await stage.read(manager, version="latest") == b"hunter2"
    conjur.variables[DB].append(b"hunter2 three")
    assert await stage.read(manager, version="1") == b"hunter2 one"
    assert await stage.read(manager) == b"hunter2 three"
    conjur.variables[DB] += [b"x"] * 20
    assert isinstance(await stage.refused(manager, version="1"), NotFound)
    assert (await stage.refused(manager, version="99")).code == "conjur_missing"


@pytest.mark.parametrize("version", ["0", "-1", "1.0", "²", "hunter2", "99999999999"])
async def test_a_version_that_cannot_be_is_refused_before_conjur_is_asked(stage: Stage, version: str) -> None:
    assert (await stage.refused(stage.manager(), version=version)).code == "version_malformed"
    assert stage.site.requests == []


async def test_metadata_that_means_nothing_is_refused(stage: Stage) -> None:
    assert (await stage.refused(stage.manager(), region="x")).code == "metadata_unknown"


@pytest.mark.parametrize("name", ["/a", "a/", "a//b", "../a", "a/../../whoami", "a/.", "a\nb", "a\x00"])
async def test_an_id_that_could_lead_elsewhere_is_never_sent(stage: Stage, name: str) -> None:
    assert isinstance(await stage.refused(stage.manager(), name), Malformed)
    assert stage.site.requests == []


@pytest.mark.parametrize(
    "name", ["a?version=1", "a&b=c", "a%2Fb", "a b", "ä", "a+b", "a,b", "a:b", "alice@devops", "[a]"]
)
async def test_every_other_id_reaches_conjur_as_it_is_alone_and_among_others(
    stage: Stage, conjur: Conjur, name: str
) -> None:
    conjur.variables |= {name: [b"its"], "a/b": [b"another"], "a": [b"a third"]}
    conjur.permit(HOST, name, "a/b", "a")
    manager = stage.manager()
    assert await stage.read(manager, name) == b"its"
    found = await asyncio.gather(*(stage.read(manager, one) for one in (name, "a/b", "a")))
    assert found == [b"its", b"another", b"a third"]


# ---- together


def many(conjur: Conjur, count: int) -> list[str]:
    names = [f"app/{number}" for number in range(count)]
    conjur.variables |= {name: [f"value of {name}".encode()] for name in names}
    conjur.permit(HOST, *names)
    return names


async def fetched(stage: Stage, manager: CyberArkConjur, names: list[str]) -> list[bytes | BaseException]:
    """What each of them has, or its error, asked for at one moment."""
    found = await asyncio.gather(*(stage.read(manager, name) for name in names), return_exceptions=True)
    assert all("value of" not in repr(one) for one in found if isinstance(one, BaseException))
    return found


async def test_reads_of_one_moment_are_one_call(stage: Stage, conjur: Conjur) -> None:
    names, manager = many(conjur, 20), stage.manager()
    assert await fetched(stage, manager, names) == [f"value of {name}".encode() for name in names]
    # Each was stored, which reads too, and then fetched.
    assert (len(stage.site.calls("/secrets")), conjur.logins) == (2, 1)


async def test_what_is_asked_for_twice_at_one_moment_is_asked_for_once(stage: Stage) -> None:
    manager = stage.manager()
    secret = stage.version()
    stored = await manager.store(secret, Plaintext(b""))
    found = await asyncio.gather(*(manager.fetch(secret, stored) for _ in range(10)))
    assert [one.reveal() for one in found] == [b"hunter2"] * 10
    assert len(stage.site.calls("/secrets")) == 2


async def test_more_than_fit_are_several_calls(stage: Stage, conjur: Conjur) -> None:
    manager, names = stage.manager(), many(conjur, TOGETHER + 1)
    assert await fetched(stage, manager, names) == [f"value of {name}".encode() for name in names]
    assert len(stage.site.calls("/secrets")) == 4
    longest = ["l" * 990 + str(number) for number in range(8)]
    conjur.variables |= {name: [b"x"] for name in longest}
    conjur.permit(HOST, *longest)
    assert await fetched(stage, manager, longest) == [b"x"] * 8
    assert all(len(one.path) + len(one.raw_query) < 8_000 for one in stage.site.requests)


async def test_what_one_of_them_lacks_is_that_ones_error_alone(stage: Stage, conjur: Conjur) -> None:
    names, manager = many(conjur, 4), stage.manager()
    conjur.permitted.discard((HOST, "app/1"))
    del conjur.variables["app/2"]
    conjur.variables["app/3"] = ["hünter".encode()]
    conjur.visible.discard((HOST, DB))
    first, second, third, fourth, fifth = await fetched(stage, manager, [*names, DB])
    assert (first, fourth) == (b"value of app/0", "hünter".encode())
    for error, kind, code in ((second, Denied, "conjur_denied"), (third, NotFound, "conjur_missing")):
        assert isinstance(error, kind) and error.code == code
    assert isinstance(fifth, NotFound) and fifth.code == "conjur_missing"


async def test_an_answer_without_one_of_them_is_no_answer(stage: Stage, conjur: Conjur) -> None:
    names, manager = many(conjur, 2), stage.manager()
    await manager.check()
    stage.site.fail("/secrets", told(200, {"acme:variable:app/0": "value of", "other:variable:app/1": "value of"}))
    for one in await fetched(stage, manager, names):
        assert isinstance(one, Unavailable) and one.code == "conjur_garbled"


async def test_who_leaves_does_not_end_the_call_of_the_others(stage: Stage, conjur: Conjur) -> None:
    names, manager = many(conjur, 2), stage.manager()
    staying, leaving = (asyncio.create_task(stage.read(manager, name)) for name in names)
    while not stage.site.calls("/authn"):
        await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == b"value of app/0"
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_a_close_ends_what_is_under_way(stage: Stage) -> None:
    manager = stage.manager()
    stage.site.fail("/authn", Reply(hangs=True))
    reading = asyncio.create_task(stage.read(manager))
    while not stage.site.calls("/authn"):
        await asyncio.sleep(0)
    await manager.close()
    with pytest.raises(asyncio.CancelledError):
        await reading


# ---- who asks


async def test_many_uses_at_once_log_in_once(stage: Stage) -> None:
    manager = stage.manager()
    await asyncio.gather(*(manager.check() for _ in range(20)))
    assert stage.conjur.logins == 1


@pytest.mark.parametrize("tell_end", [True, False])
async def test_a_token_is_replaced_shortly_before_its_end(stage: Stage, conjur: Conjur, tell_end: bool) -> None:
    conjur.tell_end, began = tell_end, stage.clock.at
    manager = stage.manager()
    for at, logins in ((0, 1), (350, 1), (361, 2), (700, 2), (722, 3)):
        stage.clock.at = began + at
        await manager.check()
        assert conjur.logins == logins


async def test_a_token_that_lives_shorter_is_replaced_earlier(stage: Stage, conjur: Conjur) -> None:
    conjur.lifetime = 60
    manager = stage.manager()
    await manager.check()
    stage.clock.at += 46
    await manager.check()
    assert conjur.logins == 2


async def test_a_token_that_conjur_no_longer_takes_is_replaced_once_and_unnoticed(stage: Stage, conjur: Conjur) -> None:
    manager = stage.manager()
    await manager.check()
    conjur.end_tokens()
    found = await asyncio.gather(*(stage.read(manager, DB) for _ in range(5)), manager.check())
    assert found[:5] == [b"hunter2"] * 5
    assert conjur.logins == 2


async def test_a_conjur_that_never_takes_its_own_token_is_told(stage: Stage) -> None:
    stage.site.fail("/secrets", Reply(401), times=2)
    manager = stage.manager()
    await manager.check()
    why = await stage.refused(manager)
    assert isinstance(why, Denied) and why.code == "conjur_unauthenticated"
    assert stage.conjur.logins == 2


async def test_a_wrong_key_is_told_with_its_remedy(stage: Stage) -> None:
    stage.key = "hunter2" * 8
    why = await stage.refused(stage.manager())
    assert isinstance(why, Denied) and why.code == "conjur_login_refused"
    assert "authn/acme/host%2Fapps%2Fprivyseal" in why.detail


@pytest.mark.parametrize("key", ["", "hunter2 hunter2", "hunter2\r\nX: y", "hünter2", "hunter2" * 1000])
def test_a_key_that_is_none_is_refused_before_it_is_sent(conjur: Conjur, key: str) -> None:
    stage = Stage(Https(conjur), conjur, key=key)
    with pytest.raises(Malformed) as caught:
        stage.manager()
    assert caught.value.code == "credential_malformed"
    assert "hunter2" not in repr(caught.value.problem())
    stage.site._server.server_close()


async def test_line_ends_around_a_key_are_not_part_of_it(stage: Stage) -> None:
    stage.key = f"{KEY}\r\n"
    await stage.manager().check()


@pytest.fixture
def issuer(stage: Stage, conjur: Conjur) -> Authenticator:
    document = speak(stage.world)
    made = Authenticator(ISSUER, oidc.key_set(document.document), "conjur", users={HOST})
    conjur.authenticators["privyseal"] = made
    subject = f"account/{stage.world.id}:connector/conjur"
    conjur.hosts[HOST] = Host(annotations={"privyseal": {"sub": subject}})
    conjur.hosts["host/apps/conjur"] = Host(annotations={"privyseal": {"sub": subject}})
    return made


def jwt(**spec: str) -> dict[str, Any]:
    return {"credential": {"type": "Jwt", "spec": {"serviceId": "privyseal", **spec}}}


@pytest.mark.parametrize("host", [HOST, "apps/privyseal"])
async def test_an_id_token_of_the_keyring_logs_in_as_a_named_host(
    stage: Stage, issuer: Authenticator, host: str
) -> None:
    manager = stage.manager(**jwt(hostId=host))
    await manager.check()
    assert await stage.read(manager) == b"hunter2"
    assert stage.site.requests[0].path == "/authn-jwt/privyseal/acme/host%2Fapps%2Fprivyseal/authenticate"


async def test_an_id_token_says_itself_which_host_it_is(stage: Stage, issuer: Authenticator, conjur: Conjur) -> None:
    issuer.host_claim, issuer.identity_path = "connector_id", "apps"
    issuer.users.add("host/apps/conjur")
    conjur.permit("host/apps/conjur", DB)
    assert await stage.read(stage.manager(**jwt())) == b"hunter2"
    assert stage.site.requests[0].path == "/authn-jwt/privyseal/acme/authenticate"


async def test_an_authenticator_that_does_not_trust_the_issuer_or_the_subject_is_told(
    stage: Stage, issuer: Authenticator, conjur: Conjur
) -> None:
    async def code(**spec: str) -> str:
        return (await stage.refused(stage.manager(**jwt(hostId=HOST, **spec)))).code

    assert await code(audience="elsewhere") == "conjur_login_refused"
    assert await code(serviceId="another") == "conjur_login_refused"
    issuer.users.clear()
    assert await code() == "conjur_login_refused"
    issuer.users.add(HOST)
    conjur.hosts[HOST].annotations["privyseal"] = {"sub": f"account/{stage.world.id}:connector/another"}
    assert await code() == "conjur_login_refused"
    issuer.keys = {"keys": []}
    assert await code() == "conjur_login_refused"


async def test_a_delegate_without_an_issuer_says_so(stage: Stage) -> None:
    for surroundings in (stage.surroundings(), stage.surroundings(tokens=False)):
        why = await stage.refused(stage.manager(surroundings, **jwt()))
        assert isinstance(why, NotReady) and why.code == "oidc_unconfigured"
    assert stage.site.requests == []


# ---- what goes wrong


async def test_a_check_looks_whether_it_is_the_account_that_was_meant(stage: Stage) -> None:
    stage.site.fail("/whoami", told(200, {"account": "other", "username": "hunter2"}))
    with pytest.raises(Unavailable) as caught:
        await stage.manager().check()
    assert caught.value.code == "conjur_garbled"


REFUSALS = [
    (400, Malformed, "conjur_invalid"),
    (403, Denied, "conjur_denied"),
    (404, NotFound, "conjur_missing"),
    (418, Denied, "conjur_refused"),
    (422, Malformed, "conjur_invalid"),
    (429, Overloaded, "conjur_throttled"),
    (500, Unavailable, "conjur_unavailable"),
    (503, Unavailable, "conjur_unavailable"),
    (302, Denied, "conjur_redirected"),
]


@pytest.mark.parametrize(("status", "kind", "code"), REFUSALS)
async def test_each_refusal_is_told_as_what_it_is(
    stage: Stage, status: int, kind: type[PrivySealError], code: str
) -> None:
    manager = stage.manager()
    await manager.check()
    reply = Reply(
        status, json.dumps({"error": {"message": "hunter2"}}).encode(), {"Location": "https://hunter2.example"}
    )
    stage.site.fail("/secrets", reply, times=3)
    why = await stage.refused(manager)
    assert (type(why), why.code) == (kind, code)
    assert len(stage.site.calls("/secrets")) == (3 if why.retryable else 1)


@pytest.mark.parametrize("status", [429, 500, 502])
async def test_what_passes_is_not_noticed(stage: Stage, status: int) -> None:
    for place in ("/authn", "/secrets"):
        stage.site.fail(place, Reply(status), times=2)
    assert await stage.read(stage.manager()) == b"hunter2"


GARBAGE = [b"", b"<html>hunter2</html>", b"null", b"{}", b"\xff", b'{"protected": "", "payload": "", "signature": ""}']


@pytest.mark.parametrize("body", GARBAGE)
async def test_a_login_that_gives_no_token_is_told(stage: Stage, body: bytes) -> None:
    stage.site.fail("/authn", Reply(200, body), times=3)
    assert (await stage.refused(stage.manager())).code == "conjur_garbled"


async def test_a_token_without_an_end_to_it_is_not_taken(stage: Stage) -> None:
    stage.site.fail("/authn", told(200, {"protected": "x" * 20_000, "payload": "hunter2", "signature": "x"}))
    assert (await stage.refused(stage.manager())).code == "conjur_garbled"


async def test_an_empty_answer_is_no_value(stage: Stage) -> None:
    manager = stage.manager()
    await manager.check()
    stage.site.fail("/secrets", Reply(200, b""))
    assert (await stage.refused(manager)).code == "conjur_garbled"


async def test_a_value_that_is_too_long_is_told(stage: Stage, conjur: Conjur) -> None:
    conjur.variables[DB] = [bytes(10_000_001)]
    assert (await stage.refused(stage.manager())).code == "value_too_large"
    conjur.variables[DB] = [bytes(17_000_000)]
    assert (await stage.refused(stage.manager())).code == "value_too_large"


async def test_a_host_that_the_policy_forbids_gets_neither_key_nor_call(stage: Stage) -> None:
    why = await stage.refused(stage.manager(stage.surroundings('hosts = ["conjur.example.com"]')))
    assert (why.code, stage.site.requests) == ("local_policy", [])


async def test_a_server_of_another_authority_gets_no_key(stage: Stage) -> None:
    why = await stage.refused(stage.manager(caCertificate=Authority("another").certificate.decode()))
    assert (why.code, stage.site.requests) == ("conjur_untrusted", [])


async def test_who_never_answers_is_given_up(stage: Stage) -> None:
    stage.site.fail("/authn", Reply(hangs=True), times=3)
    assert (await stage.refused(stage.manager(stage.surroundings(seconds=0.2)))).code == "conjur_slow"


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
