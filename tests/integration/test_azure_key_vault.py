"""Azure Key Vault by Azure's own libraries before a stand-in of its REST API: names, owners, versions, recovery, purging."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from delegate.clock import Clock
from delegate.secret_managers.azure_key_vault import LONGEST_BYTES, LONGEST_VALUE, NUMBER_TAG, TASK_TAG
from delegate.secret_managers.ownership import ACCOUNT_TAG, CREATOR_TAG, SECRET_TAG
from shared.crypto.plaintext import Plaintext
from shared.errors import Conflict, Denied, Malformed, NotFound, NotReady, Tampered, Unavailable
from shared.values import Reference
from tests.architecture.source import ROOT
from tests.fakes.azure import Stage
from tests.fakes.versions import whole
from tests.servers.azure import CLIENT, Azure


@pytest_asyncio.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    with Azure() as azure:
        monkeypatch.setenv("SSL_CERT_FILE", str(azure.authority))
        made = Stage(azure)
        yield made
        await made.close()


def reference(stage: Stage, text: str, **metadata: str) -> Any:
    return stage.version("ref", reference=text, metadata=metadata)


async def test_a_value_lies_there_as_text_under_its_own_name_and_tags(stage: Stage) -> None:
    secret = stage.version("my_Secret", scope="org/acme/project/Web")
    stored = await stage.manager().store(secret, Plaintext("pässword".encode()))
    assert isinstance(stored, Reference)
    assert stored.locator == "acme-0-web-0my---secret"
    kept = stage.azure.vault.newest(stored.locator)
    assert (kept.value, kept.id) == ("pässword", stored.version)
    assert kept.tags == {
        CREATOR_TAG: "PrivySeal",
        ACCOUNT_TAG: secret.secret.acct,
        SECRET_TAG: secret.secret.id,
        TASK_TAG: secret.aad.version,
        NUMBER_TAG: "1",
    }


async def test_a_use_costs_one_call_and_storing_two(stage: Stage) -> None:
    manager, secret = stage.manager(), stage.version()
    stored = await manager.store(secret, Plaintext(b"x"))
    await manager.fetch(secret, stored)
    assert [method for method, _ in stage.azure.requests] == ["GET", "PUT", "GET"]


async def test_the_test_of_a_connector_needs_no_right_but_get(stage: Stage) -> None:
    stage.azure.vault.rights[CLIENT] = frozenset({"secrets/get"})
    await stage.manager().check()
    assert [method for method, _ in stage.azure.requests] == ["GET"]
    stage.azure.vault.rights[CLIENT] = frozenset()
    with pytest.raises(Denied) as caught:
        await stage.manager().check()
    assert caught.value.code == "azure_denied"
    assert "secrets/get" in caught.value.detail
    assert CLIENT in caught.value.detail


async def test_each_version_is_read_by_its_own_id_whatever_is_newest(stage: Stage) -> None:
    manager, first, second = stage.manager(), stage.version(), stage.version(n=2)
    stored = [await manager.store(first, Plaintext(b"one")), await manager.store(second, Plaintext(b"two"))]
    stage.azure.vault.put("acme-0db", "somebody else's")
    assert (await manager.fetch(first, stored[0])).reveal() == b"one"
    assert (await manager.fetch(second, stored[1])).reveal() == b"two"


async def test_a_store_task_that_is_repeated_adds_nothing_also_after_a_newer_one(stage: Stage) -> None:
    manager, first, second = stage.manager(), stage.version(), stage.version(n=2)
    one = await manager.store(first, Plaintext(b"one"))
    assert await stage.manager().store(first, Plaintext(b"one")) == one
    await manager.store(second, Plaintext(b"two"))
    assert await manager.store(first, Plaintext(b"one")) == one
    assert [version.value for version in stage.azure.vault.secrets["acme-0db"]] == ["one", "two"]
    with pytest.raises(Conflict) as caught:
        await manager.store(first, Plaintext(b"other"))
    assert caught.value.code == "version_exists"


async def test_a_repeat_is_found_among_many_pages_of_versions(stage: Stage) -> None:
    manager = stage.manager()
    stored = [await manager.store(stage.version(n=n), Plaintext(b"%d" % n)) for n in range(1, 9)]
    assert await manager.store(stage.version(n=7), Plaintext(b"7")) == stored[6]
    assert len(stage.azure.vault.secrets["acme-0db"]) == 8


async def test_writers_at_once_each_keep_their_own_version(stage: Stage) -> None:
    manager = stage.manager()
    await manager.store(stage.version(), Plaintext(b"zero"))
    rivals = [stage.version(n=2, task=f"writer {at}") for at in range(5)]
    stored = await asyncio.gather(*(manager.store(one, Plaintext(b"%d" % at)) for at, one in enumerate(rivals)))
    assert len(stage.azure.vault.secrets["acme-0db"]) == 6
    for at, (one, kept) in enumerate(zip(rivals, stored, strict=True)):
        assert (await manager.fetch(one, kept)).reveal() == b"%d" % at


async def test_what_others_made_gets_no_version_and_is_not_deleted(stage: Stage) -> None:
    stage.azure.vault.put("acme-0db", "theirs")
    with pytest.raises(Conflict) as caught:
        await stage.manager().store(stage.version(), Plaintext(b"x"))
    assert caught.value.code == "origin_foreign"
    await stage.manager().delete(whole(stage.version()), None)
    assert stage.azure.vault.newest("acme-0db").value == "theirs"
    stage.azure.vault.put("acme-0db", "theirs", {ACCOUNT_TAG: "another", SECRET_TAG: "another"})
    with pytest.raises(Conflict) as caught:
        await stage.manager().store(stage.version(), Plaintext(b"x"))
    assert caught.value.code == "origin_other"


async def test_names_that_differ_in_case_alone_are_two_secrets(stage: Stage) -> None:
    manager = stage.manager()
    secrets = [stage.version(name) for name in ("db", "DB", "Db", "d_b")]
    stored = [await manager.store(one, Plaintext(one.secret.identifier.encode())) for one in secrets]
    for one, kept in zip(secrets, stored, strict=True):
        assert (await manager.fetch(one, kept)).reveal() == one.secret.identifier.encode()


# ---- deleting, recovering, purging


async def test_a_deleted_secret_is_soft_deleted_and_storing_again_recovers_it(stage: Stage) -> None:
    stage.azure.vault.lag = 2
    manager, old = stage.manager(), stage.version()
    await manager.store(old, Plaintext(b"old"))
    await manager.delete(whole(old), None)
    assert not stage.azure.vault.secrets
    stage.azure.vault.deleted["acme-0db"].seen_in = 0
    new = stage.version(id=stage.world.opaque("made anew"))
    stored = await manager.store(new, Plaintext(b"new"))
    assert (await manager.fetch(new, stored)).reveal() == b"new"
    assert [one.value for one in stage.azure.vault.secrets["acme-0db"]] == ["old", "new"]
    # Whoever deletes the old one again doesn't delete the new one.
    await manager.delete(whole(old), None)
    assert (await manager.fetch(new, stored)).reveal() == b"new"


async def test_what_others_deleted_is_not_recovered(stage: Stage) -> None:
    vault = stage.azure.vault
    vault.put("acme-0db", "theirs")
    vault.answer(CLIENT, "DELETE", "/secrets/acme-0db", {"api-version": "7.6"}, {})
    with pytest.raises(Conflict) as caught:
        await stage.manager().store(stage.version(), Plaintext(b"x"))
    assert caught.value.code == "origin_foreign"
    assert set(vault.deleted) == {"acme-0db"}


async def test_what_is_recovered_in_vain_is_deleted_again(stage: Stage) -> None:
    manager = stage.manager()
    await manager.store(stage.version(), Plaintext(b"old"))
    await manager.delete(whole(stage.version()), None)
    stage.azure.fail(
        "/secrets/acme-0db", 409, {"error": {"code": "Conflict", "innererror": {"code": _DELETED}}}, method="PUT"
    )
    stage.azure.fail("/secrets/acme-0db", 403, {"error": {"code": "Forbidden"}}, method="PUT")
    with pytest.raises(Denied):
        await manager.store(stage.version(n=2), Plaintext(b"new"))
    assert set(stage.azure.vault.deleted) == {"acme-0db"}
    assert not stage.azure.vault.secrets


async def test_what_was_recovered_though_nobody_heard_of_it_is_written(stage: Stage) -> None:
    manager = stage.manager()
    await manager.store(stage.version(), Plaintext(b"old"))
    await manager.delete(whole(stage.version()), None)
    # The answer to a first try was lost.
    vault = stage.azure.vault
    vault.lag = 1
    vault.answer(CLIENT, "POST", "/deletedsecrets/acme-0db/recover", {"api-version": "7.6"}, {})
    deleted = {"error": {"code": "Conflict", "innererror": {"code": _DELETED}}}
    stage.azure.fail("/secrets/acme-0db", 409, deleted, method="PUT")
    shown = {"id": f"{vault.url}/deletedsecrets/acme-0db", "attributes": {}, "recoveryId": "x"}
    tags = {ACCOUNT_TAG: stage.world.id}
    stage.azure.fail("/deletedsecrets/acme-0db", 200, {**shown, "tags": tags}, method="GET")
    second = stage.version(n=2)
    assert (await manager.fetch(second, await manager.store(second, Plaintext(b"new")))).reveal() == b"new"


class Leaping(Clock):
    """Each look at it is twenty seconds after the one before."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def monotonic(self) -> float:
        self._seconds += 20
        return self._seconds


