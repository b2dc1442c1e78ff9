"""The kind Vault against a real server: what is written, what is left alone, what is told when something is gone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from delegate.secret_managers.interface import SecretManager, SecretVersion
from shared.crypto.plaintext import Plaintext
from shared.errors import Conflict, Denied, Malformed, NotFound, NotReady, PrivySealError, Tampered
from shared.values import Reference, Stored
from tests.architecture.source import ROOT
from tests.fakes.vault import VaultWorld
from tests.fakes.versions import whole
from tests.servers.openbao import OpenBao

TWO, ONE = "two", "one"


@pytest.fixture(scope="module")
def bao() -> Iterator[OpenBao]:
    with OpenBao() as server:
        server.root.sys.enable_secrets_engine("kv", path=TWO, options={"version": "2"})
        server.root.sys.enable_secrets_engine("kv", path=ONE, options={"version": "1"})
        yield server


@pytest_asyncio.fixture
async def vaults(bao: OpenBao) -> AsyncIterator[VaultWorld]:
    world = VaultWorld(bao.address, secretEngineName=TWO)
    yield world
    await world.close()


@pytest_asyncio.fixture
async def vaults1(bao: OpenBao) -> AsyncIterator[VaultWorld]:
    world = VaultWorld(bao.address, secretEngineName=ONE, secretEngineVersion=1)
    yield world
    await world.close()


def kept(bao: OpenBao, vaults: VaultWorld, name: str = "acme.password") -> dict[str, Any]:
    path = f"{vaults.base}/{name}"
    found = bao.root.secrets.kv.v2.read_secret_version(path, mount_point=TWO, raise_on_deleted_version=True)
    data: dict[str, Any] = found["data"]["data"]
    return data


def put(bao: OpenBao, path: str, **data: Any) -> None:
    bao.root.secrets.kv.v2.create_or_update_secret(path, data, mount_point=TWO)


def version_of(stored: Stored) -> str:
    assert isinstance(stored, Reference)
    return stored.version


def listed(bao: OpenBao, path: str) -> list[str]:
    try:
        found: list[str] = bao.root.secrets.kv.v2.list_secrets(path, mount_point=TWO)["data"]["keys"]
    except Exception as error:  # noqa: BLE001 (the library's own, for an empty folder)
        assert type(error).__name__ == "InvalidPath"
        return []
    return found


async def text(manager: SecretManager, secret: SecretVersion, stored: Stored) -> bytes:
    return (await manager.fetch(secret, stored)).reveal()


async def once_upgraded(tries: Iterable[Awaitable[Stored]]) -> Stored:
    """The first that succeeds: an engine that is being upgraded refuses for a moment."""
    for one in tries:
        try:
            return await one
        except PrivySealError as why:
            refused = why
            await asyncio.sleep(0.1)
    raise refused


# ---- what a check finds


def rights(vaults: VaultWorld) -> str:
    """The policy of docs/secret-managers/vault.md."""
    return (
        f'path "{TWO}/data/{vaults.base}/*" {{ capabilities = ["create", "read", "update"] }}\n'
        f'path "{TWO}/metadata/{vaults.base}/*" {{ capabilities = ["delete"] }}\n'
    )


async def test_the_documented_policy_suffices_and_a_check_writes_nothing(bao: OpenBao, vaults: VaultWorld) -> None:
    manager = vaults.with_token(bao.token(bao.policy(rights(vaults))))
    await manager.check()
    assert listed(bao, vaults.base) == []
    secret = vaults.version()
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    assert await text(manager, secret, stored) == b"hunter2"
    await manager.delete(whole(secret), None)
    assert listed(bao, vaults.base) == []


async def test_a_check_names_each_right_that_is_missing(bao: OpenBao, vaults: VaultWorld) -> None:
    only_read = bao.policy(f'path "{TWO}/data/{vaults.base}/*" {{ capabilities = ["read"] }}')
    with pytest.raises(Denied) as caught:
        await vaults.with_token(bao.token(only_read)).check()
    assert caught.value.code == "vault_denied"
    assert f"create, update on {TWO}/data/{vaults.base}/privyseal-check" in caught.value.detail
    assert f"delete on {TWO}/metadata/{vaults.base}/privyseal-check" in caught.value.detail


async def test_a_read_only_connector_is_checked_for_the_paths_that_it_names(bao: OpenBao, vaults: VaultWorld) -> None:
    token = bao.token(bao.policy(f'path "{TWO}/data/app/*" {{ capabilities = ["read"] }}'))
    await vaults.with_token(token, readOnly=True, testPaths=["/app/one", "app/two#key"]).check()
    with pytest.raises(Denied, match=rf"the token lacks read on {TWO}/data/other/one$"):
        await vaults.with_token(token, readOnly=True, testPaths=["app/one", "other/one"]).check()


async def test_a_check_tells_which_engines_there_are(bao: OpenBao, vaults: VaultWorld) -> None:
    token = bao.token(bao.policy(rights(vaults)))
    with pytest.raises(NotFound) as caught:
        await vaults.with_token(token, secretEngineName="nowhere").check()
    assert caught.value.facts["engines"] == [f"{TWO} (version 2)"]
    with pytest.raises(NotReady, match="is of version 2, and the connector says 1"):
        await vaults.with_token(token, secretEngineVersion=1).check()
    bao.root.sys.enable_secrets_engine("transit", path=vaults.base)
    with pytest.raises(NotReady, match="is no KV engine"):
        await vaults.with_token(bao.root.token, secretEngineName=vaults.base).check()


async def test_a_host_that_the_local_policy_leaves_out_is_never_called(vaults: VaultWorld) -> None:
    manager = vaults.manager(
        credentials={"account.token": "s.unused-token"},
        surroundings=vaults.surroundings("hosts = ['vault.example']"),
        vaultUrl="http://127.0.0.1:1",
        authToken="account.token",
    )
    with pytest.raises(Denied) as caught:
        await manager.check()
    assert (caught.value.code, caught.value.facts["rule"]) == ("local_policy", "hosts")


# ---- version 2


async def test_a_value_stands_where_others_can_read_it_and_says_whose_it_is(bao: OpenBao, vaults: VaultWorld) -> None:
    manager, secret = vaults.with_token(bao.root.token), vaults.version()
    assert version_of(await manager.store(secret, Plaintext("p\u00e4ss".encode()))) == "1"
    assert kept(bao, vaults) == {
        "value": "p\u00e4ss",
        "privyseal-account": vaults.world.id,
        "privyseal-secret": secret.secret.id,
        "privyseal-version": f"1/{secret.aad.version}",
    }


async def test_storing_again_writes_nothing_also_after_a_newer_version(bao: OpenBao, vaults: VaultWorld) -> None:
    manager, first, second = vaults.with_token(bao.root.token), vaults.version(), vaults.version(n=2)
    old = await manager.store(first, Plaintext(b"old"))
    assert await manager.store(first, Plaintext(b"old")) == old
    new = await manager.store(second, Plaintext(b"new"))
    assert await manager.store(first, Plaintext(b"old")) == old
    assert (version_of(old), version_of(new), kept(bao, vaults)["value"]) == ("1", "2", "new")
    assert (await text(manager, first, old), await text(manager, second, new)) == (b"old", b"new")


async def test_an_older_store_task_that_was_never_written_does_not_come_after_a_newer_one(
    bao: OpenBao, vaults: VaultWorld
) -> None:
    manager = vaults.with_token(bao.root.token)
    await manager.store(vaults.version(n=3), Plaintext(b"new"))
    with pytest.raises(Conflict) as caught:
        await manager.store(vaults.version(n=2), Plaintext(b"old"))
    assert caught.value.code == "version_superseded"
    assert kept(bao, vaults)["value"] == "new"


async def test_of_concurrent_writers_none_is_lost_that_was_not_refused(bao: OpenBao, vaults: VaultWorld) -> None:
    managers = [vaults.with_token(bao.root.token) for _ in range(4)]
    places = [vaults.version(n=1 + at % 3, task=f"writer {at}") for at in range(12)]

    async def write(at: int) -> Stored | PrivySealError:
        try:
            return await managers[at % 4].store(places[at], Plaintext(b"value %d" % at))
        except Conflict as why:
            assert why.code in {"vault_changed", "version_superseded"}
            return why

    written = await asyncio.gather(*(write(at) for at in range(12)))
    found = [(at, one) for at, one in enumerate(written) if isinstance(one, Reference)]
    assert found
    assert len({one.version for _, one in found}) == len(found)
    for at, one in found:
        assert await text(managers[0], places[at], one) == b"value %d" % at


async def test_what_others_have_there_is_neither_overwritten_nor_deleted(bao: OpenBao, vaults: VaultWorld) -> None:
    manager, secret = vaults.with_token(bao.root.token), vaults.version()
    put(bao, f"{vaults.base}/acme.password", value="theirs")
    with pytest.raises(Conflict) as caught:
        await manager.store(secret, Plaintext(b"mine"))
    assert caught.value.code == "origin_foreign"
    with pytest.raises(Conflict):
        await manager.delete(whole(secret), None)
    assert kept(bao, vaults) == {"value": "theirs"}


async def test_another_secrets_entry_is_neither_overwritten_nor_deleted(bao: OpenBao, vaults: VaultWorld) -> None:
    manager, secret = vaults.with_token(bao.root.token), vaults.version()
    other = vaults.version(id=vaults.world.opaque("a later secret of the same name"))
    await manager.store(other, Plaintext(b"theirs"))
    with pytest.raises(Conflict) as caught:
        await manager.store(secret, Plaintext(b"mine"))
    assert caught.value.code == "origin_other"
    await manager.delete(whole(secret), None)
    assert kept(bao, vaults)["value"] == "theirs"


async def test_a_deletion_takes_all_versions_and_one_version_alone(bao: OpenBao, vaults: VaultWorld) -> None:
    manager, first, second = vaults.with_token(bao.root.token), vaults.version(), vaults.version(n=2)
    old, new = await manager.store(first, Plaintext(b"old")), await manager.store(second, Plaintext(b"new"))
    await manager.delete(first, old)
    await manager.delete(first, old)
    with pytest.raises(NotFound) as caught:
        await manager.fetch(first, old)
    assert caught.value.code == "version_deleted"
    assert await text(manager, second, new) == b"new"
    await manager.delete(whole(second), None)
    await manager.delete(whole(second), None)
    assert listed(bao, vaults.base) == []
    with pytest.raises(NotFound, match=f"nothing at {TWO}/data/{vaults.base}/acme.password"):
        await manager.fetch(second, new)


async def test_a_version_from_before_the_engine_kept_versions_takes_no_newer_one_along(
    bao: OpenBao, vaults1: VaultWorld
) -> None:
    upgraded = f"upgraded-{vaults1.base}"
    bao.root.sys.enable_secrets_engine("kv", path=upgraded, options={"version": "1"})
    before = vaults1.with_token(bao.root.token, secretEngineName=upgraded)
    first, second = vaults1.version(), vaults1.version(n=2)
    old = await before.store(first, Plaintext(b"old"))
    bao.root.adapter.post(f"/v1/sys/mounts/{upgraded}/tune", json={"options": {"version": "2"}})
    after = vaults1.with_token(bao.root.token, secretEngineName=upgraded, secretEngineVersion=2)
    new = await once_upgraded(after.store(second, Plaintext(b"new")) for _ in range(100))
    await after.delete(first, old)
    assert await text(after, second, new) == b"new"
    with pytest.raises(NotFound):
        await text(after, first, old)


async def test_what_was_deleted_in_vault_itself_is_told_so_and_can_be_stored_and_deleted(
    bao: OpenBao, vaults: VaultWorld
) -> None:
    manager, secret = vaults.with_token(bao.root.token), vaults.version()
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    path = f"{vaults.base}/acme.password"
    bao.root.secrets.kv.v2.delete_latest_version_of_secret(path, mount_point=TWO)
    with pytest.raises(NotFound) as caught:
        await manager.fetch(secret, stored)
    assert caught.value.code == "version_deleted"
    assert "undelete" in caught.value.hint
    again = vaults.version(n=2)
    assert version_of(await manager.store(again, Plaintext(b"again"))) == "2"
    bao.root.secrets.kv.v2.delete_latest_version_of_secret(path, mount_point=TWO)
    await manager.delete(whole(again), None)
    assert listed(bao, vaults.base) == []


async def test_a_version_that_the_engine_has_dropped_is_told_to_be_gone(bao: OpenBao, vaults: VaultWorld) -> None:
    manager = vaults.with_token(bao.root.token)
    stored = [await manager.store(vaults.version(n=n), Plaintext(b"value %d" % n)) for n in (1, 2)]
    path = f"{vaults.base}/acme.password"
    bao.root.secrets.kv.v2.update_metadata(path, max_versions=1, mount_point=TWO)
    await manager.store(vaults.version(n=3), Plaintext(b"value 3"))
    with pytest.raises(NotFound) as caught:
        await manager.fetch(vaults.version(n=1), stored[0])
    assert "max_versions" in caught.value.hint


async def test_a_version_that_was_made_anew_by_others_is_not_taken_for_ours(bao: OpenBao, vaults: VaultWorld) -> None:
    manager, secret = vaults.with_token(bao.root.token), vaults.version()
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    path = f"{vaults.base}/acme.password"
    bao.root.secrets.kv.v2.delete_metadata_and_all_versions(path, mount_point=TWO)
    put(bao, path, value="theirs", **{"privyseal-version": "nonsense"})
    with pytest.raises(Tampered) as caught:
        await manager.fetch(secret, stored)
    assert caught.value.code == "value_replaced"


async def test_a_read_only_connector_writes_and_deletes_nothing(bao: OpenBao, vaults: VaultWorld) -> None:
    manager = vaults.with_token(bao.root.token, isReadOnly=True)
    with pytest.raises(Denied) as caught:
        await manager.store(vaults.version(), Plaintext(b"hunter2"))
    assert caught.value.code == "connector_read_only"
    with pytest.raises(Denied):
        await manager.delete(whole(vaults.version()), None)
    assert listed(bao, vaults.base) == []


async def test_a_value_past_the_limit_is_refused_with_the_limit(bao: OpenBao, vaults: VaultWorld) -> None:
    manager = vaults.with_token(bao.root.token)
    with pytest.raises(Malformed, match="means nothing to Vault"):
        await manager.store(vaults.version(metadata={"region": "eu"}), Plaintext(b"v"))
    longest = b"\xff" * 750_000
    stored = await manager.store(vaults.version(), Plaintext(longest))
    assert await text(manager, vaults.version(), stored) == longest
    with pytest.raises(Malformed, match="at most 750,000 bytes"):
        await manager.store(vaults.version(n=2), Plaintext(longest + b"x"))


async def test_a_namespace_an_engine_below_a_folder_and_an_empty_base_path_work(bao: OpenBao) -> None:
    bao.root.adapter.post("/v1/sys/namespaces/team-a")
    bao.root.adapter.namespace = "team-a"
    bao.root.sys.enable_secrets_engine("kv", path="apps/kv", options={"version": "2"})
    bao.root.adapter.namespace = None
    vaults = VaultWorld(bao.address, namespace="team-a", secretEngineName="/apps/kv/", basePath="/")
    manager, secret = vaults.with_token(bao.root.token), vaults.version()
    await manager.check()
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    assert isinstance(stored, Reference)
    assert stored.locator == "acme.password"
    assert await text(manager, secret, stored) == b"hunter2"
    await vaults.close()


# ---- version 1


async def test_an_engine_of_version_1_keeps_the_newest_value_and_says_so(bao: OpenBao, vaults1: VaultWorld) -> None:
    rules = f'path "{ONE}/{vaults1.base}/*" {{ capabilities = ["create", "read", "update", "delete"] }}'
    manager = vaults1.with_token(bao.token(bao.policy(rules)))
    await manager.check()
    first, second = vaults1.version(), vaults1.version(n=2)
    old = await manager.store(first, Plaintext(b"old"))
    assert await manager.store(first, Plaintext(b"old")) == old
    assert await text(manager, first, old) == b"old"
    new = await manager.store(second, Plaintext(b"new"))
    assert await text(manager, second, new) == b"new"
    with pytest.raises(NotFound) as caught:
        await manager.fetch(first, old)
    assert caught.value.code == "version_replaced"
    with pytest.raises(Conflict) as superseded:
        await manager.store(first, Plaintext(b"old"))
    assert superseded.value.code == "version_superseded"
    await manager.delete(first, old)
    assert await text(manager, second, new) == b"new"
    await manager.delete(second, new)
    await manager.delete(whole(second), None)
    with pytest.raises(NotFound):
        await manager.fetch(second, new)


async def test_two_tasks_for_one_version_do_not_overwrite_each_other_in_version_1(
    bao: OpenBao, vaults1: VaultWorld
) -> None:
    manager = vaults1.with_token(bao.root.token)
    one, other = vaults1.version(task="one"), vaults1.version(task="other")
    stored = await manager.store(one, Plaintext(b"one"))
    with pytest.raises(Conflict) as caught:
        await manager.store(other, Plaintext(b"other"))
    assert caught.value.code == "vault_changed"
    assert await text(manager, one, stored) == b"one"


# ---- references


async def reference(manager: SecretManager, vaults: VaultWorld, path: str, **metadata: str) -> bytes:
    secret = vaults.version("referred", reference=path, metadata=metadata)
    stored = await manager.store(secret, Plaintext(b""))
    return await text(manager, secret, stored)


async def test_a_reference_selects_a_key_nested_or_literal_and_leaves_numbers_as_they_are(
    bao: OpenBao, vaults: VaultWorld
) -> None:
    manager, path = vaults.with_token(bao.root.token), f"{vaults.base}/app/db"
    put(bao, path, user="u", deep={"a": {"b": 1234567890123456}}, **{"x.y": "literal"})
    assert await reference(manager, vaults, f"/{path}#user") == b"u"
    assert await reference(manager, vaults, f"{path}#deep.a.b") == b"1234567890123456"
    assert await reference(manager, vaults, f"{path}#x.y") == b"literal"
    assert (await reference(manager, vaults, path)).startswith(b'{"deep":{"a":{"b":1234567890123456}}')
    with pytest.raises(NotFound, match="has no key nothing"):
        await reference(manager, vaults, f"{path}#nothing")
    with pytest.raises(NotFound):
        await reference(manager, vaults, f"{vaults.base}/nothing")


async def test_a_reference_reads_the_newest_or_the_version_that_its_metadata_pin(
    bao: OpenBao, vaults: VaultWorld
) -> None:
    manager, path = vaults.with_token(bao.root.token), f"{vaults.base}/app"
    put(bao, path, key="old")
    secret = vaults.version("referred", reference=f"{path}#key")
    stored = await manager.store(secret, Plaintext(b""))
    put(bao, path, key="new")
    assert await text(manager, secret, stored) == b"new"
    assert await reference(manager, vaults, f"{path}#key", version="1") == b"old"
    assert await reference(manager, vaults, f"{path}#key", version="latest") == b"new"
    for version in ("0", "-1", "x", "\u0661", "99999999999"):
        with pytest.raises(Malformed):
            await reference(manager, vaults, f"{path}#key", version=version)
    with pytest.raises(Malformed, match="means nothing to Vault"):
        await reference(manager, vaults, f"{path}#key", region="eu")
    await manager.delete(whole(secret), None)
    assert await text(manager, secret, stored) == b"new"


async def test_a_reference_to_an_engine_of_version_1_has_a_customary_key(bao: OpenBao, vaults1: VaultWorld) -> None:
    manager, path = vaults1.with_token(bao.root.token), f"{vaults1.base}/app"
    bao.root.secrets.kv.v1.create_or_update_secret(path, {"value": "v", "other": "o"}, method="POST", mount_point=ONE)
    assert await reference(manager, vaults1, path) == b"v"
    assert await reference(manager, vaults1, f"{path}#other") == b"o"
    with pytest.raises(Malformed):
        await reference(manager, vaults1, path, version="1")


async def test_a_reference_does_not_read_what_a_secret_of_ours_keeps(bao: OpenBao, vaults: VaultWorld) -> None:
    manager = vaults.with_token(bao.root.token)
    await manager.store(vaults.version(), Plaintext(b"hunter2"))
    with pytest.raises(Denied) as caught:
        await reference(manager, vaults, f"{vaults.base}/acme.password#value")
    assert caught.value.code == "reference_to_inline"
    assert "hunter2" not in repr(caught.value.problem())


@pytest.mark.parametrize(
    ("engine", "before"),
    [(TWO, "data/"), (f"{TWO}/data", "")],
    ids=["its envelope", "its envelope, typed as an engine"],
)
async def test_who_calls_an_engine_one_of_version_1_reads_no_secret_of_ours_either(
    bao: OpenBao, vaults: VaultWorld, engine: str, before: str
) -> None:
    await vaults.with_token(bao.root.token).store(vaults.version(), Plaintext(b"hunter2"))
    thief = vaults.with_token(bao.root.token, secretEngineName=engine, secretEngineVersion=1)
    for key in ("#data.value", "#data", ""):
        with pytest.raises(Denied) as caught:
            await reference(thief, vaults, f"{before}{vaults.base}/acme.password{key}")
        assert caught.value.code == "reference_to_inline"


@pytest.mark.parametrize("path", ["../../sys/mounts", "a/../../b", "a//b", "./a", "a/\x00", "a/\u200b"])
async def test_a_reference_that_could_lead_elsewhere_is_refused_before_vault_is_asked(path: str) -> None:
    vaults = VaultWorld("http://127.0.0.1:1")
    with pytest.raises(Malformed) as caught:
        await reference(vaults.with_token("s.never-sent"), vaults, path)
    assert caught.value.code == "path_malformed"
    await vaults.close()


async def test_odd_characters_in_a_path_are_only_characters(bao: OpenBao, vaults: VaultWorld) -> None:
    manager, path = vaults.with_token(bao.root.token), f"{vaults.base}/a b?c=d&e/%2e%2e/\u00fc"
    put(bao, path, key="v")
    assert await reference(manager, vaults, f"{path}#key") == b"v"


def test_who_uses_vault_loads_no_other_clouds_library() -> None:
    load = (
        "import delegate.secret_managers.vault, delegate.secret_managers.vault_transit, sys\n"
        "print('\\n'.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", load], capture_output=True, text=True, cwd=ROOT, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "hvac" in loaded
    assert not loaded & {"aiobotocore", "aiohttp", "azure", "boto3", "botocore", "google", "jwt"}
