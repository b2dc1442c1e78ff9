"""The kind VaultTransit against a real server: keys bound to their place, renamed, rotated, restricted and gone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
import pytest_asyncio

from shared.crypto.plaintext import Plaintext
from shared.crypto.record import unpack
from shared.errors import Denied, Malformed, NotFound, NotReady, Tampered
from shared.values import Stored, Wrapped
from tests.fakes.vault import StandIn, VaultWorld, answer
from tests.servers.openbao import OpenBao

KIND = "VaultTransit"


@pytest.fixture(scope="module")
def bao() -> Iterator[OpenBao]:
    with OpenBao() as server:
        server.root.sys.enable_secrets_engine("transit")
        transit = server.root.secrets.transit
        transit.create_key("plain")
        transit.create_key("derived", derived=True)
        transit.create_key("convergent", derived=True, convergent_encryption=True)
        transit.create_key("chacha", key_type="chacha20-poly1305")
        transit.create_key("rsa", key_type="rsa-2048")
        transit.create_key("ed25519", key_type="ed25519")
        yield server


@pytest_asyncio.fixture
async def vaults(bao: OpenBao) -> AsyncIterator[VaultWorld]:
    world = VaultWorld(bao.address)
    del world.spec["basePath"]
    yield world
    await world.close()


def record(stored: Stored) -> tuple[str, bytes]:
    assert isinstance(stored, Wrapped)
    found = unpack(stored)
    return found.key_name, found.wrapped_key


@pytest.mark.parametrize("key", ["plain", "derived", "convergent", "chacha"])
async def test_keys_of_each_fitting_type_bind_what_they_wrap_to_its_place(
    bao: OpenBao, vaults: VaultWorld, key: str
) -> None:
    manager = vaults.with_token(bao.root.token, KIND, keyName=key)
    await manager.check()
    secret = vaults.version()
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    assert record(stored)[0] == f"vault-transit/transit/{key}"
    assert (await manager.fetch(secret, stored)).reveal() == b"hunter2"
    service = manager._service  # type: ignore[attr-defined]
    elsewhere = replace(secret.aad, n=2)
    with pytest.raises(Tampered):
        await service.unwrap(*record(stored), elsewhere)
    altered = bytearray(record(stored)[1])
    altered[-8] ^= 1
    with pytest.raises(Tampered):
        await service.unwrap(record(stored)[0], bytes(altered), secret.aad)
    for wrapped in (b"", b"vault:v1:", b"vault:v1:!", b"../../sys"):
        with pytest.raises(Tampered):
            await service.unwrap(record(stored)[0], wrapped, secret.aad)


async def test_the_documented_policy_suffices_and_a_check_names_what_is_missing(
    bao: OpenBao, vaults: VaultWorld
) -> None:
    encrypt = 'path "transit/encrypt/plain" { capabilities = ["update"] }\n'
    decrypt = 'path "transit/decrypt/plain" { capabilities = ["update"] }\n'
    manager = vaults.with_token(bao.token(bao.policy(encrypt + decrypt)), KIND, keyName="plain")
    await manager.check()
    secret = vaults.version()
    assert (await manager.fetch(secret, await manager.store(secret, Plaintext(b"v")))).reveal() == b"v"
    with pytest.raises(Denied) as caught:
        await vaults.with_token(bao.token(bao.policy(encrypt)), KIND, keyName="plain").check()
    assert caught.value.facts["lacking"] == ["update on transit/decrypt/plain"]


async def test_a_key_that_is_not_there_is_not_made_by_asking_for_it(bao: OpenBao, vaults: VaultWorld) -> None:
    manager = vaults.with_token(bao.root.token, KIND, keyName="misspelt")
    for act in (manager.check(), manager.store(vaults.version(), Plaintext(b"v"))):
        with pytest.raises(NotFound) as caught:
            await act
        assert caught.value.code == "vault_key_missing"
    assert "misspelt" not in bao.root.secrets.transit.list_keys()["data"]["keys"]
    with pytest.raises(NotFound) as engine:
        await vaults.with_token(bao.root.token, KIND, keyName="plain", secretEngineName="nowhere").check()
    assert engine.value.code == "vault_engine_missing"


@pytest.mark.parametrize("key", ["rsa", "ed25519"])
async def test_a_key_of_a_type_that_binds_nothing_is_refused(bao: OpenBao, vaults: VaultWorld, key: str) -> None:
    with pytest.raises(Malformed) as caught:
        await vaults.with_token(bao.root.token, KIND, keyName=key).check()
    assert caught.value.code == "vault_key_unfit"


async def test_a_rotated_key_opens_what_it_wrapped_until_its_versions_are_restricted(
    bao: OpenBao, vaults: VaultWorld
) -> None:
    transit = bao.root.secrets.transit
    transit.create_key("rotating")
    manager, secret = vaults.with_token(bao.root.token, KIND, keyName="rotating"), vaults.version()
    old = await manager.store(secret, Plaintext(b"old"))
    transit.rotate_key("rotating")
    new = await manager.store(secret, Plaintext(b"new"))
    assert [record(one)[1][:9] for one in (old, new)] == [b"vault:v1:", b"vault:v2:"]
    assert (await manager.fetch(secret, old)).reveal() == b"old"
    transit.update_key_configuration("rotating", min_decryption_version=2)
    # Another manager, since the first one keeps the key that it unwrapped for a while.
    fresh = vaults.with_token(bao.root.token, KIND, keyName="rotating")
    with pytest.raises(Denied) as caught:
        await fresh.fetch(secret, old)
    assert caught.value.code == "vault_key_version_disallowed"
    assert (await fresh.fetch(secret, new)).reveal() == b"new"


async def test_a_key_of_another_name_is_asked_only_where_the_connector_lists_it(
    bao: OpenBao, vaults: VaultWorld
) -> None:
    secret = vaults.version()
    stored = await vaults.with_token(bao.root.token, KIND, keyName="plain").store(secret, Plaintext(b"v"))
    with pytest.raises(Denied) as caught:
        await vaults.with_token(bao.root.token, KIND, keyName="derived").fetch(secret, stored)
    assert caught.value.code == "key_unlisted"
    renamed = vaults.with_token(bao.root.token, KIND, keyName="derived", previousKeyNames=["plain"])
    assert (await renamed.fetch(secret, stored)).reveal() == b"v"
    assert record(await renamed.store(secret, Plaintext(b"v")))[0] == "vault-transit/transit/derived"


async def test_a_deleted_key_is_told_to_take_its_values_along(bao: OpenBao, vaults: VaultWorld) -> None:
    transit = bao.root.secrets.transit
    transit.create_key("doomed")
    secret = vaults.version()
    stored = await vaults.with_token(bao.root.token, KIND, keyName="doomed").store(secret, Plaintext(b"v"))
    transit.update_key_configuration("doomed", deletion_allowed=True)
    transit.delete_key("doomed")
    with pytest.raises(NotFound) as caught:
        await vaults.with_token(bao.root.token, KIND, keyName="doomed").fetch(secret, stored)
    assert caught.value.code == "vault_key_missing"


async def test_a_server_that_ignores_associated_data_is_found_out() -> None:
    async with StandIn() as server:
        vaults = VaultWorld(server.address)
        del vaults.spec["basePath"]
        paths = {f"transit/{verb}/old": ["update"] for verb in ("encrypt", "decrypt")}
        server.answers["/v1/sys/capabilities-self"].append(answer(paths))
        server.answers["/v1/transit/encrypt/old"].append(answer({"ciphertext": "vault:v1:" + "A" * 80}))
        server.otherwise = answer({"plaintext": "A" * 43 + "="})
        surroundings = vaults.surroundings(randomness=bytes)
        manager = vaults.manager(
            KIND, {"account.token": "s.some-token"}, surroundings, authToken="account.token", keyName="old"
        )
        with pytest.raises(NotReady) as caught:
            await manager.check()
        assert caught.value.code == "vault_unbound"
        await vaults.close()