async def test_a_deletion_that_does_not_end_is_not_waited_for_without_an_end(stage: Stage) -> None:
    stage.azure.vault.lag = 1_000
    manager = stage.manager(stage.surroundings(clock=Leaping()), enablePurge=True)
    await manager.store(stage.version(), Plaintext(b"x"))
    with pytest.raises(Unavailable) as caught:
        await manager.delete(whole(stage.version()), None)
    assert caught.value.code == "secret_changing"
    assert caught.value.detail.startswith("Failed to complete the purge")


async def test_to_recover_needs_its_right_which_is_named(stage: Stage) -> None:
    manager = stage.manager()
    await manager.store(stage.version(), Plaintext(b"old"))
    await manager.delete(whole(stage.version()), None)
    stage.azure.vault.rights[CLIENT] -= {"secrets/recover"}
    with pytest.raises(Denied, match="secrets/recover"):
        await manager.store(stage.version(n=2), Plaintext(b"new"))


async def test_purging_waits_for_the_deletion_and_leaves_nothing(stage: Stage) -> None:
    stage.azure.vault.lag = 2
    manager = stage.manager(enablePurge=True)
    await manager.store(stage.version(), Plaintext(b"x"))
    await manager.delete(whole(stage.version()), None)
    assert not stage.azure.vault.secrets
    assert not stage.azure.vault.deleted
    await manager.delete(whole(stage.version()), None)


