"""What every kind promises that only reads what its provider has. A kind joins by a row in `tests.contract.subjects.READERS`."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from msgspec import structs

from delegate.secret_managers.interface import SecretManager, stored_bytes, stored_value
from shared.crypto.keyring import Keyring
from shared.crypto.plaintext import Plaintext
from shared.errors import Conflict, Denied, Malformed, NotFound, PrivySealError, Tampered
from shared.values import Wrapped
from tests.contract.subjects import EVERY, READERS, SUBJECTS, Servers, Subject
from tests.contract.test_secret_managers import VALUES
from tests.fakes.versions import whole
from tests.fakes.world import World


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers() as running:
        yield running


@pytest_asyncio.fixture(params=list(READERS))
async def subject(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[Subject]:
    made = READERS[request.param](World(), servers)
    yield made
    await made.close()


@pytest.fixture
def manager(subject: Subject) -> SecretManager:
    return subject.manager()


def test_no_row_stands_in_both_tables() -> None:
    assert len(EVERY) == len(SUBJECTS) + len(READERS)


async def test_a_check_of_a_working_connector_passes(manager: SecretManager) -> None:
    await manager.check()


async def test_what_the_provider_has_is_fetched(manager: SecretManager, subject: Subject) -> None:
    held = {name: value for name, value in VALUES.items() if len(value) <= subject.longest and subject.fits(value)}
    assert "text" in held
    for name, value in held.items():
        secret, nothing = subject.holding(value)
        stored = stored_value(stored_bytes(await manager.store(secret, nothing)))
        assert (await manager.fetch(secret, stored)).reveal() == value, name
        assert (await subject.manager().fetch(secret, stored)).reveal() == value, name


async def test_a_member_of_a_json_object_is_selected(manager: SecretManager, subject: Subject) -> None:
    secret, nothing = subject.holding(b'{"user": {"name": "eve"}, "user.age": 7}' if subject.members else b"eve")
    if not subject.members:
        # A key is a property of the provider's own, and what isn't one is not found either.
        absent = structs.replace(secret.secret, reference=f"{secret.secret.reference}#NoSuchProperty")
        with pytest.raises(NotFound):
            await manager.store(replace(secret, secret=absent), nothing)
        return
    for key, value in (("user.name", b"eve"), ("user.age", b"7")):
        chosen = structs.replace(secret.secret, reference=f"{secret.secret.reference}#{key}")
        stored = await manager.store(replace(secret, secret=chosen), nothing)
        assert (await manager.fetch(replace(secret, secret=chosen), stored)).reveal() == value
    missing = structs.replace(secret.secret, reference=f"{secret.secret.reference}#password")
    with pytest.raises(NotFound) as caught:
        await manager.store(replace(secret, secret=missing), nothing)
    assert caught.value.code == "key_missing" and "eve" not in str(caught.value)


async def test_a_manager_that_is_closed_twice_is_closed(subject: Subject) -> None:
    unused, used = subject.manager(), subject.manager()
    secret, nothing = subject.holding(b"hunter2")
    stored = await used.store(secret, nothing)
    for manager in (unused, used):
        await manager.close()
        await manager.close()
    assert (await subject.manager().fetch(secret, stored)).reveal() == b"hunter2"


async def test_nothing_is_written_or_deleted(manager: SecretManager, subject: Subject) -> None:
    inline = subject.version("inline")
    for attempt in (manager.store(inline, Plaintext(b"hunter2")), manager.delete(whole(inline), None)):
        with pytest.raises(Denied) as caught:
            await attempt
        assert caught.value.code == "connector_read_only"
    secret, nothing = subject.holding(b"kept")
    with pytest.raises(Malformed):
        await manager.store(secret, Plaintext(b"hunter2"))
    stored = await manager.store(secret, nothing)
    await manager.delete(secret, stored)
    await manager.delete(whole(secret), None)
    assert (await manager.fetch(secret, stored)).reveal() == b"kept"


async def test_what_is_not_there_is_not_found(manager: SecretManager, subject: Subject) -> None:
    secret, nothing = subject.holding(b"hunter2")
    path = secret.secret.reference
    elsewhere = structs.replace(secret.secret, reference=path[:-5] + "nowhere"[: len(path)] + path[-5:])
    with pytest.raises(NotFound):
        await manager.store(replace(secret, secret=elsewhere), nothing)


async def test_a_record_holds_at_its_own_place_alone(manager: SecretManager, subject: Subject) -> None:
    secret, nothing = subject.holding(b"hunter2")
    stored = await manager.store(secret, nothing)
    for name in ("account", "keyring", "scope", "secret", "n", "version", "connector"):
        change: Any = {name: 2 if name == "n" else "elsewhere"}
        moved = replace(secret, aad=replace(secret.aad, **change))
        with pytest.raises((Tampered, Denied, NotFound)):
            await manager.fetch(moved, stored)
    raw = stored_bytes(stored)
    for at in range(len(raw)):
        with pytest.raises(PrivySealError) as caught:
            await manager.fetch(secret, stored_value(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]))
        assert not caught.value.retryable, at
    with pytest.raises((Tampered, NotFound)):
        await manager.fetch(secret, Wrapped(b"\x01" + bytes(200)))
    other = structs.replace(secret.secret, reference=secret.secret.reference + "#key")
    with pytest.raises(Conflict) as changed:
        await manager.fetch(replace(secret, secret=other), stored)
    assert changed.value.code == "locator_changed"


async def test_another_keyrings_manager_does_not_take_a_record(manager: SecretManager, subject: Subject) -> None:
    secret, nothing = subject.holding(b"hunter2")
    stored = await manager.store(secret, nothing)
    world = subject.world
    stolen_role = Keyring(world.id, world.keyring.name, [(1, world.seed("another keyring"))])
    with pytest.raises((Tampered, NotFound)):
        await subject.manager(stolen_role).fetch(secret, stored)


async def test_no_value_and_no_credential_is_in_any_error_or_log_line(
    manager: SecretManager, subject: Subject, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    value = b"correct horse battery staple"
    secret, nothing = subject.holding(value)
    stored = await manager.store(secret, nothing)
    assert value not in stored_bytes(stored)
    keyed = structs.replace(secret.secret, reference=secret.secret.reference + "#key")
    attempts = [
        manager.fetch(replace(secret, aad=replace(secret.aad, n=2)), stored),
        manager.store(replace(secret, secret=keyed), nothing),
        manager.store(replace(secret, secret=structs.replace(secret.secret, reference="elsewhere")), nothing),
        manager.store(subject.version("inline"), Plaintext(value)),
    ]
    told = [repr(stored), repr(manager), repr(await manager.fetch(secret, stored))]
    for attempt in attempts:
        with pytest.raises(PrivySealError) as caught:
            await attempt
        told += traceback.format_exception(caught.value)
        told += [repr(caught.value), caught.value.detail, caught.value.hint, repr(caught.value.facts)]
    told += [caplog.text, *capsys.readouterr()]
    for one in (value, *subject.credentials.values()):
        assert not any(one.decode() in line for line in told)
