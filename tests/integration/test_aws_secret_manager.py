"""AWS Secrets Manager through AWS's own library, against two emulators: what is written, read, refused, restored, deleted.

MiniStack is right about stages and says "marked for deletion" as AWS does; moto takes our version ids, as AWS does. Where they
differ from AWS the test that needs more says which it runs on.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec import structs

from delegate.secret_managers.aws_secret_manager import LONGEST_VALUE
from shared.crypto.plaintext import Plaintext
from shared.errors import (
    Conflict,
    Denied,
    Malformed,
    NotFound,
    NotReady,
    PrivySealError,
    Unavailable,
)
from shared.values import Reference
from tests.fakes.aws_secrets import Stage, staged
from tests.fakes.aws_store import KEY
from tests.fakes.versions import whole
from tests.servers.emulators import ROOT, MiniStack, Moto


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    with Moto() as moto, MiniStack() as ministack:
        yield {"moto": moto.url, "ministack": ministack.url}


@pytest.fixture(params=["moto", "ministack"])
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture
async def stage(server: str, urls: dict[str, str]) -> AsyncIterator[Stage]:
    async with staged(urls[server]) as made:
        yield made


both_ways = pytest.mark.parametrize("put", [False, True], ids=["UpdateSecret", "PutSecretValue"])


# ---- writing and reading


@both_ways
async def test_a_secret_is_created_with_its_name_tags_and_key_and_takes_versions(stage: Stage, put: bool) -> None:
    manager = stage.manager(usePutSecret=put)
    first, second = stage.version(metadata={"kms_key_id": "alias/first"}), stage.version(n=2)
    old = await manager.store(first, Plaintext(b"old"))
    assert await stage.console.tags("acme.db") == {
        "createdBy": "PrivySeal",
        "privyseal-account": stage.world.id,
        "privyseal-secret": first.secret.id,
    }
    assert (await stage.console.described("acme.db"))["KmsKeyId"] == "alias/first"
    new = await manager.store(second, Plaintext(b"new"))
    assert await stage.console.value("acme.db") == "new"
    assert await stage.console.value("acme.db", VersionStage="AWSPREVIOUS") == "old"
    assert (await manager.fetch(first, old)).reveal() == b"old"
    assert (await manager.fetch(second, new)).reveal() == b"new"
    assert (await stage.console.tags("acme.db"))["privyseal-secret"] == first.secret.id


@pytest.mark.parametrize("server", ["moto"])
@both_ways
async def test_a_versions_id_is_the_digest_of_its_store_task(stage: Stage, put: bool) -> None:
    manager = stage.manager(usePutSecret=put)
    for n in (1, 2):
        one = stage.version(n=n)
        stored = await manager.store(one, Plaintext(b"x%d" % n))
        assert isinstance(stored, Reference) and stored.version == one.aad.version


@both_ways
async def test_another_key_is_taken_with_the_next_version(stage: Stage, put: bool) -> None:
    manager = stage.manager(usePutSecret=put)
    await manager.store(stage.version(), Plaintext(b"x"))
    await manager.store(stage.version(n=2, metadata={"kms_key_id": "alias/second"}), Plaintext(b"y"))
    assert (await stage.console.described("acme.db"))["KmsKeyId"] == "alias/second"
    assert await stage.console.value("acme.db") == "y"


async def test_text_stays_readable_to_others_and_bytes_are_binary(stage: Stage) -> None:
    manager = stage.manager()
    for identifier, value, kept in (
        ("text", "p\u00e4ss\U0001f511".encode(), "p\u00e4ss\U0001f511"),
        ("bytes", b"\x00\xff" * 100, b"\x00\xff" * 100),
        ("empty", b"", "privyseal:base64:"),
        ("longest", b"x" * LONGEST_VALUE, "x" * LONGEST_VALUE),
        ("longest_bytes", b"\xff" * LONGEST_VALUE, b"\xff" * LONGEST_VALUE),
    ):
        secret = stage.version(identifier)
        stored = await manager.store(secret, Plaintext(value))
        assert await stage.console.value(f"acme.{identifier}") == kept
        assert (await manager.fetch(secret, stored)).reveal() == value


async def test_a_value_beyond_the_limit_is_refused_before_it_is_sent(stage: Stage) -> None:
    for value in (b"x" * (LONGEST_VALUE + 1), b"privyseal:base64:" + b"x" * 60_000):
        with pytest.raises(Malformed) as caught:
            await stage.manager().store(stage.version(), Plaintext(value))
        assert caught.value.code == "value_too_large" and "65,536" in caught.value.detail
    with pytest.raises(stage.console.client.exceptions.ResourceNotFoundException):
        await stage.console.described("acme.db")


@both_ways
async def test_a_store_task_may_be_done_again_and_after_a_newer_one(stage: Stage, server: str, put: bool) -> None:
    manager, first, second = stage.manager(usePutSecret=put), stage.version(), stage.version(n=2)
    stored = await manager.store(first, Plaintext(b"old"))
    assert (await manager.fetch(first, await manager.store(first, Plaintext(b"old")))).reveal() == b"old"
    new = await manager.store(second, Plaintext(b"new"))
    again = await manager.store(second, Plaintext(b"new"))
    assert (await manager.fetch(second, again)).reveal() == b"new"
    if server == "moto":  # MiniStack gives versions ids of its own but for PutSecretValue
        assert (stored.version, new.version) == (first.aad.version, second.aad.version)
        assert new == again
        await manager.store(first, Plaintext(b"old"))
        assert (await manager.fetch(first, stored)).reveal() == b"old"


async def test_what_was_deleted_at_aws_is_made_again_by_the_next_version(stage: Stage) -> None:
    manager = stage.manager(forceDeleteWithoutRecovery=True)
    await manager.store(stage.version(), Plaintext(b"old"))
    await stage.console.client.delete_secret(
        SecretId=f"{stage.console.prefix}/acme.db", ForceDeleteWithoutRecovery=True
    )
    second = stage.version(n=2)
    stored = await manager.store(second, Plaintext(b"new"))
    assert (await manager.fetch(second, stored)).reveal() == b"new"


# ---- whose it is


@both_ways
async def test_what_others_made_is_not_overwritten_nor_deleted(stage: Stage, put: bool) -> None:
    await stage.console.create("acme.db", "theirs")
    manager = stage.manager(usePutSecret=put)
    for n in (1, 2):
        with pytest.raises(Conflict) as caught:
            await manager.store(stage.version(n=n), Plaintext(b"mine"))
        assert caught.value.code == "origin_foreign" and "Reference" in caught.value.hint
    await manager.delete(whole(stage.version()), None)
    assert await stage.console.value("acme.db") == "theirs"


async def test_what_another_secret_keeps_is_not_overwritten_nor_deleted(stage: Stage) -> None:
    tags = [{"Key": "privyseal-account", "Value": stage.world.id}, {"Key": "privyseal-secret", "Value": "b" * 26}]
    await stage.console.create("acme.db", "theirs", Tags=tags)
    with pytest.raises(Conflict) as caught:
        await stage.manager().store(stage.version(), Plaintext(b"mine"))
    assert caught.value.code == "origin_other"
    await stage.manager().delete(whole(stage.version()), None)
    assert await stage.console.value("acme.db") == "theirs"


@pytest.mark.parametrize("server", ["moto"])
async def test_a_secret_of_ours_without_its_tags_is_not_passed_over_in_silence(stage: Stage) -> None:
    manager, secret = stage.manager(), stage.version()
    await manager.store(secret, Plaintext(b"mine"))
    await stage.console.client.untag_resource(
        SecretId=f"{stage.console.prefix}/acme.db", TagKeys=["privyseal-account", "privyseal-secret"]
    )
    with pytest.raises(Conflict) as caught:
        await manager.delete(whole(secret), None)
    assert caught.value.code == "origin_foreign"


async def test_a_reference_to_what_a_secret_of_ours_keeps_is_denied(stage: Stage) -> None:
    manager, victim = stage.manager(), stage.version(scope="org/acme/project/web")
    await manager.store(victim, Plaintext(b"treasure"))
    arn = (await stage.console.described("acme.web.db"))["ARN"]
    for reference in (f"{stage.console.prefix}/acme.web.db", arn):
        with pytest.raises(Denied) as caught:
            await manager.store(stage.version("thief", scope="org/evil", reference=reference), Plaintext(b""))
        assert caught.value.code == "reference_to_inline"
        assert "treasure" not in str(caught.value.problem())


# ---- references


async def test_a_reference_reads_names_arns_keys_stages_and_ids(stage: Stage) -> None:
    arn = await stage.console.create("prod", json.dumps({"user": {"name": "old"}, "a.b": 1}))
    first = (await stage.console.described("prod"))["VersionIdsToStages"]
    (first_id,) = first
    await stage.console.add("prod", json.dumps({"user": {"name": "new"}, "a.b": 2}))
    manager, name = stage.manager(), f"{stage.console.prefix}/prod"
    for reference, metadata, wanted in (
        (f"{name}#user.name", {}, b"new"),
        (f"{name}#user.name", {"version": "latest"}, b"new"),
        (f"{name}#user.name", {"version": "AWSCURRENT"}, b"new"),
        (f"{name}#user.name", {"version": "AWSPREVIOUS"}, b"old"),
        (f"{name}#a.b", {"version": first_id}, b"1"),
        (f"{arn}#user", {}, b'{"name":"new"}'),
        (name, {"version": first_id}, b'{"user": {"name": "old"}, "a.b": 1}'),
    ):
        secret = stage.version(reference=reference, metadata=metadata)
        stored = await manager.store(secret, Plaintext(b""))
        assert (await manager.fetch(secret, stored)).reveal() == wanted


async def test_a_binary_secret_of_others_is_read(stage: Stage) -> None:
    await stage.console.create("keystore", b"\xfe\xed\xfe\xed")
    secret = stage.version(reference=f"{stage.console.prefix}/keystore", type="SecretFile")
    stored = await stage.manager().store(secret, Plaintext(b""))
    assert (await stage.manager().fetch(secret, stored)).reveal() == b"\xfe\xed\xfe\xed"


async def test_a_reference_reads_what_is_newest_and_deleting_it_deletes_nothing(stage: Stage) -> None:
    await stage.console.create("prod", "privyseal:base64:plain")
    manager, secret = stage.manager(), stage.version(reference=f"{stage.console.prefix}/prod")
    stored = await manager.store(secret, Plaintext(b""))
    assert (await manager.fetch(secret, stored)).reveal() == b"privyseal:base64:plain"
    await stage.console.add("prod", "rotated")
    assert (await manager.fetch(secret, stored)).reveal() == b"rotated"
    await manager.delete(whole(secret), None)
    assert await stage.console.value("prod") == "rotated"


@pytest.mark.parametrize(
    ("reference", "metadata", "error", "code"),
    [
        ("none", {}, NotFound, "secret_not_found"),
        ("has a space", {}, Malformed, "reference_malformed"),
        ("x" * 513, {}, Malformed, "reference_malformed"),
        ("arn:aws:kms:us-east-1:123456789012:key/x", {}, Malformed, "reference_malformed"),
        ("arn:aws:secretsmanager:eu-west-1:123456789012:secret:x-abcdef", {}, Malformed, "reference_elsewhere"),
        ("prod", {"verison": "1"}, Malformed, "metadata_unknown"),
        ("prod#", {}, Malformed, "reference_malformed"),
    ],
)
async def test_a_reference_that_leads_nowhere_is_refused_when_it_is_made(
    stage: Stage, reference: str, metadata: dict[str, str], error: type[PrivySealError], code: str
) -> None:
    with pytest.raises(error) as caught:
        await stage.manager().store(stage.version(reference=reference, metadata=metadata), Plaintext(b""))
    assert caught.value.code == code


async def test_a_version_that_is_gone_is_not_found(stage: Stage) -> None:
    manager, secret = stage.manager(forceDeleteWithoutRecovery=True), stage.version()
    stored = await manager.store(secret, Plaintext(b"x"))
    await manager.delete(whole(secret), None)
    with pytest.raises(NotFound) as caught:
        await manager.fetch(secret, stored)
    assert caught.value.code == "secret_not_found"


# ---- deleting and restoring


async def test_a_deletion_leaves_the_window_that_the_connector_says(stage: Stage) -> None:
    manager, secret = stage.manager(recoveryWindowInDays=7), stage.version()
    stored = await manager.store(secret, Plaintext(b"x"))
    await manager.delete(whole(secret), None)
    await manager.delete(whole(secret), None)
    assert "DeletedDate" in await stage.console.described("acme.db")
    with pytest.raises(NotReady) as caught:
        await manager.fetch(secret, stored)
    assert caught.value.code == "secret_unusable" and "restore-secret" in caught.value.hint


async def test_a_forced_deletion_leaves_nothing_and_also_of_what_is_scheduled(stage: Stage) -> None:
    secret = stage.version()
    await stage.manager().store(secret, Plaintext(b"x"))
    await stage.manager().delete(whole(secret), None)
    forced = stage.manager(forceDeleteWithoutRecovery=True)
    await forced.delete(whole(secret), None)
    await forced.delete(whole(secret), None)
    with pytest.raises(stage.console.client.exceptions.ResourceNotFoundException):
        await stage.console.described("acme.db")


async def test_a_single_version_is_not_deleted_and_says_so(stage: Stage) -> None:
    manager, secret = stage.manager(), stage.version()
    stored = await manager.store(secret, Plaintext(b"x"))
    with pytest.raises(Denied) as caught:
        await manager.delete(secret, stored)
    assert caught.value.code == "version_kept"
    assert (await manager.fetch(secret, stored)).reveal() == b"x"


@both_ways
async def test_a_name_in_its_recovery_window_is_restored_and_belongs_to_the_new_secret(stage: Stage, put: bool) -> None:
    manager, old = stage.manager(usePutSecret=put), stage.version()
    await manager.store(old, Plaintext(b"old"))
    await manager.delete(whole(old), None)
    new = replace(stage.version(task="again", id=stage.world.opaque("a new secret")))
    new = replace(new, aad=replace(new.aad, secret=new.secret.id))
    stored = await manager.store(new, Plaintext(b"new"))
    assert "DeletedDate" not in await stage.console.described("acme.db")
    assert (await manager.fetch(new, stored)).reveal() == b"new"
    assert (await stage.console.tags("acme.db"))["privyseal-secret"] == new.secret.id
    with pytest.raises(Conflict):
        await manager.store(stage.version(n=2), Plaintext(b"of the old one"))


async def test_what_others_have_scheduled_for_deletion_is_not_restored(stage: Stage) -> None:
    await stage.console.create("acme.db", "theirs")
    await stage.console.client.delete_secret(SecretId=f"{stage.console.prefix}/acme.db", RecoveryWindowInDays=7)
    with pytest.raises(Conflict) as caught:
        await stage.manager().store(stage.version(), Plaintext(b"mine"))
    assert caught.value.code == "origin_foreign"
    assert "DeletedDate" in await stage.console.described("acme.db")


# ---- checks, errors, hosts


async def test_a_check_asks_for_what_cannot_be_there_and_passes(stage: Stage) -> None:
    await stage.manager().check()
    listed = await stage.console.client.list_secrets(Filters=[{"Key": "name", "Values": [stage.console.prefix]}])
    assert listed["SecretList"] == []


async def test_nobody_answers_is_unavailable_and_names_the_action(stage: Stage) -> None:
    with pytest.raises(Unavailable) as caught:
        await stage.manager(url="http://127.0.0.1:1").check()
    assert "secretsmanager:DescribeSecret" in caught.value.detail


async def test_a_host_that_the_local_policy_forbids_is_never_called(stage: Stage) -> None:
    with pytest.raises(Denied) as caught:
        await stage.manager(policy='hosts = ["*.amazonaws.com"]').check()
    assert caught.value.code == "local_policy" and caught.value.facts["rule"] == "hosts"


async def test_no_error_repeats_a_value_or_a_key(stage: Stage) -> None:
    await stage.console.create("acme.db", "hunter2-theirs")
    with pytest.raises(Conflict) as caught:
        await stage.manager().store(stage.version(), Plaintext(b"hunter2-mine"))
    told = str(caught.value.problem()) + repr(stage.opened)
    assert "hunter2" not in told and KEY not in told


async def test_concurrent_writers_each_keep_their_own_version(stage: Stage) -> None:
    manager = stage.manager()
    await manager.store(stage.version(), Plaintext(b"first"))
    one, other = stage.version(n=2, task="one"), stage.version(n=2, task="other")
    stored = [await manager.store(one, Plaintext(b"one")), await manager.store(other, Plaintext(b"other"))]
    assert [(await manager.fetch(v, s)).reveal() for v, s in zip((one, other), stored, strict=True)] == [
        b"one",
        b"other",
    ]
    moved = structs.replace(stored[0], version=stored[1].version)
    with pytest.raises(PrivySealError):
        await manager.fetch(one, moved)


# ---- policies and signatures, as MiniStack checks them

READ = ("secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue")
PAGE = Path(__file__).parents[2] / "docs" / "secret-managers" / "aws-secret-manager.md"


@pytest.fixture(scope="module")
def strict() -> Iterator[MiniStack]:
    with MiniStack(auth=True) as server:
        yield server


@pytest_asyncio.fixture
async def guarded(strict: MiniStack) -> AsyncIterator[Stage]:
    async with staged(strict.url, ROOT) as made:
        yield made


def allow(*actions: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": "*"}


def documented(stage: Stage, number: int) -> dict[str, Any]:
    """The statement of a policy on the kind's page, for the account and prefix of a stage."""
    text = re.findall(r"^```json\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)[number]
    text = text.replace("123456789012", "000000000000").replace("devops/", f"{stage.console.prefix}/")
    (statement,) = json.loads(text)["Statement"]
    return dict(statement)


@pytest.mark.parametrize("lacking", READ)
async def test_a_check_names_what_the_role_may_not_do(guarded: Stage, strict: MiniStack, lacking: str) -> None:
    guarded.key = strict.user(allow(*(one for one in READ if one != lacking)))
    with pytest.raises(Denied) as caught:
        await guarded.manager().check()
    assert caught.value.code == "aws_denied" and lacking in caught.value.detail
    assert f"{guarded.console.prefix}/privyseal-check" in caught.value.detail
    assert "no identity-based policy" in caught.value.detail


@both_ways
async def test_the_documented_permissions_are_enough_and_end_at_the_prefix(
    guarded: Stage, strict: MiniStack, put: bool
) -> None:
    guarded.key = strict.user(documented(guarded, 1))
    manager, secret = guarded.manager(usePutSecret=put), guarded.version()
    await manager.check()
    stored = await manager.store(secret, Plaintext(b"x"))
    await manager.store(guarded.version(n=2), Plaintext(b"y"))
    assert (await manager.fetch(secret, stored)).reveal() == b"x"
    await manager.delete(whole(secret), None)
    await manager.store(guarded.version(n=3, id="b" * 26), Plaintext(b"z"))
    with pytest.raises(Denied):
        await guarded.manager(secretNamePrefix="elsewhere").store(guarded.version(n=3), Plaintext(b"z"))


async def test_the_documented_permissions_to_read_are_enough_and_writing_is_then_denied(
    guarded: Stage, strict: MiniStack
) -> None:
    await guarded.console.create("prod", "theirs")
    guarded.key = strict.user(documented(guarded, 0))
    manager, secret = guarded.manager(), guarded.version(reference=f"{guarded.console.prefix}/prod")
    await manager.check()
    stored = await manager.store(secret, Plaintext(b""))
    assert (await manager.fetch(secret, stored)).reveal() == b"theirs"
    with pytest.raises(Denied) as caught:
        await manager.store(guarded.version(), Plaintext(b"x"))
    assert "secretsmanager:CreateSecret" in caught.value.detail


async def test_a_wrong_secret_key_is_told_from_a_missing_permission(guarded: Stage, strict: MiniStack) -> None:
    guarded.key = (strict.user(allow(*READ))[0], "x" * 40)
    with pytest.raises(Denied) as caught:
        await guarded.manager().check()
    assert caught.value.code == "aws_credentials_refused" and guarded.key[0] in caught.value.detail
