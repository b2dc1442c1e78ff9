"""A task's connectors get the credentials that they name, once, from their own managers, and nobody else's."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from delegate.data_keys import DataKeys
from delegate.keychain import REFERENCE_SECONDS, Keychain, read_stored, version_of
from delegate.policy import LocalPolicy
from delegate.secret_managers.direct import Direct
from delegate.secret_managers.interface import SecretManager, SecretVersion, Surroundings, stored_bytes
from delegate.secret_managers.registry import Registry
from delegate.zone import Zone
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.errors import Denied, NotFound, PrivySealError, Tampered, Unavailable
from shared.trust.warrant import Warrant, warrant
from tests.fakes.closing import StandingClock
from tests.fakes.keyed import Keyed, KeyedManager
from tests.fakes.refusal import refused
from tests.fakes.shelf import Shelf
from tests.fakes.world import Version, World

VALUE, KEY = b"hunter2", b"AKIAIOSFODNN7EXAMPLE"


class House:
    """One delegate's registry beside a world; `records` are what a manager keeps, by secret and number."""

    def __init__(self, policy: str = 'kinds = ["*"]') -> None:
        self.world = World()
        self.book = self.world.book()
        self.known = len(self.world.documents)
        self.keyed = Keyed()
        self.shelf = Shelf()
        self.clock = StandingClock()
        zone = Zone(self.world.keyring, self.book)
        self.surroundings = Surroundings(
            zone,
            LocalPolicy.parse(policy, ["Local"]),
            secrets.token_bytes,
            self.clock,
            data_keys=DataKeys(self.clock),
        )
        self.registry = Registry({**self.keyed.kinds(), "Shelf": self}, self.surroundings)
        self.records: dict[tuple[str, int], bytes] = {}

    def load(self) -> object:
        """The kind `Shelf`, as an entry point gives it."""

        def kind(
            connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
        ) -> SecretManager:
            return Direct(self.shelf, surroundings.zone)

        return kind

    async def store(
        self,
        name: str,
        value: bytes,
        connector: Verified[ConnectorDocument] | None = None,
        after: Version | None = None,
        reference: str = "",
        **held: bytes,
    ) -> Version:
        """A version of a secret and its record, made by a manager of its connector with the credentials `held`."""
        connector = connector or self.world.connector
        if after is None:
            secret = self.world.secret(name, connector=connector.document.id, reference=reference)
        else:
            secret = after.secret
        version = self.world.store(secret, value, after=after)
        kind = await self.registry._kind(connector.document.type)
        given = {f"account.{name}": Plaintext(held[name]) for name in held}
        manager = kind(connector.document, self.surroundings, given)
        place = self.world.place(secret, version.n, version.task.digest)
        made = await manager.store(
            SecretVersion(secret.document, connector.document, version.n, place), Plaintext(value)
        )
        self.records[secret.document.id, version.n] = stored_bytes(made)
        return version

    def warrant(self, versions: Sequence[Version]) -> Warrant:
        for compact in self.world.documents[self.known :]:
            self.book.admit(compact, self.world.now)
        self.known = len(self.world.documents)
        return warrant(self.book, self.world.reveal(versions), self.world.now)

    @asynccontextmanager
    async def task(self, *versions: Version) -> AsyncIterator[tuple[Warrant, Keychain]]:
        """A task that was checked, with its keychain; what is lent is given back at the end."""
        granted = self.warrant(versions)
        records = [self.records[one.secret or "", one.n] for one in granted.task.document.credentials]
        async with AsyncExitStack() as stack:
            yield granted, Keychain(granted, records, self.registry, stack)

    async def reveal(self, *versions: Version) -> list[Plaintext]:
        """The values, or the first error."""
        found = []
        async with self.task(*versions) as (granted, keychain):
            for use in granted.uses:
                manager = await keychain.manager(use.connector)
                if isinstance(manager, PrivySealError):
                    raise manager
                version = version_of(granted.task.document, use, use.target.version or "")
                found.append(
                    await manager.fetch(version, read_stored(self.records[use.target.secret or "", version.n]))
                )
        return found

    def names(self) -> list[str]:
        return [one.identifier for one in self.keyed.made]