async def test_a_purge_that_failed_is_made_up_for_by_deleting_again(stage: Stage) -> None:
    manager = stage.manager(enablePurge=True)
    await manager.store(stage.version(), Plaintext(b"x"))
    stage.azure.vault.rights[CLIENT] -= {"secrets/purge"}
    with pytest.raises(Denied) as caught:
        await manager.delete(whole(stage.version()), None)
    assert caught.value.code == "azure_denied"
    assert caught.value.detail.startswith("Failed to complete the purge")
    assert "secrets/purge" in caught.value.detail
    stage.azure.vault.rights[CLIENT] |= {"secrets/purge"}
    await manager.delete(whole(stage.version()), None)
    assert not stage.azure.vault.deleted


async def test_a_vault_with_purge_protection_says_so(stage: Stage) -> None:
    manager = stage.manager(enablePurge=True)
    await manager.store(stage.version(), Plaintext(b"x"))
    stage.azure.vault.purge_protected = True
    with pytest.raises(Denied) as caught:
        await manager.delete(whole(stage.version()), None)
    assert caught.value.code == "purge_protected"
    assert set(stage.azure.vault.deleted) == {"acme-0db"}


async def test_a_single_version_is_kept_and_that_is_said(stage: Stage) -> None:
    manager, secret = stage.manager(), stage.version()
    stored = await manager.store(secret, Plaintext(b"x"))
    with pytest.raises(Denied) as caught:
        await manager.delete(secret, stored)
    assert caught.value.code == "version_kept"


