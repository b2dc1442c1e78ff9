"""The kind AwsKms against servers that others wrote: moto for what is bound and what tampering does, MiniStack for who may."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import structs

from delegate.clock import Clock
from delegate.secret_managers.aws_kms import AwsKeys
from delegate.tokens import Tokens
from delegate.zone import Zone
from shared.errors import Denied, NotFound, NotReady, PrivySealError, Tampered
from tests.fakes.issuers import ISSUER, speak
from tests.fakes.kms import OWN, Kms
from tests.fakes.world import World
from tests.servers.emulators import Emulator, MiniStack, Moto


@pytest.fixture(autouse=True)
def no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with Moto() as one:
        yield one


@pytest.fixture(scope="module")
def ministack() -> Iterator[MiniStack]:
    with MiniStack(auth=True) as one:
        yield one


def beside(server: Emulator) -> Kms:
    return Kms(World(), server.url, Clock())


def new_key(server: Emulator) -> str:
    arn: str = server.client("kms").create_key()["KeyMetadata"]["Arn"]
    return arn


def alias(server: Emulator, name: str, arn: str) -> str:
    server.client("kms").create_alias(AliasName=f"alias/{name}", TargetKeyId=arn)
    return f"{arn.rpartition(':')[0]}:alias/{name}"


async def failure(keys: AwsKeys) -> PrivySealError:
    with pytest.raises(PrivySealError) as caught:
        await keys.check()
    await keys.close()
    return caught.value


# ---- moto


async def test_a_data_key_comes_back_at_its_place_only(moto: Moto) -> None:
    kms = beside(moto)
    arn, other = new_key(moto), new_key(moto)
    keys = kms.keys(arn, previousKmsArns=[other])
    made = await keys.generate(kms.place())
    assert (len(made.key), made.key_name) == (32, arn)
    assert await keys.unwrap(arn, made.wrapped, kms.place()) == made.key
    for place in (kms.place(2), kms.place(secret="t" * 26), kms.place(account="b" * 52), kms.place(connector="d" * 26)):
        with pytest.raises(Tampered):
            await keys.unwrap(arn, made.wrapped, place)
    with pytest.raises((Tampered, Denied)):
        await keys.unwrap(other, made.wrapped, kms.place())
    await keys.close()


async def test_the_context_that_kms_logs_is_what_the_page_says_and_no_less(moto: Moto) -> None:
    kms = beside(moto)
    arn, place = new_key(moto), kms.place()
    keys = kms.keys(arn)
    made = await keys.generate(place)
    await keys.close()
    client = moto.client("kms")
    context = place.encryption_context(b"privyseal/v1/wrap")
    assert set(context) == {"privyseal:account", "privyseal:secret", "privyseal:aad"}
    opened = client.decrypt(CiphertextBlob=made.wrapped, KeyId=arn, EncryptionContext=context)
    assert opened["Plaintext"] == made.key.reveal()
    for stripped in ({}, {"privyseal:account": context["privyseal:account"]}):
        with pytest.raises(client.exceptions.InvalidCiphertextException):
            client.decrypt(CiphertextBlob=made.wrapped, KeyId=arn, EncryptionContext=stripped)


async def test_a_change_anywhere_in_a_wrapped_key_is_noticed(moto: Moto) -> None:
    kms = beside(moto)
    keys = kms.keys(new_key(moto))
    made = await keys.generate(kms.place())
    wrapped = made.wrapped
    changed = [wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :] for at in range(0, len(wrapped), 5)]
    for forged in [*changed, wrapped[:-1], wrapped + b"\x00", b"x"]:
        with pytest.raises(PrivySealError) as caught:
            await keys.unwrap(made.key_name, forged, kms.place())
        assert not caught.value.retryable
    await keys.close()


async def test_an_arn_that_is_a_secret_is_in_no_record_and_either_form_is_understood(moto: Moto) -> None:
    kms, arn = beside(moto), new_key(moto)
    hidden, plain = kms.keys("arn", secrets={"arn": arn.encode() + b"\n"}), kms.keys(arn)
    secret, open_ = await hidden.generate(kms.place()), await plain.generate(kms.place())
    assert arn not in secret.key_name
    assert arn.rpartition("/")[2] not in secret.key_name
    for keys in (hidden, plain):
        for made in (secret, open_):
            assert keys.accepts(made.key_name)
            assert await keys.unwrap(made.key_name, made.wrapped, kms.place()) == made.key
        await keys.close()


async def test_an_alias_means_the_key_that_it_pointed_to_and_a_repointed_one_opens_nothing(moto: Moto) -> None:
    kms, first, second = beside(moto), new_key(moto), new_key(moto)
    arn = alias(moto, "turned", first)
    keys = kms.keys(arn)
    made = await keys.generate(kms.place())
    assert made.key_name == first
    assert await keys.unwrap(first, made.wrapped, kms.place()) == made.key
    moto.client("kms").update_alias(AliasName="alias/turned", TargetKeyId=second)
    with pytest.raises(Denied):
        await keys.unwrap(first, made.wrapped, kms.place())
    assert (await keys.generate(kms.place())).key_name == second
    await keys.close()
    listed = kms.keys(arn, previousKmsArns=[first])
    assert await listed.unwrap(first, made.wrapped, kms.place()) == made.key
    await listed.close()


async def test_a_record_of_another_key_is_not_asked_for(moto: Moto) -> None:
    kms, arn = beside(moto), new_key(moto)
    keys = kms.keys(arn)
    foreign = ("", "local/main/1", arn[:-1], arn + "0", "sha256:" + "0" * 64, arn.replace("us-east-1", "eu-west-1"))
    for name in foreign:
        assert not keys.accepts(name)
        with pytest.raises(Denied) as caught:
            await keys.unwrap(name, b"x", kms.place())
        assert caught.value.code == "key_unlisted"
    by_alias = kms.keys(alias(moto, "narrow", arn))
    for name in ("", "local/main/1", arn.replace("us-east-1", "eu-west-1"), arn.replace(":key/", ":alias/")):
        assert not by_alias.accepts(name)


async def test_a_missing_key_and_one_of_another_region_are_told(moto: Moto) -> None:
    kms, arn = beside(moto), new_key(moto)
    why = await failure(kms.keys(arn[:-4] + "0000"))
    assert (type(why), why.code) == (NotFound, "key_not_found")
    elsewhere = arn.replace("us-east-1", "eu-west-1")
    with pytest.raises(PrivySealError, match="of another region"):
        kms.keys(elsewhere)
    assert (await failure(kms.keys(elsewhere, region="eu-west-1"))).code == "key_not_found"


# ---- MiniStack, which checks signatures, policies and trust


ALLOWED = ("kms:GenerateDataKey", "kms:Decrypt")


def allow(arn: str, *actions: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions or ALLOWED), "Resource": arn}


def held(key: tuple[str, str]) -> dict[str, bytes]:
    return {"key": key[0].encode(), "account.half": key[1].encode()}


async def test_the_two_permissions_of_the_page_are_enough_and_each_missing_one_is_named(ministack: MiniStack) -> None:
    kms, arn, other = beside(ministack), new_key(ministack), new_key(ministack)
    user = ministack.user(allow(arn))
    keys = kms.keys(arn, secrets=held(user))
    await keys.check()
    made = await keys.generate(kms.place())
    assert await keys.unwrap(arn, made.wrapped, kms.place()) == made.key
    await keys.close()

    why = await failure(kms.keys(other, secrets=held(user)))
    assert (type(why), why.code, why.facts["action"]) == (Denied, "aws_denied", "kms:GenerateDataKey")
    assert f"kms:GenerateDataKey on the key {other} to the access key that the secret key holds" in why.detail
    assert "no identity-based policy" in why.detail
    half = kms.keys(arn, secrets=held(ministack.user(allow(arn, "kms:GenerateDataKey"))))
    await half.check()
    with pytest.raises(Denied, match="AWS doesn't allow kms:Decrypt on the key"):
        await half.unwrap(arn, made.wrapped, kms.place())
    await half.close()
    denying = ministack.user(allow("*"), {"Effect": "Deny", "Action": "kms:GenerateDataKey", "Resource": arn})
    assert "explicit deny" in (await failure(kms.keys(arn, secrets=held(denying)))).detail


async def test_a_wrong_signature_and_an_unknown_key_are_refused(ministack: MiniStack) -> None:
    kms, arn = beside(ministack), new_key(ministack)
    known, half = ministack.user(allow(arn))
    for key in ((known, half[:-1] + ("A" if half[-1] != "A" else "B")), ("AKIAIOSFODNN7EXAMPLE", half)):
        why = await failure(kms.keys(arn, secrets=held(key)))
        assert (type(why), why.code) == (Denied, "aws_credentials_refused")
        assert half not in repr(why.problem())


async def test_a_disabled_key_and_one_that_is_to_be_deleted_are_told_apart(ministack: MiniStack) -> None:
    kms, arn, client = beside(ministack), new_key(ministack), ministack.client("kms")
    user = held(ministack.user(allow(arn)))
    keys = kms.keys(arn, secrets=user)
    made = await keys.generate(kms.place())

    async def told(error: type[PrivySealError], code: str) -> None:
        for call in (keys.check(), keys.unwrap(arn, made.wrapped, kms.place())):
            with pytest.raises(error) as caught:
                await call
            assert caught.value.code == code
            assert arn in caught.value.detail

    client.disable_key(KeyId=arn)
    await told(NotReady, "key_disabled")
    client.enable_key(KeyId=arn)
    client.schedule_key_deletion(KeyId=arn, PendingWindowInDays=7)
    await told(NotReady, "key_unusable")
    client.cancel_key_deletion(KeyId=arn)
    client.enable_key(KeyId=arn)
    assert await keys.unwrap(arn, made.wrapped, kms.place()) == made.key
    await keys.close()


def trust(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


def role(server: Emulator, name: str, trusted: dict[str, Any], *statements: dict[str, Any]) -> str:
    iam = server.client("iam")
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(trusted))["Role"]["Arn"]
    for number, statement in enumerate(statements):
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_role_policy(RoleName=name, PolicyName=f"p{number}", PolicyDocument=policy)
    return arn


async def test_a_role_is_assumed_with_its_external_id_and_not_without(
    ministack: MiniStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    kms, arn = beside(ministack), new_key(ministack)
    account = arn.split(":")[4]
    user = ministack.user(allow("*", "sts:AssumeRole"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", user[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", user[1])
    trusted = {
        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": "ext-1"}},
    }
    arn_of_role = role(ministack, "external", trusted, allow(arn))

    def credential(**spec: Any) -> dict[str, Any]:
        return {"type": "AssumeSTSRole", "spec": {"delegateSelectors": ["d1"], "roleArn": arn_of_role, **spec}}

    keys = kms.keys(arn, credential(externalName="ext-1", assumeStsRoleDuration=900))
    made = await keys.generate(kms.place())
    assert await keys.unwrap(arn, made.wrapped, kms.place()) == made.key
    await keys.close()
    for wrong in ({}, {"externalName": "ext-2"}):
        why = await failure(kms.keys(arn, credential(**wrong)))
        assert (type(why), why.code, why.facts["action"]) == (Denied, "aws_denied", "sts:AssumeRole")
        assert (
            f"AWS doesn't allow sts:AssumeRole on the role {arn_of_role} to the delegate's own AWS identity"
            in why.detail
        )
    # What the delegate itself may not, the role may: no connector's right leaks to another.
    assert (await failure(kms.keys(arn, OWN))).facts["action"] == "kms:GenerateDataKey"


async def test_our_id_token_buys_the_role_that_trusts_its_exact_subject(ministack: MiniStack) -> None:
    kms, arn = beside(ministack), new_key(ministack)
    account, issuer = arn.split(":")[4], ISSUER.removeprefix("https://")
    ministack.client("iam").create_open_id_connect_provider(Url=ISSUER, ClientIDList=["sts.amazonaws.com"])
    trusted = {
        "Principal": {"Federated": f"arn:aws:iam::{account}:oidc-provider/{issuer}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {
            "StringEquals": {
                f"{issuer}:aud": "sts.amazonaws.com",
                f"{issuer}:sub": f"account/{kms.world.id}:org/acme:connector/kms1",
            }
        },
    }
    credential = {"type": "OidcAuthentication", "spec": {"iamRoleArn": role(ministack, "oidc", trusted, allow(arn))}}

    def keys(issuer: str = ISSUER, **changes: Any) -> AwsKeys:
        world = World()
        speak(world, issuer=issuer)
        tokens = Tokens(Zone(world.keyring, world.book()), Clock(), secrets.token_bytes)
        connector = structs.replace(
            kms.connector(credential, kmsArnInPlainText=arn), **{"scope": "org/acme", **changes}
        )
        return AwsKeys(connector, kms.surroundings(tokens=tokens), {})

    right = keys()
    made = await right.generate(kms.place())
    assert await right.unwrap(arn, made.wrapped, kms.place()) == made.key
    await right.close()
    for wrong in (
        keys(identifier="kms2"),
        keys(scope="account"),
        keys(scope="org/acme/project/web"),
        keys(issuer="https://other.example"),
    ):
        why = await failure(wrong)
        assert (type(why), why.facts["action"]) == (Denied, "sts:AssumeRoleWithWebIdentity")
        assert "privyseal oidc show" in why.hint


async def test_instance_metadata_is_an_identity_by_its_second_version_only(
    moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    kms, arn = beside(moto), new_key(moto)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    wanted = {"SERVICES": "ec2,imds", "MINISTACK_IMDS_V2_REQUIRED": "1"}
    with MiniStack(environ=wanted) as metadata:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
        keys = kms.keys(arn, OWN)
        await keys.check()
        await keys.close()
    why = await failure(kms.keys(arn, OWN))
    assert (type(why), why.code) == (NotReady, "aws_credentials_missing")
