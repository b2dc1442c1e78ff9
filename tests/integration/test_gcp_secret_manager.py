"""Secrets at Google: what others see of ours, what we leave to them, and what faults do, beside a server of the real protocol."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
from google.cloud.secretmanager_v1.types import Replication
from grpc import StatusCode
from msgspec import structs

from delegate.secret_managers.gcp_entry import MOST_TASKS, TASKS, tasks_of
from delegate.secret_managers.gcp_secret_manager import GcpSecretManager
from delegate.secret_managers.interface import SecretVersion, stored_bytes
from shared.canonical import digest
from shared.crypto.plaintext import Plaintext
from shared.errors import (
    Conflict,
    Denied,
    Expired,
    Malformed,
    NotFound,
    NotReady,
    Overloaded,
    PrivySealError,
    Unavailable,
)
from shared.values import Reference
from tests.fakes.google import NUMBER, PROJECT, Google, change, refuse, stall
from tests.fakes.google_stage import OWN, ROBOT, USE_SECRETS, Stage
from tests.fakes.versions import whole

NAME = f"projects/{PROJECT}/secrets/acme-password"
THEIRS = f"projects/{PROJECT}/secrets/theirs"


@pytest.fixture(scope="module")
def google() -> Iterator[Google]:
    with Google() as one:
        yield one


@pytest.fixture
async def stage(google: Google) -> AsyncIterator[Stage]:
    google.forget()
    one = Stage(google)
    yield one
    await one.close()


@pytest.fixture
def manager(stage: Stage) -> GcpSecretManager:
    return stage.secrets()


async def put(manager: GcpSecretManager, secret: SecretVersion, value: bytes) -> Reference:
    return await manager.store(secret, Plaintext(value))


async def got(manager: GcpSecretManager, secret: SecretVersion, stored: Reference) -> bytes:
    return (await manager.fetch(secret, stored)).reveal()


async def failure(call: Any) -> PrivySealError:
    with pytest.raises(PrivySealError) as caught:
        await call
    return caught.value


async def reference(stage: Stage, manager: GcpSecretManager, path: str, **metadata: str) -> bytes:
    """What a secret that refers to `path` gives."""
    secret = stage.version("ref", reference=path, metadata=metadata)
    return await got(manager, secret, await put(manager, secret, b""))


# ---- what is written


async def test_others_see_the_value_as_it_is_with_labels_of_its_origin(stage: Stage, manager: GcpSecretManager) -> None:
    secret = stage.version()
    stored = await put(manager, secret, b"hunter2")
    kept = stage.google.secrets.of(NAME)
    assert (stored.locator, stored.version, kept.values) == (NAME, "1", {1: b"hunter2"})
    assert dict(kept.secret.labels) == {
        "created-by": "privyseal",
        "privyseal-account": stage.world.id,
        "privyseal-secret": secret.secret.id,
    }
    assert "automatic" in kept.secret.replication
    assert stage.google.asked == ["CreateSecret", "AddSecretVersion", "UpdateSecret"]


async def test_a_later_version_is_added_and_earlier_ones_stay(stage: Stage, manager: GcpSecretManager) -> None:
    versions = [stage.version(n=n) for n in (1, 2, 3)]
    stored = [await put(manager, one, b"value %d" % one.n) for one in versions]
    assert [one.version for one in stored] == ["1", "2", "3"]
    for one, reference in zip(versions, stored, strict=True):
        assert await got(manager, one, reference) == b"value %d" % one.n


async def test_a_store_task_that_is_done_again_adds_nothing_also_after_a_newer_one(
    stage: Stage, manager: GcpSecretManager
) -> None:
    first, second = stage.version(n=1), stage.version(n=2)
    for _ in range(2):
        stored = await put(manager, first, b"one")
    await put(manager, second, b"two")
    assert await put(manager, first, b"one") == stored
    assert stage.google.secrets.of(NAME).values == {1: b"one", 2: b"two"}


async def test_one_task_done_by_two_at_once_comes_to_one_version(stage: Stage, manager: GcpSecretManager) -> None:
    await put(manager, stage.version(n=1), b"one")
    second = stage.version(n=2)
    held = threading.Event()
    stage.google.faults["UpdateSecret"].append(stall(held))
    slow = asyncio.create_task(put(manager, second, b"two"))
    async with asyncio.timeout(30):
        while stage.google.asked.count("UpdateSecret") < 2:
            await asyncio.sleep(0.005)
    quick = await put(stage.secrets(), second, b"two")
    held.set()
    assert await slow == quick
    assert await got(manager, second, quick) == b"two"


async def test_tasks_at_once_all_find_their_versions(stage: Stage, manager: GcpSecretManager) -> None:
    await put(manager, stage.version(n=1), b"1")
    versions = [stage.version(n=n) for n in (2, 3, 4)]
    stored = await asyncio.gather(*(put(manager, one, b"%d" % one.n) for one in versions))
    for one, reference in zip(versions, stored, strict=True):
        assert await got(manager, one, reference) == b"%d" % one.n
    annotations = stage.google.secrets.of(NAME).secret.annotations
    assert set(tasks_of(annotations)) >= {one.aad.version for one in versions}


async def test_others_annotations_stay_and_ours_are_bounded(stage: Stage, manager: GcpSecretManager) -> None:
    await put(manager, stage.version(n=1), b"1")
    kept = stage.google.secrets.of(NAME)
    many = " ".join(f"{digest(str(number))}:{number + 1}" for number in range(MOST_TASKS + 5))
    kept.secret.annotations = {"team": "payments", TASKS: many}
    await put(manager, stage.version(n=2), b"2")
    annotations = stage.google.secrets.of(NAME).secret.annotations
    assert annotations["team"] == "payments"
    assert len(tasks_of(annotations)) == MOST_TASKS
    assert tasks_of(annotations)[stage.version(n=2).aad.version] == "2"


async def test_a_note_that_never_succeeds_is_a_conflict(stage: Stage, manager: GcpSecretManager) -> None:
    stage.google.faults["UpdateSecret"].extend([refuse(StatusCode.FAILED_PRECONDITION)] * 10)
    assert (await failure(put(manager, stage.version(), b"x"))).code == "secret_changing"


async def test_regions_are_where_replicas_are_and_cannot_be_changed(stage: Stage, manager: GcpSecretManager) -> None:
    await put(manager, stage.version(metadata={"regions": "europe-west4, europe-west1"}), b"x")
    replication = stage.google.secrets.of(NAME).secret.replication
    assert [one.location for one in replication.user_managed.replicas] == ["europe-west1", "europe-west4"]
    same = stage.version(n=2, metadata={"regions": "europe-west1,europe-west4"})
    await put(manager, same, b"x")
    why = await failure(put(manager, stage.version(n=3, metadata={"regions": "us-east1"}), b"x"))
    assert (type(why), why.code) == (Conflict, "replication_fixed")
    for wrong in ("Europe", "a b", "europe-west1;us-east1"):
        with pytest.raises(Malformed):
            await put(manager, stage.version("new", metadata={"regions": wrong}), b"x")


async def test_the_project_is_the_secrets_own_the_connectors_or_the_keys(stage: Stage) -> None:
    stage.google.allow(f"serviceAccount:{ROBOT}", *USE_SECRETS, on="projects/other-1")
    stage.google.allow(f"serviceAccount:{ROBOT}", *USE_SECRETS, on="projects/third-1")
    manager = stage.secrets(projectId="other-1")
    assert (await put(manager, stage.version(), b"x")).locator == "projects/other-1/secrets/acme-password"
    own = stage.version(metadata={"gcp_project_id": "third-1"})
    stored = await put(manager, own, b"x")
    assert stored.locator == "projects/third-1/secrets/acme-password"
    assert await got(manager, own, stored) == b"x"
    why = await failure(put(manager, stage.version(metadata={"gcp_project_id": "../x"}), b"x"))
    assert why.code == "metadata_malformed"
    stage.key_file = stage.key_file.replace(f'"{PROJECT}"'.encode(), b'""')
    why = await failure(put(stage.secrets(), stage.version(), b"x"))
    assert (type(why), why.code) == (Malformed, "project_missing")


async def test_a_project_that_only_the_delegate_knows_is_not_in_the_locator(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = stage.secrets(OWN)
    assert manager._store.locator(stage.version()) == "projects/-/secrets/acme-password"
    monkeypatch.setenv("GCP_PROJECT", PROJECT)
    assert await manager._store._resource("projects/-/secrets/x") == f"projects/{PROJECT}/secrets/x"  # type: ignore[attr-defined]


async def test_a_name_that_google_does_not_take_is_refused_before_it_is_asked(
    stage: Stage, manager: GcpSecretManager
) -> None:
    secret = stage.version("a" * 128)
    long = structs.replace(secret.secret, scope=f"org/{'o' * 128}/project/{'p' * 128}")
    why = await failure(put(manager, replace(secret, secret=long), b"x"))
    assert (type(why), why.code) == (Malformed, "name_unfit")
    assert stage.google.asked == []


async def test_metadata_that_mean_nothing_are_told(stage: Stage, manager: GcpSecretManager) -> None:
    for metadata in ({"version": "1"}, {"kms_key_id": "x"}, {"regions": "us-east1", "x": "y"}):
        assert (await failure(put(manager, stage.version(metadata=metadata), b"x"))).code == "metadata_unknown"
    why = await failure(reference(stage, manager, "theirs", regions="us-east1"))
    assert why.code == "metadata_unknown"


async def test_a_marked_value_that_is_too_long_is_refused(stage: Stage, manager: GcpSecretManager) -> None:
    why = await failure(put(manager, stage.version(), b"privyseal:base64:" + b"x" * 65_000))
    assert (why.code, why.facts["longest"]) == ("value_too_large", 65_536)
    assert stage.google.asked == []


# ---- what others own


async def test_nothing_that_others_made_is_overwritten_or_deleted(stage: Stage, manager: GcpSecretManager) -> None:
    stage.google.secrets.put(NAME, b"theirs", labels={"team": "payments"})
    for n in (1, 2):
        assert (await failure(put(manager, stage.version(n=n), b"ours"))).code == "origin_foreign"
    await manager.delete(whole(stage.version()), None)
    assert stage.google.secrets.of(NAME).values == {1: b"theirs"}


async def test_nothing_of_another_account_is_overwritten_read_or_deleted(
    stage: Stage, manager: GcpSecretManager
) -> None:
    secret = stage.version()
    stored = await put(manager, secret, b"ours")
    kept = stage.google.secrets.of(NAME)
    kept.secret.labels = {**kept.secret.labels, "privyseal-account": "another"}
    assert (await failure(put(manager, stage.version(n=2), b"ours"))).code == "origin_other"
    assert (await failure(manager.fetch(secret, stored))).code == "secret_not_found"
    await manager.delete(whole(secret), None)
    await manager.delete(secret, stored)
    assert stage.google.secrets.of(NAME).states == {1: "ENABLED"}


async def test_a_secret_whose_labels_were_taken_off_is_not_deleted_silently(
    stage: Stage, manager: GcpSecretManager
) -> None:
    await put(manager, stage.version(), b"ours")
    stage.google.secrets.of(NAME).secret.labels = {}
    why = await failure(manager.delete(whole(stage.version()), None))
    assert (type(why), why.code) == (Conflict, "origin_foreign")


async def test_a_deletion_that_meets_a_change_is_told(stage: Stage, manager: GcpSecretManager) -> None:
    await put(manager, stage.version(), b"ours")
    stage.google.faults["DeleteSecret"].append(refuse(StatusCode.FAILED_PRECONDITION))
    assert (await failure(manager.delete(whole(stage.version()), None))).code == "secret_changing"
    stage.google.faults["DeleteSecret"].append(refuse(StatusCode.NOT_FOUND))
    await manager.delete(whole(stage.version()), None)


async def test_one_version_is_destroyed_alone(stage: Stage, manager: GcpSecretManager) -> None:
    versions = [stage.version(n=n) for n in (1, 2)]
    stored = [await put(manager, one, b"%d" % one.n) for one in versions]
    for _ in range(2):
        await manager.delete(versions[0], stored[0])
    assert stage.google.secrets.of(NAME).states == {1: "DESTROYED", 2: "ENABLED"}
    why = await failure(manager.fetch(versions[0], stored[0]))
    assert (type(why), why.code) == (NotReady, "version_unusable")
    assert await got(manager, versions[1], stored[1]) == b"2"
    stage.google.faults["DestroySecretVersion"].append(refuse(StatusCode.PERMISSION_DENIED))
    assert (await failure(manager.delete(versions[1], stored[1]))).code == "gcp_denied"


# ---- references


async def test_a_reference_reads_the_newest_the_chosen_version_or_a_key(
    stage: Stage, manager: GcpSecretManager
) -> None:
    stage.google.secrets.put(THEIRS, b"old", b'{"a": {"b": "hunter2"}}')
    assert await reference(stage, manager, "theirs", version="1") == b"old"
    assert await reference(stage, manager, "theirs", version="latest") == b'{"a": {"b": "hunter2"}}'
    assert await reference(stage, manager, "theirs#a.b") == b"hunter2"
    stage.google.secrets.of(THEIRS).states[1] = "DISABLED"
    why = await failure(reference(stage, manager, "theirs", version="1"))
    assert (type(why), why.code) == (NotReady, "version_unusable")
    assert (await failure(reference(stage, manager, "theirs", version="7"))).code == "secret_not_found"
    assert (await failure(reference(stage, manager, "nowhere"))).code == "secret_not_found"


@pytest.mark.parametrize("version", ["newest", "0", "-1", "1.0", "LATEST", "1 "])
async def test_another_version_is_refused_in_todays_words(
    stage: Stage, manager: GcpSecretManager, version: str
) -> None:
    why = await failure(reference(stage, manager, "theirs", version=version))
    assert (type(why), why.detail) == (Malformed, "Version should be either latest or an integer.")


async def test_a_reference_in_another_project_names_it_in_its_metadata(stage: Stage, manager: GcpSecretManager) -> None:
    stage.google.allow(f"serviceAccount:{ROBOT}", *USE_SECRETS, on="projects/other-1")
    stage.google.secrets.put("projects/other-1/secrets/theirs", b"x")
    assert await reference(stage, manager, "theirs", gcp_project_id="other-1") == b"x"
    why = await failure(reference(stage, manager, "projects/other-1/secrets/theirs"))
    assert (type(why), why.code) == (Malformed, "name_unfit")


async def test_a_reference_does_not_pass_by_the_grants_of_a_secret_of_ours(
    stage: Stage, manager: GcpSecretManager
) -> None:
    await put(manager, stage.version(), b"ours")
    why = await failure(reference(stage, manager, "acme-password"))
    assert (type(why), why.code) == (Denied, "reference_to_inline")


async def test_what_others_wrote_like_our_mark_is_theirs(stage: Stage, manager: GcpSecretManager) -> None:
    stage.google.secrets.put(THEIRS, b"privyseal:base64:eA==")
    assert await reference(stage, manager, "theirs") == b"privyseal:base64:eA=="


# ---- checks and faults


async def test_a_check_lists_nothing_and_writes_nothing(stage: Stage, manager: GcpSecretManager) -> None:
    stage.google.secrets.put(THEIRS, b"x")
    await manager.check()
    assert stage.google.asked == ["GetSecret", "AccessSecretVersion"]
    asked = {call.request.name.partition("/versions/")[0] for call in stage.google.calls}
    assert asked == {f"projects/{PROJECT}/secrets/privyseal--check"}
    for permission in ("secretmanager.secrets.get", "secretmanager.versions.access"):
        stage.google.allow(f"serviceAccount:{ROBOT}", *USE_SECRETS)
        stage.google.deny(f"serviceAccount:{ROBOT}", permission)
        why = await failure(manager.check())
        assert why.code == "gcp_denied"
        assert permission in why.detail


@pytest.mark.parametrize("permission", [one for one in USE_SECRETS if not one.endswith("destroy")])
async def test_what_is_denied_is_named_with_its_permission(
    stage: Stage, manager: GcpSecretManager, permission: str
) -> None:
    stage.google.deny(f"serviceAccount:{ROBOT}", permission)
    secret = stage.version()

    async def use() -> None:
        await manager.fetch(secret, await put(manager, secret, b"hunter2"))
        await manager.delete(whole(secret), None)

    why = await failure(use())
    assert (type(why), why.code) == (Denied, "gcp_denied")
    assert permission in why.detail
    assert NAME in why.detail


@pytest.mark.parametrize(
    ("status", "error", "ours", "asked"),
    [
        ("RESOURCE_EXHAUSTED", Overloaded, "gcp_throttled", 3),
        ("UNAVAILABLE", Unavailable, "gcp_unavailable", 3),
        ("INTERNAL", Unavailable, "gcp_unavailable", 3),
        ("DEADLINE_EXCEEDED", Unavailable, "gcp_slow", 3),
        ("FAILED_PRECONDITION", NotReady, "version_unusable", 1),
        ("INVALID_ARGUMENT", Malformed, "gcp_invalid", 1),
        ("NOT_FOUND", NotFound, "secret_not_found", 1),
        ("UNAUTHENTICATED", Expired, "gcp_credentials_expired", 2),
        ("OUT_OF_RANGE", Denied, "gcp_refused", 1),
    ],
)
async def test_each_refusal_of_secret_manager_has_its_meaning(
    stage: Stage, manager: GcpSecretManager, status: str, error: type[PrivySealError], ours: str, asked: int
) -> None:
    secret = stage.version()
    stored = await put(manager, secret, b"x")
    stage.google.calls.clear()
    stage.google.faults["AccessSecretVersion"].extend([refuse(StatusCode[status])] * 5)
    why = await failure(manager.fetch(secret, stored))
    assert (type(why), why.code) == (error, ours)
    assert stage.google.asked.count("AccessSecretVersion") == asked
    assert "hunter2" not in repr(why.problem())


async def test_a_secret_that_takes_no_more_versions_is_told(stage: Stage, manager: GcpSecretManager) -> None:
    stage.google.faults["AddSecretVersion"].append(refuse(StatusCode.FAILED_PRECONDITION))
    assert (await failure(put(manager, stage.version(), b"x"))).code == "secret_full"


@pytest.mark.parametrize(
    "payload",
    [lambda one: {"data": b"other", "data_crc32c": one.data_crc32c}, lambda one: {"data": one.data}],
    ids=["another value", "no checksum"],
)
async def test_a_value_that_was_changed_on_its_way_is_not_taken(
    stage: Stage, manager: GcpSecretManager, payload: Any
) -> None:
    secret = stage.version()
    stored = await put(manager, secret, b"hunter2")
    stage.google.faults["AccessSecretVersion"].append(change(payload=payload))
    assert await got(manager, secret, stored) == b"hunter2"
    stage.google.faults["AccessSecretVersion"].extend([change(payload=payload)] * 3)
    why = await failure(manager.fetch(secret, stored))
    assert (type(why), why.code) == (Unavailable, "gcp_corrupted")


@pytest.mark.parametrize(
    "name",
    [
        lambda name: name.replace("/1", "/2"),
        lambda name: name.replace("acme-password", "acme-other"),
        lambda name: name.replace(NUMBER, "another-project"),
        lambda name: name.replace("/versions/1", ""),
        lambda name: name.replace("/versions/1", "/versions/latest"),
        lambda _: "",
    ],
    ids=["another version", "another secret", "another project", "no version", "no number", "nothing"],
)
async def test_an_answer_about_something_else_is_not_taken(stage: Stage, manager: GcpSecretManager, name: Any) -> None:
    secret = stage.version()
    stored = await put(manager, secret, b"hunter2")
    stage.google.faults["AccessSecretVersion"].extend([change(name=name)] * 3)
    assert (await failure(manager.fetch(secret, stored))).code == "gcp_garbled"


@pytest.mark.parametrize(
    "name",
    [f"projects/{NUMBER}/secrets/other", "projects/another-project/secrets/acme-password", ""],
    ids=["another secret", "another project", "nothing"],
)
async def test_labels_of_something_else_are_not_believed(stage: Stage, manager: GcpSecretManager, name: str) -> None:
    secret = stage.version()
    stored = await put(manager, secret, b"hunter2")
    stage.google.faults["GetSecret"].extend([change(name=name)] * 3)
    assert (await failure(manager.fetch(secret, stored))).code == "gcp_garbled"


async def test_a_use_that_is_refused_leaves_nothing_under_way(stage: Stage, manager: GcpSecretManager) -> None:
    secret, never = stage.version(), threading.Event()
    stored = await put(manager, secret, b"hunter2")
    stage.google.faults["GetSecret"].append(refuse(StatusCode.PERMISSION_DENIED))
    stage.google.faults["AccessSecretVersion"].append(stall(never))
    before = asyncio.all_tasks()
    try:
        assert (await failure(manager.fetch(secret, stored))).code == "gcp_denied"
        assert not [one for one in asyncio.all_tasks() - before if "_accessed" in repr(one)]
    finally:
        never.set()


async def test_a_version_that_was_not_verified_or_not_named_is_not_taken(
    stage: Stage, manager: GcpSecretManager
) -> None:
    for fields, ours in (
        ({"client_specified_payload_checksum": False}, "gcp_corrupted"),
        ({"name": f"projects/{NUMBER}/secrets/other/versions/1"}, "gcp_garbled"),
    ):
        stage.google.faults["AddSecretVersion"].extend([change(**fields)] * 3)
        assert (await failure(put(manager, stage.version(), b"x"))).code == ours


async def test_a_slow_service_is_given_up(stage: Stage) -> None:
    stage.call_seconds = 0.3
    manager, never = stage.secrets(), threading.Event()
    stage.google.faults["CreateSecret"].extend([stall(never)] * 3)
    try:
        assert (await failure(put(manager, stage.version(), b"x"))).code == "gcp_slow"
    finally:
        never.set()


async def test_what_is_kept_of_it_here_holds_no_value(stage: Stage, manager: GcpSecretManager) -> None:
    stored = await put(manager, stage.version(), b"hunter2")
    assert b"hunter2" not in stored_bytes(stored)
    assert "hunter2" not in repr(manager)


async def test_a_secret_that_others_replicate_elsewhere_is_read_all_the_same(
    stage: Stage, manager: GcpSecretManager
) -> None:
    replica = Replication.UserManaged.Replica(location="us-east1")
    stage.google.secrets.put(
        THEIRS, b"x", replication=Replication(user_managed=Replication.UserManaged(replicas=[replica]))
    )
    assert await reference(stage, manager, "theirs") == b"x"
