"""1Password Connect over TLS: what a reference means, what it can't be made to mean, and what goes wrong on the way."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from delegate.policy import LocalPolicy
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.secret_managers.onepassword_connect import OnePasswordConnect
from delegate.zone import Zone
from shared.canonical import digest
from shared.crypto.plaintext import Plaintext
from shared.errors import Conflict, Denied, Malformed, NotFound, NotReady, Overloaded, PrivySealError, Unavailable
from tests.fakes.authority import Authority
from tests.fakes.onepassword import Connect, Item, new_id
from tests.fakes.world import World
from tests.servers.https import Https, Reply, told


class Stage:
    """One connector and the Connect server that it asks."""

    def __init__(self, site: Https, connect: Connect) -> None:
        self.site = site
        self.connect = connect
        self.world = World()
        self.vault = connect.vault("prod")
        self.token = connect.token(self.vault)
        self.opened: list[OnePasswordConnect] = []

    def manager(
        self, seconds: float = 15.0, policy: str = "", token: str | bytes | None = None, **spec: Any
    ) -> OnePasswordConnect:
        given = {"url": self.site.url, "token": "account.token", "caCertificate": self.site.trust, **spec}
        connector = self.world.connector_document(
            "connect", type="OnePasswordConnect", spec=given, secrets=("account.token",)
        )
        surroundings = Surroundings(
            Zone(self.world.keyring, self.world.book()),
            LocalPolicy.parse(policy, ["OnePasswordConnect"]),
            bytes,  # no pauses between tries
            call_seconds=seconds,
        )
        shown = self.token if token is None else token
        held = {"account.token": Plaintext(shown if isinstance(shown, bytes) else shown.encode())}
        self.opened.append(OnePasswordConnect(connector, surroundings, held))
        return self.opened[-1]

    def version(self, reference: str, **changes: Any) -> SecretVersion:
        connector = self.world.connector_document("connect", type="OnePasswordConnect")
        secret = self.world.secret_document(
            "password", "org/acme", connector=connector.id, reference=reference, **changes
        )
        place = self.world.place(self.world.sign(secret, self.world.administrator), 1, digest("the store task"))
        return SecretVersion(secret, connector, 1, place)

    async def read(self, reference: str, manager: OnePasswordConnect | None = None, **changes: Any) -> bytes:
        manager, secret = manager or self.manager(), self.version(reference, **changes)
        return (await manager.fetch(secret, await manager.store(secret, Plaintext(b"")))).reveal()

    async def refused(self, error: type[PrivySealError], reference: str, **changes: Any) -> PrivySealError:
        with pytest.raises(error) as caught:
            await self.read(reference, **changes)
        assert caught.value.hint
        return caught.value


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Stage]:
    connect = Connect()
    with Https(connect) as site:
        made = Stage(site, connect)
        yield made
        for one in made.opened:
            await one.close()


@pytest.fixture
def item(stage: Stage) -> Item:
    return stage.connect.item(stage.vault, "db", username="sa", password="hunter2")


# ---- what a reference means


async def test_a_field_is_read_by_names_by_ids_and_in_the_words_of_the_app(stage: Stage, item: Item) -> None:
    for reference in (
        "prod/db/password",
        "op://prod/db/password",
        f"{stage.vault}/{item.id}/password",
        f"op://{stage.vault}/db/password",
        f"prod/{item.id}/password",
    ):
        assert await stage.read(reference) == b"hunter2", reference


async def test_a_use_by_names_costs_three_calls_and_one_by_ids_a_single_one(stage: Stage, item: Item) -> None:
    manager = stage.manager()
    for reference, calls in (("prod/db/password", 3), (f"{stage.vault}/{item.id}/password", 1)):
        secret = stage.version(reference)
        stored = await manager.store(secret, Plaintext(b""))
        stage.site.requests.clear()
        await manager.fetch(secret, stored)
        assert len(stage.site.requests) == calls


async def test_each_use_reads_what_is_there_now(stage: Stage, item: Item) -> None:
    manager, secret = stage.manager(), stage.version("prod/db/password")
    stored = await manager.store(secret, Plaintext(b""))
    item.fields[1]["value"] = "rotated"
    assert (await manager.fetch(secret, stored)).reveal() == b"rotated"


async def test_a_field_of_a_section_is_read_by_the_sections_name_or_id(stage: Stage, item: Item) -> None:
    section = item.section("Admin")
    id = item.add("token", "of the section", section)
    for reference in (
        "prod/db/Admin/token",
        f"prod/db/{section}/token",
        f"prod/db/Admin/{id}",
        "prod/db/token",
        f"prod/db/{id}",
    ):
        assert await stage.read(reference) == b"of the section", reference


async def test_without_a_section_a_field_in_none_comes_first(stage: Stage, item: Item) -> None:
    item.add("password", "of the section", item.section("Admin"))
    assert await stage.read("prod/db/password") == b"hunter2"
    assert await stage.read("prod/db/Admin/password") == b"of the section"


async def test_a_member_of_a_json_field_is_selected(stage: Stage, item: Item) -> None:
    item.add("config", '{"user": {"name": "eve"}}', item.section("Admin"))
    assert await stage.read("prod/db/config#user.name") == b"eve"


async def test_a_file_is_read_by_its_name_in_place_of_a_fields(stage: Stage, item: Item) -> None:
    section = item.section("Keys")
    one, other = item.attach("id_rsa", b"\x00one"), item.attach("id_rsa", b"\xffother", section)
    assert await stage.read("prod/db/Keys/id_rsa") == b"\xffother"
    assert await stage.read(f"prod/db/{one}") == b"\x00one"
    assert await stage.read(f"prod/db/{other}") == b"\xffother"
    assert await stage.read("prod/db/id_rsa") == b"\x00one"
    item.add("id_rsa", "a field of that name")
    assert await stage.read("prod/db/id_rsa") == b"a field of that name"


# ---- ambiguity is an error


async def test_two_of_one_name_are_never_chosen_between(stage: Stage, item: Item) -> None:
    first, second = item.section("Prod"), item.section("Test")
    item.add("token", "one", first)
    id = item.add("token", "two", second)
    item.attach("key", b"1", first)
    item.attach("key", b"2", second)
    stage.connect.item(stage.vault, "twice", password="one")
    other = stage.connect.item(stage.vault, "twice", password="two")
    for reference in ("prod/db/token", "prod/db/key", "prod/twice/password"):
        error = await stage.refused(Conflict, reference)
        assert error.code == "reference_ambiguous" and "2 things" in error.detail
    assert await stage.read(f"prod/db/{id}") == await stage.read("prod/db/Test/token") == b"two"
    assert await stage.read(f"prod/{other.id}/password") == b"two"
    same = stage.connect.vault("prod")
    stage.token = stage.connect.token(stage.vault, same)
    assert (await stage.refused(Conflict, "prod/db/password")).code == "reference_ambiguous"
    assert await stage.read(f"{stage.vault}/db/password") == b"hunter2"


async def test_two_sections_of_one_name_are_told_apart_by_what_is_in_them(stage: Stage, item: Item) -> None:
    first, second = item.section("Admin"), item.section("Admin")
    item.add("user", "one", first)
    item.add("token", "two", second)
    assert await stage.read("prod/db/Admin/token") == b"two"
    item.add("token", "three", first)
    assert (await stage.refused(Conflict, "prod/db/Admin/token")).code == "reference_ambiguous"


async def test_what_differs_in_case_alone_is_another_thing(stage: Stage, item: Item) -> None:
    for reference in ("Prod/db/password", "prod/DB/password", "prod/db/Password"):
        assert (await stage.refused(NotFound, reference)).code == "secret_not_found"
    stage.connect.item(stage.vault, "DB", password="of the other")
    assert await stage.read("prod/db/password") == b"hunter2"


async def test_what_has_the_form_of_an_id_is_never_taken_for_a_name(stage: Stage, item: Item) -> None:
    stage.connect.item(stage.vault, new_id(), password="of a title like an id")
    title = list(stage.connect.items.values())[-1].title
    assert (await stage.refused(NotFound, f"prod/{title}/password")).code == "secret_not_found"


# ---- nothing gets out of its part


@pytest.mark.parametrize(
    "name",
    [
        'a" or title eq "db',
        '" or title pr or title eq "',
        "back\\slash",
        'a\\" or title eq \\"db',
        "100% & more? a=b;c#",
        "..%2f..",
        "p\u00e4ss \U0001f511",
        "a+b c",
        "(db)",
    ],
)
async def test_a_name_is_a_name_whatever_is_in_it(stage: Stage, item: Item, name: str) -> None:
    if "#" not in name:
        assert (await stage.refused(NotFound, f"prod/{name}/password")).code == "secret_not_found"
        stage.connect.item(stage.vault, name, password="of that name")
        assert await stage.read(f"prod/{name}/password") == b"of that name"
        assert await stage.read("prod/db/password") == b"hunter2"
    for one in stage.site.requests:
        assert one.path.startswith("/v1/vaults")
        assert set(one.query) <= {"filter"}
        assert one.query.get("filter", "").count('"') in {0, 2}


@pytest.mark.parametrize(
    "reference",
    [
        "prod/db",
        "prod",
        "prod//password",
        "/prod/db/password",
        "prod/db/a/b/c",
        "prod/../db/password",
        "prod/./db/password",
        "op://prod/db",
        "prod/db\r\nX-Evil: 1/password",
        "prod/d\x00b/password",
    ],
)
async def test_a_reference_of_another_form_is_refused_before_anything_is_asked(stage: Stage, reference: str) -> None:
    assert (await stage.refused(Malformed, reference)).code == "reference_malformed"
    assert stage.site.requests == []


async def test_metadata_mean_nothing_here(stage: Stage, item: Item) -> None:
    error = await stage.refused(Malformed, "prod/db/password", metadata={"version": "1"})
    assert error.code == "metadata_unknown"


# ---- what isn't there


@pytest.mark.parametrize(
    "reference", ["none/db/password", "prod/none/password", "prod/db/none", "prod/db/Admin/password"]
)
async def test_what_is_not_there_is_told_by_its_name(stage: Stage, item: Item, reference: str) -> None:
    error = await stage.refused(NotFound, reference)
    assert error.code == "secret_not_found"
    missing = "Admin" if "Admin" in reference else "none"
    assert missing in error.detail


async def test_an_empty_field_is_an_error(stage: Stage, item: Item) -> None:
    item.add("empty", "")
    assert (await stage.refused(NotFound, "prod/db/empty")).code == "value_missing"


async def test_an_archived_item_is_not_read(stage: Stage, item: Item) -> None:
    item.state = "ARCHIVED"
    assert (await stage.refused(NotFound, f"prod/{item.id}/password")).code == "item_archived"
    assert (await stage.refused(NotFound, "prod/db/password")).code == "secret_not_found"
    stage.connect.item(stage.vault, "db", password="the new one")
    assert await stage.read("prod/db/password") == b"the new one"


async def test_a_token_gives_its_own_vaults_alone(stage: Stage) -> None:
    other = stage.connect.vault("other")
    stage.connect.item(other, "db", password="treasure")
    assert (await stage.refused(NotFound, "other/db/password")).code == "secret_not_found"
    error = await stage.refused(Denied, f"{other}/db/password")
    assert error.code == "onepassword_denied" and "treasure" not in str(error.problem())


# ---- checks and tokens


async def test_a_check_asks_for_the_vaults(stage: Stage) -> None:
    await stage.manager().check()
    (asked,) = stage.site.requests
    assert (asked.method, asked.path, asked.query) == ("GET", "/v1/vaults", {})
    assert asked.headers["authorization"] == f"Bearer {stage.token}"


async def test_a_token_that_gives_no_vault_fails_the_check(stage: Stage) -> None:
    with pytest.raises(NotReady) as caught:
        await stage.manager(token=stage.connect.token()).check()
    assert caught.value.code == "onepassword_no_vaults"


async def test_a_token_that_is_not_taken_is_told_and_not_repeated(stage: Stage) -> None:
    with pytest.raises(Denied) as caught:
        await stage.manager(token="hunter2-token").check()
    assert caught.value.code == "onepassword_token_refused"
    assert "hunter2" not in str(caught.value.problem()) + repr(stage.opened)


async def test_a_token_may_end_with_a_line_and_must_be_one(stage: Stage) -> None:
    await stage.manager(token=f"{stage.token}\n").check()
    for token in ("", "two words", "a\r\nX-Evil: 1", b"\xff\xfe", "x" * 8193):
        with pytest.raises(Malformed) as caught:
            stage.manager(token=token)
        assert caught.value.code == "credential_malformed"


async def test_a_base_path_stays_before_every_path(stage: Stage) -> None:
    with pytest.raises(NotFound):
        await stage.manager(url=f"{stage.site.url}/connect/").check()
    assert [one.path for one in stage.site.requests] == ["/connect/v1/vaults"]


# ---- on the way

FAULTS: dict[str, tuple[Reply, int, type[PrivySealError], str]] = {
    "a bad request": (told(400, {"message": "hunter2"}), 1, Malformed, "onepassword_invalid"),
    "too many calls": (told(429, {"message": "hunter2"}), 3, Overloaded, "onepassword_throttled"),
    "a failure": (told(500, {"message": "hunter2"}), 3, Unavailable, "onepassword_unavailable"),
    "another failure": (Reply(503, b"hunter2"), 3, Unavailable, "onepassword_unavailable"),
    "something else": (Reply(418, b"hunter2"), 1, Denied, "onepassword_refused"),
    "a redirect": (Reply(302, b"", {"Location": "https://127.0.0.1:1/"}), 1, Denied, "onepassword_redirected"),
    "no JSON": (Reply(200, b"<html>hunter2"), 1, Unavailable, "onepassword_garbled"),
    "another form": (told(200, {"vaults": []}), 1, Unavailable, "onepassword_garbled"),
    "nothing": (Reply(204), 1, Denied, "onepassword_refused"),
    "what is cut": (Reply(200, b"[", announced=100), 3, Unavailable, "onepassword_cut"),
    "what is packed": (Reply(200, b"x", {"Content-Encoding": "gzip"}), 3, Unavailable, "onepassword_garbled"),
    "what is too long": (Reply(200, b" " * 10_000_001), 1, Malformed, "value_too_large"),
}


@pytest.mark.parametrize("fault", list(FAULTS))
async def test_each_failure_has_one_of_our_errors(stage: Stage, fault: str) -> None:
    reply, tries, error, code = FAULTS[fault]
    stage.site.fail("/v1/vaults", reply, times=10)
    with pytest.raises(error) as caught:
        await stage.manager().check()
    assert caught.value.code == code and caught.value.hint
    assert "hunter2" not in str(caught.value.problem())
    assert len(stage.site.requests) == tries


async def test_what_fails_once_is_asked_for_again(stage: Stage, item: Item) -> None:
    stage.site.fail("/v1/vaults", told(503, {}), times=2)
    assert await stage.read(f"{stage.vault}/{item.id}/password") == b"hunter2"


async def test_a_slow_answer_is_given_up_in_its_time(stage: Stage) -> None:
    stage.site.fail("/v1/vaults", Reply(hangs=True), times=3)
    with pytest.raises(Unavailable) as caught:
        await stage.manager(seconds=0.2).check()
    assert caught.value.code == "onepassword_slow"


@pytest.mark.parametrize("trusted", ["", Authority("another").certificate.decode()], ids=["system", "another"])
async def test_a_certificate_of_somebody_else_is_not_trusted(stage: Stage, trusted: str) -> None:
    with pytest.raises(Unavailable) as caught:
        await stage.manager(caCertificate=trusted).check()
    assert caught.value.code == "onepassword_untrusted"
    assert stage.site.requests == []


async def test_a_host_that_the_local_policy_forbids_is_never_called(stage: Stage) -> None:
    with pytest.raises(Denied) as caught:
        await stage.manager(policy='hosts = ["*.example.com"]').check()
    assert caught.value.code == "local_policy" and caught.value.facts["rule"] == "hosts"
    assert stage.site.requests == []


async def test_no_credentials_but_the_token_are_sent(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login evil password evil\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("OP_CONNECT_HOST", "https://evil.example.com")
    monkeypatch.setenv("OP_CONNECT_TOKEN", "evil")
    await stage.manager().check()
    assert [one.headers["authorization"] for one in stage.site.requests] == [f"Bearer {stage.token}"]


# ---- a server that answers about something else


async def test_an_answer_about_another_item_or_vault_is_not_believed(stage: Stage, item: Item) -> None:
    changes: tuple[dict[str, Any], ...] = (
        {"id": new_id()},
        {"vault": {"id": new_id()}},
        {"vault": {}},
        {"fields": "none"},
    )
    for changed in changes:
        body = {**item.details(), **changed}
        stage.site.fail(f"/v1/vaults/{stage.vault}/items/{item.id}", Reply(200, json.dumps(body).encode()))
        error = await stage.refused(Unavailable, f"{stage.vault}/{item.id}/password")
        assert error.code == "onepassword_garbled" and "hunter2" not in str(error.problem())


async def test_an_id_that_is_none_leads_nowhere(stage: Stage, item: Item) -> None:
    evil = [{"id": "../../../evil", "name": "prod", "title": "db", "vault": {"id": stage.vault}}]
    stage.site.fail("/v1/vaults", told(200, evil))
    assert (await stage.refused(Unavailable, "prod/db/password")).code == "onepassword_garbled"
    stage.site.fail(f"/v1/vaults/{stage.vault}/items", told(200, evil))
    assert (await stage.refused(Unavailable, f"{stage.vault}/db/password")).code == "onepassword_garbled"
    assert not any("evil" in one.path for one in stage.site.requests)


async def test_items_of_another_vault_in_a_list_are_not_believed(stage: Stage, item: Item) -> None:
    listed = [{**item.summary(), "vault": {"id": new_id()}}]
    stage.site.fail(f"/v1/vaults/{stage.vault}/items", told(200, listed))
    assert (await stage.refused(Unavailable, f"{stage.vault}/db/password")).code == "onepassword_garbled"


async def test_an_item_that_is_renamed_meanwhile_is_not_read_under_its_old_name(stage: Stage, item: Item) -> None:
    renamed = {**item.details(), "title": "another"}
    stage.site.fail(f"/v1/vaults/{stage.vault}/items/{item.id}", told(200, renamed))
    assert (await stage.refused(Conflict, "prod/db/password")).code == "secret_changing"
