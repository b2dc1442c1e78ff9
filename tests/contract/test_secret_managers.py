"""What every kind of secret manager promises. A kind joins by a row in `tests.contract.subjects`; nothing here knows one."""

from __future__ import annotations

import asyncio
import secrets
import traceback
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from msgspec import structs

from delegate.secret_managers.interface import SecretManager, SecretVersion, stored_bytes, stored_value
from shared.crypto.keyring import Keyring
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, Malformed, NotFound, NotReady, PrivySealError, Tampered
from shared.values import Stored, Wrapped
from tests.contract.subjects import SUBJECTS, Servers, Subject
from tests.fakes.versions import whole
from tests.fakes.world import World

VALUES = {
    "text": b"hunter2",
    "empty": b"",
    "binary": bytes(range(256)),
    "unicode": "p\u00e4ssw\u00f6rd \U0001f511".encode(),
    "block of padding": b"x" * 252,
    "JSON": b'{"value": "hunter2", "privyseal-secret": "another"}',
    "lines": b"-----BEGIN X-----\r\nab\r\n-----END X-----\r\n\n",
    "zeros": bytes(3),
    "byte order mark and spaces around": "\ufeff \t hunter2 \n".encode(),
    "a zero within text": b"hunter\x002\n",
    "our own mark": b"privyseal:base64:aHVudGVyMg==",
    "our own mark before something else": b"privyseal:base64:hunter2",
    "JSON's and HTML's special characters": '"\\/<&>\u2028\u2029\x7f\uffff'.encode(),
    "64 KiB of text": b'\xc3\xa4"\n' * 16_384,
    "64 KiB": secrets.token_bytes(65_536),
    "10 MB": bytes(10_000_000),
}


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers() as running:
        yield running


@pytest.fixture
def world() -> World:
    return World()


@pytest_asyncio.fixture(params=list(SUBJECTS))
async def subject(
    request: pytest.FixtureRequest, world: World, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Subject]:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    made = SUBJECTS[request.param](world, servers)
    yield made
    await made.close()


@pytest.fixture
def manager(subject: Subject) -> SecretManager:
    return subject.manager()


async def test_a_check_of_a_working_connector_passes(manager: SecretManager) -> None:
    await manager.check()


async def test_a_manager_that_is_closed_twice_is_closed(subject: Subject) -> None:
    unused, used = subject.manager(), subject.manager()
    secret = subject.version()
    stored = await used.store(secret, Plaintext(b"hunter2"))
    for manager in (unused, used):
        await manager.close()
        await manager.close()
    assert (await subject.manager().fetch(secret, stored)).reveal() == b"hunter2"


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
async def test_what_was_stored_is_fetched(manager: SecretManager, subject: Subject, value: bytes) -> None:
    secret = subject.version()
    if len(value) > subject.longest:
        with pytest.raises(Malformed) as caught:
            await manager.store(secret, Plaintext(value))
        assert caught.value.code == "value_too_large"
        return
    if not subject.fits(value):
        with pytest.raises(Malformed) as caught:
            await manager.store(secret, Plaintext(value))
        assert caught.value.code == "value_unfit"
        return
    stored = await manager.store(secret, Plaintext(value))
    assert (await manager.fetch(secret, stored)).reveal() == value
    assert (await subject.manager().fetch(secret, stored)).reveal() == value


async def test_what_was_stored_survives_its_byte_form(manager: SecretManager, subject: Subject) -> None:
    secret = subject.version()
    stored = stored_value(stored_bytes(await manager.store(secret, Plaintext(b"hunter2"))))
    assert (await manager.fetch(secret, stored)).reveal() == b"hunter2"


async def test_a_value_stored_twice_looks_different_and_reads_the_same(
    manager: SecretManager, subject: Subject
) -> None:
    secret = subject.version()
    first = await manager.store(secret, Plaintext(b"hunter2"))
    second = await manager.store(secret, Plaintext(b"hunter2"))
    if isinstance(first, Wrapped):
        assert first != second
    for stored in (first, second):
        assert (await manager.fetch(secret, stored)).reveal() == b"hunter2"


async def test_short_values_of_different_lengths_have_records_of_one_length(
    manager: SecretManager, subject: Subject
) -> None:
    values = [one for one in (b"", b"x", b"x" * 200) if subject.fits(one)]
    assert len(values) > 1
    stored = [await manager.store(subject.version(f"s{len(one)}"), Plaintext(one)) for one in values]
    if isinstance(stored[0], Wrapped):
        assert len({len(stored_bytes(one)) for one in stored}) == 1


ELSEWHERE: dict[str, dict[str, Any]] = {
    field: {field: 2 if field == "n" else "elsewhere"}
    for field in ("account", "keyring", "scope", "secret", "n", "version", "connector")
}


