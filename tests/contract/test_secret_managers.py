"""What every kind of secret manager promises. A kind joins by a row in `KINDS`; nothing else here knows one.

A row's factory makes a manager for a world: the same world gives the same secrets, so that one manager may fetch what
another stored. Where a kind needs a server, its row says which; it is started once, when the first test needs it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self
from weakref import WeakKeyDictionary

import pytest
import pytest_asyncio
from botocore.session import Session
from msgspec import structs

from delegate.endpoints import Endpoints
from delegate.policy import LocalPolicy
from delegate.secret_managers.aws_kms import AwsKms
from delegate.secret_managers.aws_secret_manager import AwsSecretManager
from delegate.secret_managers.interface import SecretManager, SecretVersion, Surroundings, stored_bytes, stored_value
from delegate.secret_managers.local import Local
from delegate.secret_managers.vault import Vault
from delegate.secret_managers.vault_transit import VaultTransit
from delegate.zone import Zone
from shared.canonical import digest
from shared.crypto.keyring import Keyring
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, Malformed, NotFound, PrivySealError, Tampered
from shared.values import Wrapped
from tests.fakes.world import World
from tests.servers.emulators import Moto
from tests.servers.openbao import OpenBao


class Server(Protocol):
    """What a kind is asked at."""

    @property
    def url(self) -> str: ...


@dataclass(frozen=True)
class Kind:
    """A kind under test: its factory, the server that it needs, and what of the contract its provider can't keep."""

    make: Callable[[World, Surroundings], SecretManager]
    server: Callable[[], AbstractContextManager[Server]] | None = None
    longest: int = 10_000_000
    """Bytes of a value."""
    deletes_versions: bool = True
    """Whether one version can be deleted without the others."""
    keeps_versions: bool = True
    """Whether an earlier version can still be read."""


def local(world: World, surroundings: Surroundings) -> SecretManager:
    return Local(world.connector.document, surroundings, {})


def aws_kms(world: World, surroundings: Surroundings) -> SecretManager:
    url = surroundings.endpoints.url("kms")
    kms = Session().create_client(
        "kms", region_name="us-east-1", endpoint_url=url, aws_access_key_id="a", aws_secret_access_key="b"
    )
    name = f"alias/{place_of(world)}"
    if not any(place_of(world) in page for page in map(str, kms.get_paginator("list_aliases").paginate())):
        kms.create_alias(AliasName=name, TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])
    arn = kms.describe_key(KeyId=name)["KeyMetadata"]["Arn"]
    credential = {"type": "ManualConfig", "spec": {"accessKey": "account.key", "secretKey": "account.half"}}
    spec = {"credential": credential, "region": "us-east-1", "kmsArn": "account.arn"}
    connector = structs.replace(world.connector.document, type="AwsKms", spec=spec)
    held = {"account.key": b"A" * 20, "account.half": b"k" * 40, "account.arn": arn.encode()}
    return AwsKms(connector, surroundings, {name: Plaintext(value) for name, value in held.items()})


def aws_secret_manager(world: World, surroundings: Surroundings) -> SecretManager:
    credential = {"type": "ManualConfig", "spec": {"accessKeyPlainText": "A" * 20, "secretKey": "account.key"}}
    spec = {"credential": credential, "region": "us-east-1", "secretNamePrefix": place_of(world)}
    connector = structs.replace(world.connector.document, type="AwsSecretManager", spec=spec)
    return AwsSecretManager(connector, surroundings, {"account.key": Plaintext(b"k" * 40)})


class Bao(OpenBao):
    """With an engine of each version, a key of transit, and a token that everybody knows."""

    TOKEN = "everybody-knows-this-one"

    def __enter__(self) -> Self:
        super().__enter__()
        for version in ("1", "2"):
            self.root.sys.enable_secrets_engine("kv", path=f"kv{version}", options={"version": version})
        self.root.sys.enable_secrets_engine("transit")
        self.root.secrets.transit.create_key("contract")
        self.root.auth.token.create(id=self.TOKEN, policies=["root"])
        return self


def of_vault(kind: Callable[..., SecretManager], **spec: Any) -> Callable[[World, Surroundings], SecretManager]:
    def make(world: World, surroundings: Surroundings) -> SecretManager:
        own = {"basePath": place_of(world)} if kind is Vault else {}
        url = {"vaultUrl": surroundings.endpoints.url("vault"), "renewalIntervalMinutes": 0, "authToken": "account.t"}
        connector = structs.replace(world.connector.document, type=kind.__name__, spec={**url, **own, **spec})
        return kind(connector, surroundings, {"account.t": Plaintext(Bao.TOKEN.encode())})

    return make


KINDS: dict[str, Kind] = {
    "AwsKms": Kind(aws_kms, Moto),
    "AwsSecretManager": Kind(aws_secret_manager, Moto, longest=65_536, deletes_versions=False),
    "Local": Kind(local),
    "Vault": Kind(of_vault(Vault, secretEngineName="kv2"), Bao, longest=750_000),
    "Vault, version 1": Kind(
        of_vault(Vault, secretEngineName="kv1", secretEngineVersion=1), Bao, longest=750_000, keeps_versions=False
    ),
    "VaultTransit": Kind(of_vault(VaultTransit, keyName="contract"), Bao),
}

