"""Values that a template's scripts write and remove: what is kept of one, and what is told where it isn't there any more."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from delegate.secret_managers.fingerprint import fingerprint, fits
from delegate.secret_managers.interface import stored_bytes, stored_value
from shared.crypto.plaintext import Plaintext
from shared.errors import Conflict, Denied, Malformed, NotFound, PrivySealError, Tampered
from shared.values import Reference
from tests.fakes.custom import Custom, files
from tests.fakes.refusal import refused
from tests.fakes.versions import whole


async def test_a_template_without_a_script_that_writes_only_reads() -> None:
    made = Custom("secret=$path", remove="exit 1")
    inline = made.inline({"path": "a"})
    for attempt in (made.manager().store(inline, Plaintext(b"x")), made.manager().delete(whole(inline), None)):
        with refused(Denied, "connector_read_only"):
            await attempt


async def test_a_value_is_written_read_and_removed(tmp_path: Path) -> None:
    made, manager = files(tmp_path), files(tmp_path).manager()
    secret = made.inline({"path": "a"})
    stored = await manager.store(secret, Plaintext(b"it's $(x)\n"))
    assert isinstance(stored, Reference)
    assert (stored.locator, stored.metadata) == ('{"path":"a"}', {})
    assert (await made.manager().fetch(secret, stored_value(stored_bytes(stored)))).reveal() == b"it's $(x)\n"
    for _ in range(2):
        await manager.delete(whole(secret), stored)
    assert not (tmp_path / "a").exists()
    with refused(NotFound, "secret_empty"):
        await manager.fetch(secret, stored)


async def test_a_store_that_is_done_again_writes_again_and_reads_the_same(tmp_path: Path) -> None:
    made, manager = files(tmp_path), files(tmp_path).manager()
    secret = made.inline({"path": "a"})
    first, second = [await manager.store(secret, Plaintext(b"hunter2")) for _ in range(2)]
    assert first == second and (tmp_path / ".writes").read_text() == "a\na\n"
    assert (await manager.fetch(secret, first)).reveal() == b"hunter2"


@pytest.mark.parametrize("value", [b"", b"null", b"a\0b"])
async def test_a_value_that_no_script_could_give_back_is_not_written(value: bytes, tmp_path: Path) -> None:
    made = files(tmp_path)
    with refused(Malformed, "value_unfit"):
        await made.manager().store(made.inline({"path": "a"}), Plaintext(value))
    assert not list(tmp_path.iterdir())


async def test_an_earlier_version_is_told_to_be_replaced_and_a_store_done_again_later_is_noticed(
    tmp_path: Path,
) -> None:
    """A manager that hands over an earlier store once more brings that value back, and no newer one passes for it."""
    made, manager = files(tmp_path), files(tmp_path).manager()
    first, second = made.inline({"path": "a"}), made.inline({"path": "a"}, n=2)
    old = await manager.store(first, Plaintext(b"old"))
    new = await manager.store(second, Plaintext(b"new"))
    assert (await manager.fetch(second, new)).reveal() == b"new"
    with refused(NotFound, "version_replaced"):
        await manager.fetch(first, old)
    await manager.store(first, Plaintext(b"old"))
    with refused(NotFound, "version_replaced"):
        await manager.fetch(second, new)


async def test_what_somebody_else_put_there_is_not_what_was_stored(tmp_path: Path) -> None:
    made, manager = files(tmp_path), files(tmp_path).manager()
    secret = made.inline({"path": "a"})
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    (tmp_path / "a").write_bytes(b"hunter3")
    with pytest.raises(NotFound) as caught:
        await manager.fetch(secret, stored)
    assert caught.value.code == "version_replaced" and "hunter" not in str(caught.value)


async def test_a_fingerprint_tells_the_manager_nothing_and_outlives_a_rotation(tmp_path: Path) -> None:
    made = files(tmp_path)
    one, other = made.inline({"path": "a"}), made.inline({"path": "a"}, n=2)
    stored = [await made.manager().store(secret, Plaintext(b"hunter2")) for secret in (one, other)]
    versions = {reference.version for reference in stored if isinstance(reference, Reference)}
    assert len(versions) == 2 and all(version.startswith("1.") and len(version) == 45 for version in versions)
    made.world.rotate()
    assert (await made.manager().fetch(other, stored[1])).reveal() == b"hunter2"
    lying = structs.replace(stored[1], version="2." + "A" * 43)
    with refused(Tampered, "record_forged"):
        await made.manager().fetch(other, lying)


async def test_no_single_version_is_removed_and_without_a_script_nothing_is(tmp_path: Path) -> None:
    made, manager = files(tmp_path), files(tmp_path).manager()
    secret = made.inline({"path": "a"})
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    with refused(Denied, "version_kept"):
        await manager.delete(secret, stored)
    keeping = files(tmp_path, remove="")
    with refused(Denied, "template_cannot_remove"):
        await keeping.manager().delete(whole(keeping.inline({"path": "a"})), None)
    assert (tmp_path / "a").read_bytes() == b"hunter2"


async def test_what_a_document_refers_to_is_neither_written_nor_removed(tmp_path: Path) -> None:
    made, manager = files(tmp_path), files(tmp_path).manager()
    (tmp_path / "a").write_bytes(b"theirs")
    secret = made.version({"path": "a"})
    with refused(Malformed, "reference_with_value"):
        await manager.store(secret, Plaintext(b"mine"))
    stored = await manager.store(secret, Plaintext(b""))
    for one in (secret, whole(secret)):
        await manager.delete(one, stored)
    (tmp_path / "a").write_bytes(b"theirs, rotated")
    assert (await manager.fetch(secret, stored)).reveal() == b"theirs, rotated"


async def test_a_record_is_for_the_inputs_that_it_was_made_with(tmp_path: Path) -> None:
    made, manager = files(tmp_path), files(tmp_path).manager()
    secret = made.inline({"path": "a"})
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    with refused(Conflict, "locator_changed"):
        await manager.fetch(replace(secret, secret=structs.replace(secret.secret, metadata={"path": "b"})), stored)
    with refused(Conflict, "locator_changed"):
        await manager.delete(whole(made.inline({"path": "b"})), stored)


async def test_a_failing_script_leaves_no_record(tmp_path: Path) -> None:
    made = files(tmp_path, write='echo "$secret"; exit 7')
    with pytest.raises(PrivySealError) as caught:
        await made.manager().store(made.inline({"path": "a"}), Plaintext(b"hunter2"))
    assert caught.value.code == "script_failed" and "hunter2" not in str(caught.value)


def test_a_fingerprint_is_what_the_page_on_formats_says() -> None:
    """Step by step by the page, and by nothing of ours that makes one."""
    made = Custom()
    zone, place = made.surroundings(None).zone, made.inline({"path": "a"}).aad
    generation, locator, value = zone.current(), b'{"path":"a"}', b"hunter2"
    label = b"privyseal/v1/mac-reference"
    told = b'{"sha256":"%s"}' % base64.urlsafe_b64encode(hashlib.sha256(value).digest()).rstrip(b"=")
    parts = (label, place.encode(label), locator, told, b"", (1).to_bytes(4, "big"))
    framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    mac = base64.urlsafe_b64encode(hmac.digest(generation.mac_key, framed, "sha256")).rstrip(b"=").decode()
    assert fingerprint(zone, place, locator.decode(), Plaintext(value)) == f"1.{mac}"
    assert fits(f"1.{mac}", zone, place, locator.decode(), Plaintext(value))
    for text in (mac, "", "1.", f"x.{mac}", f"1.{mac[:-1]}", f"01.{mac}"):
        assert not fits(text, zone, place, locator.decode(), Plaintext(value))
    assert not fits(f"1.{mac}", zone, replace(place, n=2), locator.decode(), Plaintext(value))
    assert not fits(f"1.{mac}", zone, place, "{}", Plaintext(value))
