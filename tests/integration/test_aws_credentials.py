"""Who a connector is at AWS: each credential type uses what it names and nothing else, and renews it in time and once."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from delegate.credentials.aws_roles import session_name
from delegate.secret_managers.aws_kms import AwsKeys
from shared.documents.connector import ConnectorDocument
from shared.errors import Denied, Expired, Malformed, NotReady, PrivySealError, Unavailable
from tests.fakes.aws import Aws, answer, refuse
from tests.fakes.clocks import SetClock
from tests.fakes.kms import ACCESS_KEY, OIDC, OWN, ROLE, STS, Kms
from tests.fakes.world import NOW, World

AMBIENT = "AKIADELEGATEDELEGATE"
SETTINGS = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_ENDPOINT_URL",
    "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)  # fmt: skip


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where AWS's own files are; the delegate has no identity yet."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """The delegate's own, by its environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", AMBIENT)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "d" * 40)


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOW)


@pytest.fixture
async def aws(clock: SetClock) -> AsyncIterator[Aws]:
    async with Aws(clock.now) as one:
        yield one


@pytest.fixture
def kms(aws: Aws, clock: SetClock) -> Kms:
    return Kms(World(), aws.url, clock)


class Tokens:
    """Signs as a keyring's OIDC key does."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        self.minted: list[str] = []

    async def mint(self, connector: ConnectorDocument, audience: str) -> str:
        claims = {"iss": "https://issuer.example", "sub": connector.identifier, "aud": audience, "n": len(self.minted)}
        self.minted.append(jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "1"}))
        return self.minted[-1]


def signers(aws: Aws, operation: str) -> list[str]:
    return [asked.access_key for asked in aws.asked if asked.operation == operation]


async def failure(keys: AwsKeys) -> PrivySealError:
    with pytest.raises(PrivySealError) as caught:
        await keys.check()
    await keys.close()
    return caught.value


# ---- an access key


async def test_an_access_key_is_used_whatever_else_the_delegate_is(
    aws: Aws, kms: Kms, identity: None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "ambient")
    monkeypatch.setenv("AWS_PROFILE", "missing")
    keys = kms.keys(aws.new_key(), secrets={"key": ACCESS_KEY.encode() + b"\n"})
    await keys.check()
    await keys.close()
    assert signers(aws, "GenerateDataKey") == [ACCESS_KEY]
    assert "X-Amz-Security-Token" not in aws.asked[0].headers


@pytest.mark.parametrize(
    ("secrets", "named"),
    [
        ({"key": b""}, "key"),
        ({"key": b"hunter2"}, "key"),
        ({"key": b"AKIA IOSFODNN7 EXAMPLE"}, "key"),
        ({"key": b"AKIAIOSFODNN7EX\r\nX-Evil: 1"}, "key"),
        ({"key": "AKIAIOSFODNN7EXÄMPLE".encode()}, "key"),
        ({"account.half": b"hunter2"}, "account.half"),
        ({"account.half": b"hunter2 hunter2 hunter2 hunter2"}, "account.half"),
        ({"account.half": b"\xff" * 40}, "account.half"),
    ],
)
async def test_what_can_be_no_access_key_is_told_by_its_reference(
    kms: Kms, secrets: dict[str, bytes], named: str
) -> None:
    with pytest.raises(Malformed) as caught:
        kms.keys("arn:aws:kms:us-east-1:123456789012:key/1", secrets=secrets)
    assert caught.value.code == "credential_malformed"
    assert f"the secret {named} isn't" in caught.value.detail
    assert "hunter2" not in repr(caught.value.problem())


@pytest.mark.parametrize(
    "arn",
    [b"", b"hunter2", b"arn:aws:kms:eu-west-1:123456789012:key/hunter2", b"\xff", b"arn:aws:iam::123456789012:role/x"],
)
async def test_what_can_be_no_key_of_the_region_is_told_by_its_reference(kms: Kms, arn: bytes) -> None:
    with pytest.raises(Malformed, match="the secret arn isn't the ARN of a key in the region us-east-1") as caught:
        kms.keys("arn", secrets={"arn": arn})
    assert "hunter2" not in repr(caught.value.problem())


async def test_an_access_key_that_is_refused_as_expired_is_not_replaced(aws: Aws, kms: Kms, identity: None) -> None:
    aws.ended.add(ACCESS_KEY)
    why = await failure(kms.keys(aws.new_key()))
    assert (type(why), why.code) == (Expired, "aws_credentials_expired")
    assert signers(aws, "GenerateDataKey") == [ACCESS_KEY]


# ---- the delegate's own identity


async def test_without_an_identity_of_its_own_a_delegate_says_so(aws: Aws, kms: Kms) -> None:
    for credential in (OWN, STS):
        why = await failure(kms.keys(aws.new_key(), credential))
        assert (type(why), why.code) == (NotReady, "aws_credentials_missing")
    assert aws.asked == []


async def test_the_environment_is_an_identity(aws: Aws, kms: Kms, identity: None) -> None:
    keys = kms.keys(aws.new_key(), OWN)
    await keys.check()
    await keys.close()
    assert signers(aws, "GenerateDataKey") == [AMBIENT]


async def test_a_profile_is_an_identity_and_its_endpoints_are_not_believed(
    aws: Aws, kms: Kms, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Aws() as elsewhere:
        (folder / "config").write_text(
            f"[profile ours]\naws_access_key_id = AKIAPROFILEPROFILE00\naws_secret_access_key = {'p' * 40}\n"
            f"endpoint_url = {elsewhere.url}\nregion = eu-west-3\n"
        )
        monkeypatch.setenv("AWS_PROFILE", "ours")
        monkeypatch.setenv("AWS_ENDPOINT_URL", elsewhere.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", elsewhere.url)
        keys = kms.keys(aws.new_key(), OWN)
        await keys.check()
        await keys.close()
        assert elsewhere.asked == []
    assert signers(aws, "GenerateDataKey") == ["AKIAPROFILEPROFILE00"]
    assert "/us-east-1/kms/" in aws.asked[0].headers["Authorization"]


async def test_a_missing_profile_is_said(aws: Aws, kms: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "missing")
    why = await failure(kms.keys(aws.new_key(), OWN))
    assert (type(why), why.facts["cause"]) == (NotReady, "ProfileNotFound")


async def test_a_role_of_a_profile_is_asked_of_the_configured_endpoint(
    aws: Aws, kms: Kms, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "config").write_text(f"[profile ours]\nrole_arn = {ROLE}\nsource_profile = base\n")
    (folder / "credentials").write_text(
        f"[base]\naws_access_key_id = AKIABASEBASEBASE0000\naws_secret_access_key = {'p' * 40}\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "ours")
    aws.lifetime_seconds = 10**9
    keys = kms.keys(aws.new_key(), OWN)
    await keys.check()
    await keys.close()
    assert signers(aws, "AssumeRole") == ["AKIABASEBASEBASE0000"]
    assert signers(aws, "GenerateDataKey")[0].startswith("ASIA")


async def test_a_web_identity_is_an_identity(aws: Aws, kms: Kms, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "token").write_text("a.b.c")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(folder / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    aws.lifetime_seconds = 10**9
    keys = kms.keys(aws.new_key(), OWN)
    await keys.check()
    assert aws.asked[0].parameters["WebIdentityToken"] == "a.b.c"
    await keys.close()
    aws.faults["AssumeRoleWithWebIdentity"].append(refuse("AccessDenied", 403, "hunter2"))
    why = await failure(kms.keys(aws.new_key(), OWN))
    assert (type(why), why.code) == (Denied, "aws_denied")
    assert why.facts["action"] == "sts:AssumeRoleWithWebIdentity"


async def test_a_container_and_a_process_are_identities(
    aws: Aws, kms: Kms, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"AccessKeyId": "ASIACONTAINER0000000", "SecretAccessKey": "c" * 40, "Expiration": "2099-01-01T00:00:00Z"}
    aws.faults["GET"].append(answer(json.dumps({**told, "Token": "t"}).encode()))
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{aws.url}/role")
    keys = kms.keys(aws.new_key(), OWN)
    await keys.check()
    await keys.close()
    monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    printed = json.dumps({**told, "Version": 1, "AccessKeyId": "ASIAPROCESS000000000"})
    (folder / "told.py").write_text(f"print({printed!r})")
    (folder / "config").write_text(f"[default]\ncredential_process = {sys.executable} {folder / 'told.py'}\n")
    keys = kms.keys(aws.new_key(), OWN)
    await keys.check()
    await keys.close()
    assert signers(aws, "GenerateDataKey") == ["ASIACONTAINER0000000", "ASIAPROCESS000000000"]


async def test_who_waits_too_long_for_an_identity_gives_up_and_the_next_finds_it(
    aws: Aws, kms: Kms, folder: Path
) -> None:
    told = {"Version": 1, "AccessKeyId": "ASIAPROCESS000000000", "SecretAccessKey": "c" * 40, "SessionToken": "t"}
    waits = f"import os, time\nopen({str(folder / 'begun')!r}, 'a').write('x')\n"
    waits += f"while not os.path.exists({str(folder / 'go')!r}): time.sleep(0.01)\nprint({json.dumps(told)!r})"
    (folder / "told.py").write_text(waits)
    (folder / "config").write_text(f"[default]\ncredential_process = {sys.executable} {folder / 'told.py'}\n")
    kms.call_seconds = 0.3
    keys = kms.keys(aws.new_key(), OWN)
    for _ in range(2):
        with pytest.raises(Unavailable) as caught:
            await keys.check()
        assert caught.value.code == "aws_slow"
    (folder / "go").touch()
    async with asyncio.timeout(30):
        while not aws.asked:
            await asyncio.gather(keys.check(), return_exceptions=True)
    await keys.close()
    assert (folder / "begun").read_text() == "x"
    assert signers(aws, "GenerateDataKey")[0] == "ASIAPROCESS000000000"


async def test_an_identity_that_expired_is_looked_for_anew(aws: Aws, kms: Kms, folder: Path) -> None:
    def write(access_key: str) -> None:
        text = f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {'p' * 40}\n"
        (folder / "credentials").write_text(text)

    write("AKIAOLDOLDOLDOLD0000")
    keys = kms.keys(aws.new_key(), OWN)
    await keys.check()
    aws.ended.add("AKIAOLDOLDOLDOLD0000")
    write("AKIANEWNEWNEWNEW0000")
    await keys.check()
    await keys.close()
    old, new = "AKIAOLDOLDOLDOLD0000", "AKIANEWNEWNEWNEW0000"
    assert signers(aws, "GenerateDataKey") == [old, old, new]


# ---- a role


async def test_a_role_is_assumed_as_the_connector_says(aws: Aws, kms: Kms, identity: None) -> None:
    keys = kms.keys(
        aws.new_key(),
        {**STS, "spec": {**STS["spec"], "externalName": "ext-1", "assumeStsRoleDuration": 900}},
    )
    await keys.check()
    await keys.close()
    asked, used = aws.asked
    assert asked.access_key == AMBIENT
    told = {
        name: asked.parameters.get(name) for name in ("RoleArn", "ExternalId", "DurationSeconds", "RoleSessionName")
    }
    assert told == {"RoleArn": ROLE, "ExternalId": "ext-1", "DurationSeconds": "900", "RoleSessionName": "eu-1@kms1"}
    assert used.access_key.startswith("ASIA")
    assert used.headers["X-Amz-Security-Token"]


@pytest.mark.parametrize("duration", [0, -1])
async def test_a_duration_and_an_external_id_that_are_not_given_are_not_sent(
    aws: Aws, kms: Kms, identity: None, duration: int
) -> None:
    keys = kms.keys(aws.new_key(), {**STS, "spec": {**STS["spec"], "assumeStsRoleDuration": duration}})
    await keys.check()
    await keys.close()
    assert not {"ExternalId", "DurationSeconds"} & set(aws.asked[0].parameters)


@pytest.mark.parametrize(
    ("delegate", "connector"), [("eu 1/ä", "kms1"), ("d" * 128, "c" * 128), ("a", "b"), ("\x00\n", "é")]
)
def test_a_session_is_named_as_aws_takes_it(delegate: str, connector: str) -> None:
    name = session_name(delegate, connector)
    assert re.fullmatch(r"[A-Za-z0-9_+=,.@\-]{2,64}", name)


async def test_an_id_token_buys_a_role_without_any_other_credential(aws: Aws, kms: Kms, identity: None) -> None:
    tokens = Tokens()
    keys = kms.keys(aws.new_key(), OIDC, surroundings=kms.surroundings(tokens=tokens))
    await asyncio.gather(*(keys.check() for _ in range(10)))
    await keys.close()
    asked = aws.asked[0]
    assert (asked.operation, asked.access_key) == ("AssumeRoleWithWebIdentity", "")
    assert "Authorization" not in asked.headers
    assert asked.parameters["RoleSessionName"] == "eu-1@kms1"
    assert "DurationSeconds" not in asked.parameters
    claims = jwt.decode(
        asked.parameters["WebIdentityToken"], tokens.key.public_key(), ["RS256"], audience="sts.amazonaws.com"
    )
    assert claims["sub"] == "kms1"
    assert aws.operations() == ["AssumeRoleWithWebIdentity"] + ["GenerateDataKey"] * 10
    assert AMBIENT not in signers(aws, "GenerateDataKey")


@pytest.mark.parametrize(
    ("code", "status", "error", "ours"),
    [
        ("AccessDenied", 403, Denied, "aws_denied"),
        ("InvalidIdentityToken", 400, Denied, "oidc_refused"),
        ("IDPRejectedClaim", 403, Denied, "oidc_refused"),
        ("IDPCommunicationError", 400, Unavailable, "oidc_unreachable"),
        ("ExpiredTokenException", 400, Expired, "aws_credentials_expired"),
        ("RegionDisabledException", 403, NotReady, "region_disabled"),
        ("ValidationError", 400, Malformed, "aws_invalid"),
    ],
)
async def test_each_refusal_of_the_token_service_has_its_meaning(
    aws: Aws, kms: Kms, code: str, status: int, error: type[PrivySealError], ours: str
) -> None:
    tokens = Tokens()
    aws.faults["AssumeRoleWithWebIdentity"].extend([refuse(code, status, "hunter2")] * 3)
    why = await failure(kms.keys(aws.new_key(), OIDC, surroundings=kms.surroundings(tokens=tokens)))
    assert (type(why), why.code) == (error, ours)
    assert why.facts["action"] == "sts:AssumeRoleWithWebIdentity"
    shown = repr(why.problem())
    assert "hunter2" not in shown
    assert not any(token in shown for token in tokens.minted)


# ---- renewal


async def test_a_role_is_taken_once_for_all_who_wait_and_again_before_it_ends(
    aws: Aws, kms: Kms, clock: SetClock, identity: None
) -> None:
    keys = kms.keys(aws.new_key(), STS)
    await asyncio.gather(*(keys.check() for _ in range(20)))
    assert len(signers(aws, "AssumeRole")) == 1
    clock.seconds += 3600 - 301
    await keys.check()
    assert len(signers(aws, "AssumeRole")) == 1
    clock.seconds += 2
    await asyncio.gather(*(keys.check() for _ in range(20)))
    await keys.close()
    assert len(signers(aws, "AssumeRole")) == 2
    assert len(set(signers(aws, "GenerateDataKey"))) == 2


async def test_a_short_session_is_not_renewed_at_once(aws: Aws, kms: Kms, clock: SetClock, identity: None) -> None:
    keys = kms.keys(aws.new_key(), {**STS, "spec": {**STS["spec"], "assumeStsRoleDuration": 900}})
    for later, asked in [(0, 1), (800, 1), (11, 2)]:
        clock.seconds += later
        await keys.check()
        assert len(signers(aws, "AssumeRole")) == asked
    await keys.close()


async def test_while_the_token_service_is_down_what_still_holds_is_used(
    aws: Aws, kms: Kms, clock: SetClock, identity: None
) -> None:
    keys = kms.keys(aws.new_key(), STS)
    await keys.check()
    aws.faults["AssumeRole"].extend([answer(b"", 503)] * 9)
    clock.seconds += 3400
    for _ in range(5):
        await keys.check()
    assert len(signers(aws, "AssumeRole")) == 1 + 3
    clock.seconds += 31
    await keys.check()
    assert len(signers(aws, "AssumeRole")) == 1 + 6
    clock.seconds += 300
    why = await failure(keys)
    assert (type(why), why.facts["action"]) == (Unavailable, "sts:AssumeRole")
    assert len(signers(aws, "AssumeRole")) == 1 + 9


async def test_a_role_that_was_taken_away_is_not_used_on(aws: Aws, kms: Kms, clock: SetClock, identity: None) -> None:
    keys = kms.keys(aws.new_key(), STS)
    await keys.check()
    clock.seconds += 3400
    aws.faults["AssumeRole"].append(refuse("AccessDenied", 403))
    assert (await failure(keys)).code == "aws_denied"


@pytest.mark.parametrize("credential", [STS, OIDC], ids=["STS", "OIDC"])
async def test_credentials_that_expire_in_mid_task_are_renewed_once_for_all(
    aws: Aws, kms: Kms, identity: None, credential: dict[str, Any]
) -> None:
    keys = kms.keys(aws.new_key(), credential, surroundings=kms.surroundings(tokens=Tokens()))
    made = await keys.generate(kms.place())
    taken = aws.operations()[0]
    aws.ended.update(signers(aws, "GenerateDataKey"))
    opened = await asyncio.gather(*(keys.unwrap(made.key_name, made.wrapped, kms.place()) for _ in range(20)))
    await keys.close()
    assert all(one == made.key for one in opened)
    assert aws.operations().count(taken) == 2


async def test_credentials_that_expire_again_at_once_are_told(aws: Aws, kms: Kms, identity: None) -> None:
    aws.faults["GenerateDataKey"].extend([refuse("ExpiredTokenException")] * 9)
    why = await failure(kms.keys(aws.new_key(), STS))
    assert (type(why), why.code) == (Expired, "aws_credentials_expired")
    assert aws.operations() == ["AssumeRole", "GenerateDataKey", "AssumeRole", "GenerateDataKey"]


async def test_who_leaves_while_a_role_is_being_taken_does_not_spoil_it(aws: Aws, kms: Kms, identity: None) -> None:
    go = asyncio.Event()

    async def slowly(_: Any) -> Any:
        await go.wait()
        return aws._AssumeRole({"RoleArn": ROLE})

    aws.faults["AssumeRole"].append(slowly)
    keys = kms.keys(aws.new_key(), STS)
    first, second = asyncio.create_task(keys.check()), asyncio.create_task(keys.check())
    async with asyncio.timeout(30):
        while not aws.asked:
            await asyncio.sleep(0.01)
    first.cancel()
    go.set()
    await second
    await keys.close()
    assert first.cancelled()
    assert aws.operations() == ["AssumeRole", "GenerateDataKey"]