_places: WeakKeyDictionary[World, str] = WeakKeyDictionary()


def place_of(world: World) -> str:
    """A name of the world's own, since the servers outlive it."""
    return _places.setdefault(world, "w" + secrets.token_hex(8))


VALUES = {
    "text": b"hunter2",
    "empty": b"",
    "binary": bytes(range(256)),
    "unicode": "p\u00e4ssw\u00f6rd \U0001f511".encode(),
    "block of padding": b"x" * 252,
    "64 KiB": secrets.token_bytes(65_536),
    "10 MB": bytes(10_000_000),
}


Made = Callable[..., SecretManager]
"""A manager of a kind for a world, with another keyring than the world's where one is given."""


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[str], Endpoints]]:
    """Where a kind's server is asked; started when it is first asked for."""
    with ExitStack() as stack:
        started: dict[object, Endpoints] = {}

        def of(kind: str) -> Endpoints:
            server = KINDS[kind].server
            if server is None:
                return Endpoints()
            if server not in started:
                started[server] = Endpoints({"*": stack.enter_context(server()).url})
            return started[server]

        yield of


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest_asyncio.fixture
async def make(kind: Kind, servers: Callable[[str], Endpoints]) -> AsyncIterator[Made]:
    """Makes managers of the kind, and closes them."""
    endpoints = servers(next(name for name, one in KINDS.items() if one is kind))
    made: list[SecretManager] = []

    def one(world: World, keyring: Keyring | None = None) -> SecretManager:
        zone = Zone(keyring or world.keyring, world.book())
        policy = LocalPolicy.parse("", ["Local"])
        made.append(kind.make(world, Surroundings(zone, policy, secrets.token_bytes, endpoints=endpoints)))
        return made[-1]

    yield one
    for manager in made:
        await manager.close()
        await manager.close()


@pytest.fixture
def manager(make: Made, world: World) -> SecretManager:
    return make(world)


def version(world: World, identifier: str = "password", n: int = 1) -> SecretVersion:
    secret = world.secret_document(identifier, scope="org/acme")
    signed = world.sign(secret, world.administrator)
    aad = world.place(signed, n, digest(f"the store task of {identifier} {n}"))
    return SecretVersion(secret, world.connector.document, n, aad)


async def test_a_check_of_a_working_connector_passes(manager: SecretManager) -> None:
    await manager.check()


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
async def test_what_was_stored_is_fetched(manager: SecretManager, kind: Kind, world: World, value: bytes) -> None:
    secret = version(world)
    if len(value) > kind.longest:
        with pytest.raises(Malformed, match=f"{kind.longest:,} bytes") as caught:
            await manager.store(secret, Plaintext(value))
        assert caught.value.code == "value_too_large"
        return
    stored = await manager.store(secret, Plaintext(value))
    assert (await manager.fetch(secret, stored)).reveal() == value


async def test_what_was_stored_survives_its_byte_form(manager: SecretManager, world: World) -> None:
    secret = version(world)
    stored = stored_value(stored_bytes(await manager.store(secret, Plaintext(b"hunter2"))))
    assert (await manager.fetch(secret, stored)).reveal() == b"hunter2"


async def test_a_value_stored_twice_looks_different_and_reads_the_same(manager: SecretManager, world: World) -> None:
    secret = version(world)
    first = await manager.store(secret, Plaintext(b"hunter2"))
    second = await manager.store(secret, Plaintext(b"hunter2"))
    if isinstance(first, Wrapped):
        assert first != second
    for stored in (first, second):
        assert (await manager.fetch(secret, stored)).reveal() == b"hunter2"


async def test_short_values_of_different_lengths_have_records_of_one_length(
    manager: SecretManager, world: World
) -> None:
    stored = [await manager.store(version(world, f"s{length}"), Plaintext(bytes(length))) for length in (0, 1, 200)]
    if isinstance(stored[0], Wrapped):
        assert len({len(stored_bytes(one)) for one in stored}) == 1


ELSEWHERE: dict[str, dict[str, Any]] = {
    field: {field: 2 if field == "n" else "elsewhere"}
    for field in ("account", "keyring", "scope", "secret", "n", "version", "connector")
}


@pytest.mark.parametrize("changes", ELSEWHERE.values(), ids=ELSEWHERE.keys())
async def test_a_value_does_not_come_out_at_another_place(
    manager: SecretManager, world: World, changes: dict[str, Any]
) -> None:
    secret = version(world)
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    moved = replace(secret, aad=replace(secret.aad, **changes))
    with pytest.raises((Tampered, Denied, NotFound)) as caught:
        await manager.fetch(moved, stored)
    assert "hunter2" not in str(caught.value)