class Chain(House):
    """A secret in `upper`, whose credential `key` is in `lower`, whose credential `root` is in the built-in manager."""

    async def built(self) -> Version:
        self.lower = self.world.connector_with("lower", ["account.root"])
        self.upper = self.world.connector_with("upper", ["account.key"])
        self.root = await self.store("root", b"root value")
        self.key = await self.store("key", KEY, self.lower, root=b"root value")
        self.version = await self.store("password", VALUE, self.upper, key=KEY)
        self.keyed.made.clear()
        return self.version


def never_shown(error: PrivySealError) -> None:
    """No value is in an error, nor what one looks like when it is encoded."""
    text = repr((error, error.detail, error.hint, error.facts, error.problem()))
    for value in (VALUE, KEY, b"root value"):
        assert value.decode() not in text
        assert value.hex() not in text


async def test_credentials_come_through_a_chain_of_two_and_each_connector_gets_its_own_alone() -> None:
    house = Chain()
    version = await house.built()
    assert await house.reveal(version) == [Plaintext(VALUE)]
    assert house.names() == ["lower", "upper"]
    lower, upper = house.keyed.made
    assert lower.secrets == {"account.root": Plaintext(b"root value")}
    assert upper.secrets == {"account.key": Plaintext(KEY)}


async def test_a_connector_without_credentials_gets_none() -> None:
    house = House()
    plain = house.world.connector_with("plain", [])
    version = await house.store("password", VALUE, plain)
    await house.store("bystander", KEY)
    assert await house.reveal(version) == [Plaintext(VALUE)]
    assert house.keyed.made[-1].secrets == {}


async def test_a_second_task_resolves_nothing_again_whatever_records_come_with_it() -> None:
    house = Chain()
    version = await house.built()
    for _ in range(3):
        assert await house.reveal(version) == [Plaintext(VALUE)]
    house.records[house.key.secret.document.id, 1] = b"\x01 not a record"
    house.keyed.failures["lower"] = Unavailable("unavailable", "gone", "later")
    assert await house.reveal(version) == [Plaintext(VALUE)]
    assert house.names() == ["lower", "upper"]
    assert house.keyed.asked == ["lower", "upper"]


async def test_a_task_asks_for_each_manager_once_and_holders_are_shared() -> None:
    house = Chain()
    version = await house.built()
    twin = house.world.connector_with("twin", ["account.key"])
    other = await house.store("other", b"other value", twin, key=KEY)
    another = await house.store("another", b"another value", house.upper, key=KEY)
    house.keyed.made.clear()
    values = await house.reveal(version, other, another)
    assert values == [Plaintext(VALUE), Plaintext(b"other value"), Plaintext(b"another value")]
    assert house.names() == ["lower", "upper", "twin"]


async def test_tasks_at_the_same_moment_share_a_manager() -> None:
    house = Chain()
    version = await house.built()
    house.keyed.gates["lower"].clear()
    tasks = [asyncio.create_task(house.reveal(version)) for _ in range(5)]
    async with asyncio.timeout(15):
        while not house.keyed.asked:
            await asyncio.sleep(0)
    house.keyed.gates["lower"].set()
    assert await asyncio.gather(*tasks) == [[Plaintext(VALUE)]] * 5
    assert house.names() == ["lower", "upper"]
    assert house.keyed.asked == ["lower", "upper"]


@pytest.mark.parametrize("wrong", ["another's", "older", "flipped", "cut", "unknown form", "garbage"])
async def test_a_wrong_record_for_a_credential_is_refused_by_the_credentials_name(wrong: str) -> None:
    house = Chain()
    version = await house.built()
    key = house.key.secret.document.id
    right = house.records[key, 1]
    if wrong == "older":
        newer = await house.store("key", b"newer " + KEY, house.lower, after=house.key, root=b"root value")
        house.records[key, newer.n] = right
    else:
        house.records[key, 1] = {
            "another's": house.records[house.root.secret.document.id, 1],
            "flipped": right[:-1] + bytes([right[-1] ^ 1]),
            "cut": right[:-1],
            "unknown form": b"\x07" + right[1:],
            "garbage": b"\x01" + secrets.token_bytes(300),
        }[wrong]
    house.keyed.made.clear()
    with pytest.raises(PrivySealError) as caught:
        await house.reveal(version)
    assert (type(caught.value), caught.value.code) == (Tampered, "record_forged")
    assert "the credential account.key of the connector upper can't be had" in caught.value.detail
    never_shown(caught.value)
    assert house.keyed.of("upper") == []
    house.records[key, 1] = right
    if wrong != "older":
        assert await house.reveal(version) == [Plaintext(VALUE)]