# ---- states and limits


async def test_a_disabled_version_is_told_and_can_still_be_followed_and_deleted(stage: Stage) -> None:
    manager, secret = stage.manager(), stage.version()
    stored = await manager.store(secret, Plaintext(b"x"))
    stage.azure.vault.newest("acme-0db").enabled = False
    with pytest.raises(NotReady) as caught:
        await manager.fetch(secret, stored)
    assert caught.value.code == "azure_disabled"
    second = stage.version(n=2)
    assert (await manager.fetch(second, await manager.store(second, Plaintext(b"y")))).reveal() == b"y"
    stage.azure.vault.newest("acme-0db").enabled = False
    await manager.delete(whole(secret), None)
    assert set(stage.azure.vault.deleted) == {"acme-0db"}


async def test_an_expiry_is_set_and_what_has_expired_is_still_read(stage: Stage) -> None:
    manager, secret = stage.manager(), stage.version(metadata={"expiresOn": "1700000000999"})
    stored = await manager.store(secret, Plaintext(b"x"))
    assert stage.azure.vault.newest("acme-0db").expires == 1_700_000_000
    assert (await manager.fetch(secret, stored)).reveal() == b"x"


@pytest.mark.parametrize("expiry", ["soon", "-1", "0", "1.5", "253402300800000", "9" * 30, "٣"])
async def test_an_expiry_that_is_none_is_refused_before_anything_is_asked(stage: Stage, expiry: str) -> None:
    with pytest.raises(Malformed) as caught:
        await stage.manager().store(stage.version(metadata={"expiresOn": expiry}), Plaintext(b"x"))
    assert caught.value.code == "metadata_malformed"
    assert stage.azure.requests == []


async def test_metadata_that_mean_nothing_are_refused(stage: Stage) -> None:
    with pytest.raises(Malformed) as caught:
        await stage.manager().store(stage.version(metadata={"verison": "x"}), Plaintext(b"x"))
    assert caught.value.code == "metadata_unknown"


@pytest.mark.parametrize(("size", "filler"), [(LONGEST_VALUE, b"x"), (LONGEST_BYTES, b"\xff")], ids=["text", "bytes"])
async def test_a_value_may_have_25_kilobytes_and_the_limit_is_told(stage: Stage, size: int, filler: bytes) -> None:
    manager, secret = stage.manager(), stage.version()
    stored = await manager.store(secret, Plaintext(filler * size))
    assert (await manager.fetch(secret, stored)).reveal() == filler * size
    with pytest.raises(Malformed) as caught:
        await manager.store(stage.version(n=2), Plaintext(filler * (size + 3)))
    assert caught.value.code == "value_too_large"
    assert f"{size:,}" in caught.value.detail


# ---- references


