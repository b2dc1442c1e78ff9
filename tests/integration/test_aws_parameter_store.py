"""AWS Parameter Store through AWS's own library, against two emulators: what is written, read, refused and deleted.

moto keeps at most 100 versions and a labelled oldest one, as AWS does; MiniStack checks signatures and policies. Where they
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

from shared.crypto.plaintext import Plaintext
from shared.errors import Conflict, Denied, Malformed, NotFound, PrivySealError, Unavailable
from shared.values import Reference
from tests.fakes.aws_parameters import Stage, staged
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


# ---- writing and reading


async def test_a_parameter_is_created_with_its_name_tags_key_and_label_and_takes_versions(stage: Stage) -> None:
    manager = stage.manager(kmsKeyId="alias/first")
    first, second = stage.version(), stage.version(n=2)
    old = await manager.store(first, Plaintext(b"old"))
    assert await stage.console.tags("acme.db") == {
        "createdBy": "PrivySeal",
        "privyseal-account": stage.world.id,
        "privyseal-secret": first.secret.id,
    }
    new = await manager.store(second, Plaintext(b"new"))
    assert await stage.console.value("acme.db") == "new"
    assert await stage.console.value("acme.db", "1") == "old"
    assert [(one["Type"], one["KeyId"], one["Tier"], one["Labels"]) for one in await stage.console.versions("acme.db")] == [
        ("SecureString", "alias/first", "Standard", [f"privyseal-{one.aad.version}"]) for one in (first, second)
    ]  # fmt: skip
    assert isinstance(old, Reference) and old.version == first.aad.version
    assert (await manager.fetch(first, old)).reveal() == b"old"
    assert (await manager.fetch(second, new)).reveal() == b"new"


async def test_another_key_and_tier_are_taken_with_the_next_version(stage: Stage) -> None:
    await stage.manager().store(stage.version(), Plaintext(b"x"))
    await stage.manager(kmsKeyId="alias/second", tier="Advanced").store(stage.version(n=2), Plaintext(b"y" * 8_192))
    newest = (await stage.console.versions("acme.db"))[-1]
    assert (newest["KeyId"], newest["Tier"]) == ("alias/second", "Advanced")


async def test_text_stays_readable_to_others_and_what_aws_would_not_take_is_marked(stage: Stage) -> None:
    manager = stage.manager()
    for identifier, value, kept in (
        ("text", "p\u00e4ss\U0001f511\n".encode(), "p\u00e4ss\U0001f511\n"),
        ("bytes", b"\x00\xff", "privyseal:base64:AP8="),
        ("empty", b"", "privyseal:base64:"),
        ("zero", b"a\x00b", "privyseal:base64:YQBi"),
        ("nested", b"{{ssm:/prod/db}}", "privyseal:base64:e3tzc206L3Byb2QvZGJ9fQ=="),
        ("longest", b"x" * 4_096, "x" * 4_096),
        ("longest_bytes", b"\xff" * 3_057, "privyseal:base64:" + "/" * 4_076),
    ):
        secret = stage.version(identifier)
        stored = await manager.store(secret, Plaintext(value))
        assert await stage.console.value(f"acme.{identifier}") == kept
        assert (await manager.fetch(secret, stored)).reveal() == value


@pytest.mark.parametrize(
    ("tier", "value", "longest"),
    [
        ("Standard", b"x" * 4_097, "4,096"),
        ("Standard", b"\xff" * 3_060, "3,057"),
        ("Advanced", b"x" * 8_193, "8,192"),
        ("Intelligent-Tiering", b"\xc3\xa4" * 4_097, "8,192"),
        ("Advanced", b"{{" + b"x" * 8_000, "6,129"),
    ],
)
async def test_a_value_beyond_the_limit_of_its_tier_is_refused_before_it_is_sent(
    stage: Stage, tier: str, value: bytes, longest: str
) -> None:
    with pytest.raises(Malformed) as caught:
        await stage.manager(tier=tier).store(stage.version(), Plaintext(value))
    assert caught.value.code == "value_too_large" and f"{longest} bytes" in caught.value.detail
    with pytest.raises(stage.console.client.exceptions.ParameterNotFound):
        await stage.console.value("acme.db")


async def test_a_store_task_may_be_done_again_and_after_a_newer_one(stage: Stage) -> None:
    manager, first, second = stage.manager(), stage.version(), stage.version(n=2)
    stored = await manager.store(first, Plaintext(b"old"))
    assert await manager.store(first, Plaintext(b"old")) == stored
    new = await manager.store(second, Plaintext(b"new"))
    assert await manager.store(second, Plaintext(b"new")) == new
    assert await manager.store(first, Plaintext(b"old")) == stored
    assert len(await stage.console.versions("acme.db")) == 2
    assert await stage.console.value("acme.db") == "new"
    assert (await manager.fetch(first, stored)).reveal() == b"old"
    with pytest.raises(Conflict) as caught:
        await manager.store(first, Plaintext(b"another"))
    assert caught.value.code == "version_exists"


async def test_what_was_deleted_at_aws_is_made_again_and_its_numbers_mean_other_values(stage: Stage) -> None:
    manager, first, second = stage.manager(), stage.version(), stage.version(n=2)
    stored = await manager.store(first, Plaintext(b"old"))
    await stage.console.delete("acme.db")
    again = await manager.store(second, Plaintext(b"new"))
    assert await stage.console.value("acme.db", "1") == "new"
    assert (await manager.fetch(second, again)).reveal() == b"new"
    with pytest.raises(NotFound):
        await manager.fetch(first, stored)


@pytest.mark.parametrize("server", ["moto"])
async def test_after_a_hundred_versions_the_oldest_gives_way_unless_others_hold_it(stage: Stage) -> None:
    manager = stage.manager()
    first = stage.version()
    stored = await manager.store(first, Plaintext(b"first"))
    for number in range(2, 101):
        await stage.console.put("acme.db", f"value {number}")
    next_one, after = stage.version(n=2), stage.version(n=3)
    newest = await manager.store(next_one, Plaintext(b"next"))
    assert (await manager.fetch(next_one, newest)).reveal() == b"next"
    with pytest.raises(NotFound):
        await manager.fetch(first, stored)
    oldest = min(int(one["Version"]) for one in await stage.console.versions("acme.db"))
    await stage.console.label("acme.db", oldest, "production")
    with pytest.raises(Conflict) as caught:
        await manager.store(after, Plaintext(b"after"))
    assert caught.value.code == "versions_full" and "label" in caught.value.detail
    assert (await stage.console.found("acme.db", "production"))["Version"] == oldest


async def test_a_value_is_read_by_its_label_whatever_was_written_past_this_program(stage: Stage) -> None:
    manager, secret = stage.manager(), stage.version()
    stored = await manager.store(secret, Plaintext(b"mine"))
    await stage.console.put("acme.db", "of somebody with the provider's tools")
    assert (await manager.fetch(secret, stored)).reveal() == b"mine"


# ---- whose it is


async def test_what_others_made_is_not_overwritten_nor_deleted(stage: Stage) -> None:
    await stage.console.put("acme.db", "theirs")
    manager = stage.manager()
    for n in (1, 2):
        with pytest.raises(Conflict) as caught:
            await manager.store(stage.version(n=n), Plaintext(b"mine"))
        assert caught.value.code == "origin_foreign" and "Reference" in caught.value.hint
    await manager.delete(whole(stage.version()), None)
    assert await stage.console.value("acme.db") == "theirs"


async def test_what_another_secret_keeps_is_not_overwritten_nor_deleted(stage: Stage) -> None:
    tags = [{"Key": "privyseal-account", "Value": stage.world.id}, {"Key": "privyseal-secret", "Value": "b" * 26}]
    await stage.console.put("acme.db", "theirs", Tags=tags)
    with pytest.raises(Conflict) as caught:
        await stage.manager().store(stage.version(), Plaintext(b"mine"))
    assert caught.value.code == "origin_other"
    await stage.manager().delete(whole(stage.version()), None)
    assert await stage.console.value("acme.db") == "theirs"


async def test_a_parameter_of_ours_without_its_tags_is_not_passed_over_in_silence(stage: Stage) -> None:
    manager, secret = stage.manager(), stage.version()
    await manager.store(secret, Plaintext(b"mine"))
    await stage.console.client.remove_tags_from_resource(
        ResourceType="Parameter",
        ResourceId=f"{stage.console.path}/acme.db",
        TagKeys=["privyseal-account", "privyseal-secret"],
    )
    with pytest.raises(Conflict) as caught:
        await manager.delete(whole(secret), None)
    assert caught.value.code == "origin_foreign"
    assert await stage.console.value("acme.db") == "mine"


async def test_a_reference_to_what_a_secret_of_ours_keeps_is_denied(stage: Stage) -> None:
    manager, victim = stage.manager(), stage.version(scope="org/acme/project/web")
    await manager.store(victim, Plaintext(b"treasure"))
    arn = (await stage.console.found("acme.web.db"))["ARN"]
    label = f"privyseal-{victim.aad.version}"
    for reference, metadata in (
        (f"{stage.console.path}/acme.web.db", {}),
        (f"{stage.console.path}/acme.web.db", {"version": label}),
        (arn, {}),
    ):
        thief = stage.version("thief", scope="org/evil", reference=reference, metadata=metadata)
        with pytest.raises(Denied) as caught:
            await manager.store(thief, Plaintext(b""))
        assert caught.value.code == "reference_to_inline"
        assert "treasure" not in str(caught.value.problem())


# ---- references


async def test_a_reference_reads_names_arns_keys_numbers_and_labels(stage: Stage) -> None:
    await stage.console.put("prod", json.dumps({"user": {"name": "old"}, "a.b": 1}))
    await stage.console.put("prod", json.dumps({"user": {"name": "new"}, "a.b": 2}))
    await stage.console.label("prod", 1, "production")
    manager, name = stage.manager(), f"{stage.console.path}/prod"
    arn = (await stage.console.found("prod"))["ARN"]
    for reference, metadata, wanted in (
        (f"{name}#user.name", {}, b"new"),
        (f"{name}#user.name", {"version": "latest"}, b"new"),
        (f"{name}#user.name", {"version": "production"}, b"old"),
        (f"{name}#a.b", {"version": "1"}, b"1"),
        (f"{arn}#user", {}, b'{"name":"new"}'),
        (name, {"version": "1"}, b'{"user": {"name": "old"}, "a.b": 1}'),
    ):
        secret = stage.version(reference=reference, metadata=metadata)
        stored = await manager.store(secret, Plaintext(b""))
        assert (await manager.fetch(secret, stored)).reveal() == wanted


@pytest.mark.parametrize("kind", ["String", "StringList", "SecureString"])
async def test_every_type_of_parameter_can_be_referred_to(stage: Stage, kind: str) -> None:
    await stage.console.put("any", "a,b", Type=kind)
    secret = stage.version(reference=f"{stage.console.path}/any")
    stored = await stage.manager().store(secret, Plaintext(b""))
    assert (await stage.manager().fetch(secret, stored)).reveal() == b"a,b"


async def test_a_reference_reads_what_is_newest_and_deleting_it_deletes_nothing(stage: Stage) -> None:
    await stage.console.put("prod", "privyseal:base64:plain")
    manager, secret = stage.manager(), stage.version(reference=f"{stage.console.path}/prod")
    stored = await manager.store(secret, Plaintext(b""))
    assert (await manager.fetch(secret, stored)).reveal() == b"privyseal:base64:plain"
    await stage.console.put("prod", "rotated")
    assert (await manager.fetch(secret, stored)).reveal() == b"rotated"
    await manager.delete(whole(secret), None)
    assert await stage.console.value("prod") == "rotated"


@pytest.mark.parametrize(
    ("reference", "metadata", "error", "code"),
    [
        ("/none", {}, NotFound, "secret_not_found"),
        ("none", {"version": "7"}, NotFound, "secret_not_found"),
        ("has a space", {}, Malformed, "reference_malformed"),
        ("prod/db", {}, Malformed, "reference_malformed"),
        ("/prod//db", {}, Malformed, "reference_malformed"),
        ("/prod/../db", {}, Malformed, "reference_malformed"),
        ("/prod/db:3", {}, Malformed, "reference_malformed"),
        ("/a" * 16, {}, Malformed, "reference_malformed"),
        ("arn:aws:kms:us-east-1:123456789012:key/x", {}, Malformed, "reference_malformed"),
        ("arn:aws:ssm:us-east-1:123456789012:parameter/a:3", {}, Malformed, "reference_malformed"),
        ("arn:aws:ssm:eu-west-1:123456789012:parameter/prod", {}, Malformed, "reference_elsewhere"),
        ("/aws/reference/secretsmanager/prod", {}, Denied, "reference_to_secrets_manager"),
        ("/AWS/reference/SecretsManager/prod", {}, Denied, "reference_to_secrets_manager"),
        ("/aws/reference/secretsmanager", {}, Denied, "reference_to_secrets_manager"),
        (
            "arn:aws:ssm:us-east-1:123456789012:parameter/aws/reference/secretsmanager/prod",
            {}, Denied, "reference_to_secrets_manager",
        ),
        ("prod", {"verison": "1"}, Malformed, "metadata_unknown"),
        ("prod", {"version": "1:2"}, Malformed, "version_malformed"),
        ("prod#", {}, Malformed, "reference_malformed"),
    ],
)  # fmt: skip
async def test_a_reference_that_leads_nowhere_is_refused_when_it_is_made(
    stage: Stage, reference: str, metadata: dict[str, str], error: type[PrivySealError], code: str
) -> None:
    with pytest.raises(error) as caught:
        await stage.manager().store(stage.version(reference=reference, metadata=metadata), Plaintext(b""))
    assert caught.value.code == code


async def test_an_arn_of_another_account_is_not_read_as_this_accounts(stage: Stage) -> None:
    await stage.console.put("prod", "ours")
    arn = re.sub(r":\d{12}:", ":999999999999:", (await stage.console.found("prod"))["ARN"])
    with pytest.raises(Malformed) as caught:
        await stage.manager().store(stage.version(reference=arn), Plaintext(b""))
    assert caught.value.code == "reference_elsewhere"


# ---- deleting


async def test_a_deletion_leaves_nothing_and_may_be_repeated(stage: Stage) -> None:
    manager, secret = stage.manager(), stage.version()
    stored = await manager.store(secret, Plaintext(b"x"))
    for _ in range(2):
        await manager.delete(whole(secret), None)
    with pytest.raises(stage.console.client.exceptions.ParameterNotFound):
        await stage.console.value("acme.db")
    with pytest.raises(NotFound) as caught:
        await manager.fetch(secret, stored)
    assert caught.value.code == "secret_not_found"


async def test_a_single_version_is_not_deleted_and_says_so(stage: Stage) -> None:
    manager, secret = stage.manager(), stage.version()
    stored = await manager.store(secret, Plaintext(b"x"))
    with pytest.raises(Denied) as caught:
        await manager.delete(secret, stored)
    assert caught.value.code == "version_kept"
    assert (await manager.fetch(secret, stored)).reveal() == b"x"


# ---- checks, errors, hosts


async def test_a_check_asks_for_what_cannot_be_there_and_passes(stage: Stage) -> None:
    await stage.manager().check()
    listed = await stage.console.client.get_parameters_by_path(Path=stage.console.path)
    assert listed["Parameters"] == []


async def test_nobody_answers_is_unavailable_and_names_the_action(stage: Stage) -> None:
    with pytest.raises(Unavailable) as caught:
        await stage.manager(url="http://127.0.0.1:1").check()
    assert "ssm:ListTagsForResource" in caught.value.detail


async def test_a_host_that_the_local_policy_forbids_is_never_called(stage: Stage) -> None:
    with pytest.raises(Denied) as caught:
        await stage.manager(policy='hosts = ["*.amazonaws.com"]').check()
    assert caught.value.code == "local_policy" and caught.value.facts["rule"] == "hosts"


async def test_no_error_repeats_a_value_or_a_key(stage: Stage) -> None:
    await stage.console.put("acme.db", "hunter2-theirs")
    with pytest.raises(Conflict) as caught:
        await stage.manager().store(stage.version(), Plaintext(b"hunter2-mine"))
    told = str(caught.value.problem()) + repr(stage.opened)
    assert "hunter2" not in told and KEY not in told


async def test_two_writers_each_keep_their_own_version(stage: Stage) -> None:
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

READ = ("ssm:GetParameter", "ssm:ListTagsForResource")
PAGE = Path(__file__).parents[2] / "docs" / "secret-managers" / "aws-parameter-store.md"


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
    """The statement of a policy on the kind's page, for the account and path of a stage."""
    text = re.findall(r"^```json\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)[number]
    text = text.replace("123456789012", "000000000000").replace("/devops/", f"{stage.console.path}/")
    (statement,) = json.loads(text)["Statement"]
    return dict(statement)


@pytest.mark.parametrize("lacking", READ)
async def test_a_check_names_what_the_role_may_not_do(guarded: Stage, strict: MiniStack, lacking: str) -> None:
    guarded.key = strict.user(allow(*(one for one in READ if one != lacking)))
    with pytest.raises(Denied) as caught:
        await guarded.manager().check()
    assert caught.value.code == "aws_denied" and lacking in caught.value.detail
    assert f"{guarded.console.path}/privyseal-check" in caught.value.detail
    assert "no identity-based policy" in caught.value.detail


async def test_the_documented_permissions_are_enough_and_end_at_the_path(guarded: Stage, strict: MiniStack) -> None:
    guarded.key = strict.user(documented(guarded, 1))
    manager, secret = guarded.manager(), guarded.version()
    await manager.check()
    stored = await manager.store(secret, Plaintext(b"x"))
    await manager.store(guarded.version(n=2), Plaintext(b"y"))
    assert (await manager.fetch(secret, stored)).reveal() == b"x"
    await manager.delete(whole(secret), None)
    with pytest.raises(Denied):
        await guarded.manager(parameterPathPrefix="/elsewhere").store(guarded.version(n=3), Plaintext(b"z"))


async def test_the_documented_permissions_to_read_are_enough_and_writing_is_then_denied(
    guarded: Stage, strict: MiniStack
) -> None:
    await guarded.console.put("prod", "theirs")
    guarded.key = strict.user(documented(guarded, 0))
    manager, secret = guarded.manager(), guarded.version(reference=f"{guarded.console.path}/prod")
    await manager.check()
    stored = await manager.store(secret, Plaintext(b""))
    assert (await manager.fetch(secret, stored)).reveal() == b"theirs"
    with pytest.raises(Denied) as caught:
        await manager.store(guarded.version(), Plaintext(b"x"))
    assert "ssm:PutParameter" in caught.value.detail


async def test_what_could_not_be_labelled_is_stored_by_doing_it_again(guarded: Stage, strict: MiniStack) -> None:
    lame = guarded.key = strict.user(allow(*READ, "ssm:PutParameter", "ssm:AddTagsToResource"))
    with pytest.raises(Denied) as caught:
        await guarded.manager().store(guarded.version(), Plaintext(b"x"))
    assert "ssm:LabelParameterVersion" in caught.value.detail
    guarded.key = strict.user(documented(guarded, 1))
    assert guarded.key != lame
    stored = await guarded.manager().store(guarded.version(), Plaintext(b"x"))
    assert (await guarded.manager().fetch(guarded.version(), stored)).reveal() == b"x"


async def test_a_wrong_secret_key_is_told_from_a_missing_permission(guarded: Stage, strict: MiniStack) -> None:
    guarded.key = (strict.user(allow(*READ))[0], "x" * 40)
    with pytest.raises(Denied) as caught:
        await guarded.manager().check()
    assert caught.value.code == "aws_credentials_refused" and guarded.key[0] in caught.value.detail


async def test_a_secret_made_anew_does_not_read_as_the_old_one(stage: Stage) -> None:
    manager, old = stage.manager(), stage.version()
    before = await manager.store(old, Plaintext(b"old"))
    await manager.delete(whole(old), None)
    new = stage.version(task="again", id=stage.world.opaque("a new secret"))
    new = replace(new, aad=replace(new.aad, secret=new.secret.id))
    await manager.store(new, Plaintext(b"new"))
    with pytest.raises(NotFound):
        await manager.fetch(old, before)