async def test_a_record_that_the_manager_lacks_is_missing_and_not_forged() -> None:
    house = Chain()
    version = await house.built()
    house.records[house.key.secret.document.id, 1] = b""
    with refused(NotFound, "version_missing"):
        await house.reveal(version)


async def test_at_the_end_of_a_chain_a_wrong_record_names_every_link() -> None:
    house = Chain()
    version = await house.built()
    house.records[house.root.secret.document.id, 1] = house.records[house.key.secret.document.id, 1]
    with pytest.raises(Tampered) as caught:
        await house.reveal(version)
    assert "account.key of the connector upper" in caught.value.detail
    assert "account.root of the connector lower" in caught.value.detail
    never_shown(caught.value)
    assert house.names() == []


async def test_a_credential_whose_manager_fails_fails_its_connector_alone_and_is_asked_for_again() -> None:
    house = Chain()
    version = await house.built()
    plain = await house.store("plain", b"plain value")
    house.keyed.failures["lower"] = Unavailable("provider_unavailable", "it is gone", "try later", seconds=3)
    async with house.task(version, plain) as (granted, keychain):
        failed, fine = [await keychain.manager(use.connector) for use in granted.uses]
        again = await keychain.manager(house.upper)
    assert isinstance(failed, Unavailable)
    assert (failed.code, failed.hint, failed.facts) == ("provider_unavailable", "try later", {"seconds": 3})
    assert failed.retryable
    assert failed.detail.startswith("the credential account.key of the connector upper can't be had: ")
    assert again is failed
    assert not isinstance(fine, PrivySealError)
    assert house.keyed.of("upper") == []
    house.keyed.failures.clear()
    assert await house.reveal(version) == [Plaintext(VALUE)]


async def test_a_kind_that_the_local_policy_forbids_holds_no_credentials() -> None:
    house = House('kinds = ["Local", "AwsKms"]')
    holder = house.world.publish(house.world.connector_document("holder", type="Shelf"))
    upper = house.world.connector_with("upper", ["account.key"])
    key = house.world.store(house.world.secret("key", connector=holder.document.id), KEY)
    house.records[key.secret.document.id, 1] = key.record.raw
    version = await house.store("password", VALUE, upper, key=KEY)
    with pytest.raises(Denied, match="doesn't allow the kind Shelf") as caught:
        await house.reveal(version)
    assert (caught.value.code, caught.value.facts) == ("local_policy", {"rule": "kinds"})
    assert house.shelf.calls == []


async def test_a_bug_in_a_credentials_manager_is_internal_and_tells_nothing() -> None:
    house = Chain()
    version = await house.built()
    house.keyed.failures["lower"] = RuntimeError(KEY.decode())
    with capture_logs() as lines, refused(Unavailable, "internal"):
        await house.reveal(version)
    assert [line["event"] for line in lines] == ["connector.crashed"]


async def test_a_new_version_of_a_credential_makes_new_managers_and_the_old_ones_go_with_their_keys() -> None:
    house = Chain()
    version = await house.built()
    assert await house.reveal(version) == [Plaintext(VALUE)]
    (old,) = house.keyed.of("upper")
    await house.store("key", b"a rotated key", house.lower, after=house.key, root=b"root value")
    # The provider doesn't know the old key any more, and what was unwrapped with it must not be served.
    with refused(Tampered, "decryption_failed"):
        await house.reveal(version)
    assert await closed(old) == 1
    new = house.keyed.of("upper")[-1]
    assert new is not old
    assert new.secrets == {"account.key": Plaintext(b"a rotated key")}
    assert house.keyed.asked.count("upper") == 2