async def test_a_reference_reads_the_newest_or_the_version_that_it_names(stage: Stage) -> None:
    vault, manager = stage.azure.vault, stage.manager()
    old, new = vault.put("Shared-Db", "old"), vault.put("Shared-Db", "new")
    for text, metadata, value in (
        ("Shared-Db", {}, b"new"),
        ("shared-db", {"version": "latest"}, b"new"),
        ("Shared-Db", {"version": old.id}, b"old"),
        (f"Shared-Db/{old.id}", {}, b"old"),
        (f"Shared-Db/{new.id}", {"version": new.id}, b"new"),
    ):
        secret = reference(stage, text, **metadata)
        stored = await manager.store(secret, Plaintext(b""))
        assert (await manager.fetch(secret, stored)).reveal() == value, (text, metadata)
    secret = reference(stage, "Shared-Db")
    stored = await manager.store(secret, Plaintext(b""))
    vault.put("Shared-Db", "newer")
    assert (await manager.fetch(secret, stored)).reveal() == b"newer"
    await manager.delete(whole(secret), None)
    assert vault.newest("Shared-Db").value == "newer"


async def test_a_member_of_a_json_value_is_selected(stage: Stage) -> None:
    stage.azure.vault.put("conf", '{"a": {"b": "nested"}, "x.y": "literal"}')
    manager = stage.manager()
    for key, value in (("a.b", b"nested"), ("x.y", b"literal"), ("a", b'{"b":"nested"}')):
        secret = reference(stage, f"conf#{key}")
        assert (await manager.fetch(secret, await manager.store(secret, Plaintext(b"")))).reveal() == value
    with pytest.raises(NotFound) as caught:
        await manager.store(reference(stage, "conf#c"), Plaintext(b""))
    assert caught.value.code == "key_missing"


async def test_a_reference_does_not_read_what_a_secret_of_ours_owns(stage: Stage) -> None:
    manager, secret = stage.manager(), stage.version()
    stored = await manager.store(secret, Plaintext(b"x"))
    assert isinstance(stored, Reference)
    for text in ("acme-0db", "ACME-0DB", f"acme-0db/{stored.version}"):
        with pytest.raises(Denied) as caught:
            await manager.store(reference(stage, text), Plaintext(b""))
        assert caught.value.code == "reference_to_inline"


@pytest.mark.parametrize(
    ("text", "metadata"),
    [
        ("a/b/c", {}),
        ("../keys/main", {}),
        ("name/latest", {}),
        ("name?x=1", {}),
        ("n" * 128, {}),
        ("name", {"version": "5"}),
        ("name", {"version": "A" * 32}),
        ("name/" + "a" * 32, {"version": "b" * 32}),
    ],
)
async def test_a_reference_that_is_none_is_refused_before_anything_is_asked(
    stage: Stage, text: str, metadata: dict[str, str]
) -> None:
    with pytest.raises(Malformed) as caught:
        await stage.manager().store(reference(stage, text, **metadata), Plaintext(b""))
    assert caught.value.code == "reference_malformed"
    assert stage.azure.requests == []


async def test_a_missing_secret_is_told_as_that(stage: Stage) -> None:
    with pytest.raises(NotFound) as caught:
        await stage.manager().store(reference(stage, "nowhere"), Plaintext(b""))
    assert caught.value.code == "secret_not_found"


async def test_a_moved_or_made_up_reference_is_tampered_before_the_vault_is_asked(stage: Stage) -> None:
    manager, secret = stage.manager(), stage.version()
    other = stage.azure.vault.put("other", "x")
    with pytest.raises(Tampered):
        await manager.fetch(
            secret, Reference(generation=1, locator="other", mac="A" * 43, version=other.id, metadata={})
        )
    assert stage.azure.requests == []


def test_who_uses_key_vault_loads_no_other_clouds_library() -> None:
    load = (
        "import delegate.secret_managers.azure_key_vault, delegate.secret_managers.azure_key_vault_key, sys\n"
        "print('\\n'.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", load], capture_output=True, text=True, cwd=ROOT, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "azure" in loaded
    assert not loaded & {"aiobotocore", "boto3", "botocore", "google", "hvac"}


_DELETED = "ObjectIsDeletedButRecoverable"