@pytest.mark.parametrize("changes", ELSEWHERE.values(), ids=ELSEWHERE.keys())
async def test_a_value_does_not_come_out_at_another_place(
    manager: SecretManager, subject: Subject, changes: dict[str, Any]
) -> None:
    secret = subject.version()
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    moved = replace(secret, aad=replace(secret.aad, **changes))
    with pytest.raises((Tampered, Denied, NotFound)) as caught:
        await manager.fetch(moved, stored)
    assert "hunter2" not in str(caught.value)


async def test_one_versions_record_does_not_pass_for_anothers(manager: SecretManager, subject: Subject) -> None:
    first, second = subject.version(), subject.version(n=2)
    old = await manager.store(first, Plaintext(b"old"))
    new = await manager.store(second, Plaintext(b"new"))
    assert (await manager.fetch(second, new)).reveal() == b"new"
    with pytest.raises((Tampered, NotFound)):
        await manager.fetch(second, old)
    with pytest.raises((Tampered, NotFound)):
        await manager.fetch(first, new)


async def test_an_earlier_version_stays_what_it_was_or_is_told_to_be_gone(
    manager: SecretManager, subject: Subject
) -> None:
    versions = [subject.version(n=n) for n in (1, 2, 3)]
    stored = [await manager.store(one, Plaintext(b"value %d" % one.n)) for one in versions]
    assert (await manager.fetch(versions[2], stored[2])).reveal() == b"value 3"
    for secret, one in zip(versions[:2], stored[:2], strict=True):
        try:
            assert (await manager.fetch(secret, one)).reveal() == b"value %d" % secret.n
        except NotFound:
            assert not subject.history


async def test_one_secrets_record_does_not_pass_for_anothers(manager: SecretManager, subject: Subject) -> None:
    mine, yours = subject.version("mine"), subject.version("yours")
    stored = await manager.store(yours, Plaintext(b"hunter2"))
    await manager.store(mine, Plaintext(b"other"))
    with pytest.raises((Tampered, NotFound)):
        await manager.fetch(mine, stored)


async def test_a_change_anywhere_in_what_is_stored_is_noticed(manager: SecretManager, subject: Subject) -> None:
    secret = subject.version()
    raw = stored_bytes(await manager.store(secret, Plaintext(b"hunter2")))
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with pytest.raises(PrivySealError) as caught:
            await manager.fetch(secret, stored_value(changed))
        assert not caught.value.retryable, at


async def test_what_is_stored_can_be_neither_cut_nor_lengthened(manager: SecretManager, subject: Subject) -> None:
    secret = subject.version()
    raw = stored_bytes(await manager.store(secret, Plaintext(b"hunter2")))
    for changed in [raw[:end] for end in range(len(raw))] + [raw + b"\x00", raw + raw]:
        with pytest.raises(PrivySealError):
            await manager.fetch(secret, stored_value(changed))


async def test_what_was_never_stored_is_refused(manager: SecretManager, subject: Subject) -> None:
    with pytest.raises((Tampered, NotFound)):
        await manager.fetch(subject.version(), Wrapped(b"\x01" + bytes(200)))


async def deleted(manager: SecretManager, secret: SecretVersion, stored: Stored) -> None:
    """One version; a provider that can't delete it alone says so."""
    try:
        await manager.delete(secret, stored)
    except Denied as why:
        assert why.code == "version_kept"


async def test_a_deletion_may_be_repeated_and_a_deleted_secret_be_made_again(
    manager: SecretManager, subject: Subject
) -> None:
    secret = subject.version()
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    for _ in range(2):
        await deleted(manager, secret, stored)
    for _ in range(2):
        await manager.delete(whole(secret), None)
    again = subject.version("again")
    renewed = await manager.store(again, Plaintext(b"again"))
    assert (await manager.fetch(again, renewed)).reveal() == b"again"


async def test_what_was_deleted_is_gone_from_the_provider(manager: SecretManager, subject: Subject) -> None:
    secret, other = subject.version(), subject.version("other")
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    kept = await manager.store(other, Plaintext(b"kept"))
    await manager.delete(whole(secret), None)
    if subject.remote:
        with pytest.raises((NotFound, NotReady)):
            await subject.manager().fetch(secret, stored)
    assert (await manager.fetch(other, kept)).reveal() == b"kept"