async def test_one_versions_record_does_not_pass_for_anothers(manager: SecretManager, kind: Kind, world: World) -> None:
    first, second = version(world), version(world, n=2)
    old = await manager.store(first, Plaintext(b"old"))
    new = await manager.store(second, Plaintext(b"new"))
    if kind.keeps_versions:
        assert (await manager.fetch(first, old)).reveal() == b"old"
    else:
        with pytest.raises(NotFound):
            await manager.fetch(first, old)
    assert (await manager.fetch(second, new)).reveal() == b"new"
    with pytest.raises((Tampered, NotFound)):
        await manager.fetch(second, old)
    with pytest.raises((Tampered, NotFound)):
        await manager.fetch(first, new)


async def test_one_secrets_record_does_not_pass_for_anothers(manager: SecretManager, world: World) -> None:
    mine, yours = version(world, "mine"), version(world, "yours")
    stored = await manager.store(yours, Plaintext(b"hunter2"))
    await manager.store(mine, Plaintext(b"other"))
    with pytest.raises((Tampered, NotFound)):
        await manager.fetch(mine, stored)


async def test_a_change_anywhere_in_what_is_stored_is_noticed(manager: SecretManager, world: World) -> None:
    secret = version(world)
    raw = stored_bytes(await manager.store(secret, Plaintext(b"hunter2")))
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with pytest.raises(PrivySealError) as caught:
            await manager.fetch(secret, stored_value(changed))
        assert not caught.value.retryable, at


async def test_what_is_stored_can_be_neither_cut_nor_lengthened(manager: SecretManager, world: World) -> None:
    secret = version(world)
    raw = stored_bytes(await manager.store(secret, Plaintext(b"hunter2")))
    for changed in [raw[:end] for end in range(len(raw))] + [raw + b"\x00", raw + raw]:
        with pytest.raises(PrivySealError):
            await manager.fetch(secret, stored_value(changed))


async def test_what_was_never_stored_is_refused(manager: SecretManager, world: World) -> None:
    with pytest.raises((Tampered, NotFound)):
        await manager.fetch(version(world), Wrapped(b"\x01" + bytes(200)))


async def test_a_deletion_may_be_repeated_and_a_deleted_secret_be_made_again(
    manager: SecretManager, kind: Kind, world: World
) -> None:
    secret = version(world)
    whole = replace(secret, n=0, aad=replace(secret.aad, n=0, version=""))
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    for _ in range(2):
        if kind.deletes_versions:
            await manager.delete(secret, stored)
        else:
            with pytest.raises(Denied) as caught:
                await manager.delete(secret, stored)
            assert caught.value.code == "version_kept"
    await manager.delete(whole, None)
    await manager.delete(whole, None)
    renewed = version(world, n=2)
    stored = await manager.store(renewed, Plaintext(b"hunter3"))
    assert (await manager.fetch(renewed, stored)).reveal() == b"hunter3"
    again = version(world, "again")
    stored = await manager.store(again, Plaintext(b"again"))
    assert (await manager.fetch(again, stored)).reveal() == b"again"


async def test_concurrent_stores_do_not_mix(manager: SecretManager, world: World) -> None:
    places = [version(world, f"s{number}") for number in range(50)]
    stored = await asyncio.gather(
        *(manager.store(place, Plaintext(b"value %d" % at)) for at, place in enumerate(places))
    )
    values = await asyncio.gather(*(manager.fetch(place, one) for place, one in zip(places, stored, strict=True)))
    assert [value.reveal() for value in values] == [b"value %d" % number for number in range(50)]


async def test_no_value_is_in_what_is_stored_or_shown(manager: SecretManager, world: World) -> None:
    secret, value = version(world), b"correct horse battery staple"
    stored = await manager.store(secret, Plaintext(value))
    assert value not in stored_bytes(stored)
    shown = repr(stored) + repr(manager) + repr(await manager.fetch(secret, stored))
    assert value.decode() not in shown


async def test_another_keyrings_manager_does_not_open_a_record(make: Made, world: World) -> None:
    secret = version(world)
    stored = await make(world).store(secret, Plaintext(b"hunter2"))
    stolen_role = Keyring(world.id, world.keyring.name, [(1, world.seed("another keyring"))])
    with pytest.raises((Tampered, NotFound)):
        await make(world, stolen_role).fetch(secret, stored)


async def test_a_record_of_another_connector_is_refused(make: Made, world: World) -> None:
    secret = version(world)
    other = world.publish(world.connector_document("other"))
    manager = make(world)
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    moved = SecretVersion(
        structs.replace(secret.secret, connector=other.document.id),
        other.document,
        1,
        replace(secret.aad, connector=other.document.id),
    )
    with pytest.raises((Tampered, NotFound)):
        await manager.fetch(moved, stored)


async def test_values_outlive_a_rotation_and_the_exclusion_of_their_generation(make: Made, world: World) -> None:
    secret = version(world)
    stored = await make(world).store(secret, Plaintext(b"hunter2"))
    world.rotate()
    assert (await make(world).fetch(secret, stored)).reveal() == b"hunter2"
    world.revise_status(keyrings={world.keyring.name: 2})
    manager = make(world)
    with pytest.raises(Denied) as caught:
        await manager.fetch(secret, stored)
    assert caught.value.code == "generation_excluded"
    assert (await manager.fetch(replace(secret, excluded=True), stored)).reveal() == b"hunter2"