async def test_a_credential_below_the_floor_is_not_used_under_another_number() -> None:
    house = Chain()
    version = await house.built()
    assert await house.reveal(version) == [Plaintext(VALUE)]
    await house.store("key", b"a rotated key", house.lower, after=house.key, root=b"root value")
    house.world.revise_status(secrets={house.key.secret.document.id: 2})
    # Whoever signs the task says which number the version has: the manager that is kept must not stand for both.
    task = house.world.reveal([version])
    told = [
        structs.replace(one, version=house.key.task.digest) if one.secret == house.key.secret.document.id else one
        for one in task.document.credentials
    ]
    house.warrant([version])
    lying = house.world.reveal([version], credentials=tuple(told), pins=task.document.pins)
    granted = warrant(house.book, lying, house.world.now)
    records = [house.records[one.secret or "", one.n] for one in told]
    async with AsyncExitStack() as stack:
        manager = await Keychain(granted, records, house.registry, stack).manager(house.upper)
    assert isinstance(manager, Tampered)


async def test_what_a_running_task_borrowed_stays_open_while_a_newer_credential_is_used() -> None:
    house = Chain()
    version = await house.built()
    async with house.task(version) as (_, keychain):
        old = await keychain.manager(house.upper)
        assert isinstance(old, KeyedManager)
        await house.store("key", b"a rotated key", house.lower, after=house.key, root=b"root value")
        async with house.task(version) as (_, other):
            assert await other.manager(house.upper) is not old
        assert old.closed == 0
    assert await closed(old) == 1


async def test_a_credential_of_a_generation_that_was_excluded_meanwhile_is_not_used_any_longer() -> None:
    house = Chain()
    version = await house.built()
    rotated = house.world.rotate()
    house.surroundings.zone.keyring = house.world.keyring
    fresh = await house.store("fresh", b"fresh value", house.upper, key=KEY)
    assert await house.reveal(version) == [Plaintext(VALUE)]
    house.world.revise_status(keyrings={rotated.document.id: 2})
    # Whoever stole the old keyring may have made the credential that everything is stored with now.
    for one in (version, fresh):
        with pytest.raises(Denied) as caught:
            await house.reveal(one)
        assert caught.value.code == "generation_excluded"
        assert "account.key of the connector upper" in caught.value.detail
    assert len(house.keyed.of("upper")) == 2


async def test_a_credential_that_is_kept_elsewhere_is_asked_for_anew_after_a_while() -> None:
    house = House()
    shelved = house.world.publish(house.world.connector_document("shelf", type="Shelf"))
    upper = house.world.connector_with("upper", ["account.key"])
    house.shelf.place("team/key", KEY.decode())
    await house.store("key", b"", shelved, reference="team/key")
    version = await house.store("password", VALUE, upper, key=KEY)
    house.keyed.made.clear()
    house.shelf.calls.clear()
    assert await house.reveal(version) == [Plaintext(VALUE)]
    house.shelf.place("team/key", "rotated by its owner")
    house.clock.at += REFERENCE_SECONDS - 1
    assert await house.reveal(version) == [Plaintext(VALUE)]
    assert house.shelf.calls == ["read"]
    house.clock.at += 1
    with refused(Tampered, "decryption_failed"):
        await house.reveal(version)
    old, new = house.keyed.of("upper")
    assert new.secrets == {"account.key": Plaintext(b"rotated by its owner")}
    assert await closed(old) == 1


async def test_a_cancelled_task_gives_back_the_managers_of_its_credentials_too() -> None:
    house = Chain()
    version = await house.built()
    house.keyed.gates["upper"].clear()
    task = asyncio.create_task(house.reveal(version))
    async with asyncio.timeout(15):
        while "upper" not in house.keyed.asked:
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await house.registry.close()
    assert [one.closed for one in house.keyed.made] == [1, 1]


async def closed(manager: KeyedManager) -> int:
    async with asyncio.timeout(15):
        while not manager.closed:
            await asyncio.sleep(0)
    return manager.closed