async def test_a_secret_made_anew_under_the_same_name_is_another_one(manager: SecretManager, subject: Subject) -> None:
    old, new = subject.version(), subject.version(id=subject.world.opaque("made anew"))
    before = await manager.store(old, Plaintext(b"old"))
    await manager.delete(whole(old), None)
    after = await manager.store(new, Plaintext(b"new"))
    assert (await manager.fetch(new, after)).reveal() == b"new"
    for secret, stored in ((old, after), (new, before)):
        with pytest.raises((Tampered, NotFound)):
            await manager.fetch(secret, stored)
    try:
        assert (await manager.fetch(old, before)).reveal() == b"old"
    except (NotFound, Tampered):
        assert subject.remote
    # Whoever deletes the old one again doesn't delete the new one.
    await manager.delete(whole(old), None)
    assert (await manager.fetch(new, after)).reveal() == b"new"


async def test_concurrent_stores_do_not_mix(manager: SecretManager, subject: Subject) -> None:
    places = [subject.version(f"s{number}") for number in range(50)]
    stored = await asyncio.gather(
        *(manager.store(place, Plaintext(b"value %d" % at)) for at, place in enumerate(places))
    )
    values = await asyncio.gather(*(manager.fetch(place, one) for place, one in zip(places, stored, strict=True)))
    assert [value.reveal() for value in values] == [b"value %d" % number for number in range(50)]


async def test_no_value_is_in_what_is_stored_or_shown(manager: SecretManager, subject: Subject) -> None:
    secret, value = subject.version(), b"correct horse battery staple"
    stored = await manager.store(secret, Plaintext(value))
    assert value not in stored_bytes(stored)
    shown = repr(stored) + repr(manager) + repr(await manager.fetch(secret, stored))
    assert value.decode() not in shown


async def test_no_value_and_no_credential_is_in_any_error_or_log_line(
    manager: SecretManager, subject: Subject, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    secret, value = subject.version(), "correct horse battery staple"
    stored = await manager.store(secret, Plaintext(value.encode()))
    raw = stored_bytes(stored)
    attempts = [
        manager.fetch(replace(secret, aad=replace(secret.aad, n=2)), stored),
        manager.fetch(secret, Wrapped(raw[:-1] + bytes([raw[-1] ^ 1]))),
        manager.store(replace(secret, secret=structs.replace(secret.secret, reference="elsewhere")), Plaintext(b"x")),
        subject.manager(Keyring(subject.world.id, subject.world.keyring.name, [(1, bytes(32))])).fetch(secret, stored),
    ]
    if subject.longest < 10_000_000:
        attempts.append(manager.store(secret, Plaintext(value.encode() * subject.longest)))
    if subject.remote:
        await manager.delete(whole(secret), None)
        attempts.append(manager.fetch(secret, stored))
    told: list[str] = []
    for attempt in attempts:
        with pytest.raises(PrivySealError) as caught:
            await attempt
        told += traceback.format_exception(caught.value)
        told += [repr(caught.value), caught.value.detail, caught.value.hint, repr(caught.value.facts)]
    told += [caplog.text, *capsys.readouterr()]
    for one in (value.encode(), *(one for name, one in subject.credentials.items() if name != "account.id")):
        assert not any(one.decode() in line for line in told)


async def test_another_keyrings_manager_does_not_open_a_record(manager: SecretManager, subject: Subject) -> None:
    secret = subject.version()
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    world = subject.world
    stolen_role = Keyring(world.id, world.keyring.name, [(1, world.seed("another keyring"))])
    with pytest.raises((Tampered, NotFound)):
        await subject.manager(stolen_role).fetch(secret, stored)


async def test_a_record_of_another_connector_is_refused(manager: SecretManager, subject: Subject) -> None:
    secret, world = subject.version(), subject.world
    other = world.publish(world.connector_document("other", type=subject.connector.type, spec=subject.connector.spec))
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    moved = SecretVersion(
        structs.replace(secret.secret, connector=other.document.id),
        other.document,
        1,
        replace(secret.aad, connector=other.document.id),
    )
    with pytest.raises((Tampered, NotFound)):
        await manager.fetch(moved, stored)


async def test_values_outlive_a_rotation_and_the_exclusion_of_their_generation(subject: Subject) -> None:
    secret, world = subject.version(), subject.world
    stored = await subject.manager().store(secret, Plaintext(b"hunter2"))
    world.rotate()
    assert (await subject.manager().fetch(secret, stored)).reveal() == b"hunter2"
    world.revise_status(keyrings={world.keyring.name: 2})
    manager = subject.manager()
    with pytest.raises(Denied) as caught:
        await manager.fetch(secret, stored)
    assert caught.value.code == "generation_excluded"
    assert (await manager.fetch(replace(secret, excluded=True), stored)).reveal() == b"hunter2"


async def test_a_value_is_not_stored_for_a_secret_that_refers_to_one_elsewhere(
    manager: SecretManager, subject: Subject
) -> None:
    with pytest.raises(Malformed):
        await manager.store(subject.version(reference="elsewhere"), Plaintext(b"hunter2"))
