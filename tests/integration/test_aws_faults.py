"""What AWS's faults do to a connector of the kind AwsKms: AWS's own library speaks to a server that fails as told."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from delegate.credentials.aws_session import CONNECTIONS
from delegate.secret_managers.aws_kms import AwsKeys
from shared.errors import (
    Denied,
    Expired,
    Malformed,
    NotFound,
    NotReady,
    Overloaded,
    PrivySealError,
    Tampered,
    Unavailable,
)
from tests.fakes.authority import Authority
from tests.fakes.aws import Aws, answer, refuse, stall
from tests.fakes.clocks import SetClock
from tests.fakes.kms import ACCESS_KEY, MANUAL, OIDC, OWN, SECRET_KEY, STS, Kms
from tests.fakes.world import NOW, World


@pytest.fixture(autouse=True)
def no_identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The delegate has no AWS identity but what a test gives it."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


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


@pytest.fixture
def delegate_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIADELEGATEDELEGATE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "d" * 40)


async def failure(keys: AwsKeys) -> PrivySealError:
    with pytest.raises(PrivySealError) as caught:
        await keys.check()
    await keys.close()
    return caught.value


@pytest.mark.parametrize(
    ("code", "status", "error", "ours", "asked"),
    [
        ("ThrottlingException", 400, Overloaded, "aws_throttled", 3),
        ("TooManyRequestsException", 429, Overloaded, "aws_throttled", 3),
        ("LimitExceededException", 400, Overloaded, "aws_throttled", 3),
        ("Unheard", 429, Overloaded, "aws_throttled", 3),
        ("KMSInternalException", 500, Unavailable, "aws_unavailable", 3),
        ("DependencyTimeoutException", 503, Unavailable, "aws_unavailable", 3),
        ("KeyUnavailableException", 500, Unavailable, "aws_unavailable", 3),
        ("Unheard", 502, Unavailable, "aws_unavailable", 3),
        ("AccessDeniedException", 400, Denied, "aws_denied", 1),
        ("NotFoundException", 400, NotFound, "key_not_found", 1),
        ("DisabledException", 400, NotReady, "key_disabled", 1),
        ("KMSInvalidStateException", 400, NotReady, "key_unusable", 1),
        ("InvalidKeyUsageException", 400, Malformed, "key_unfit", 1),
        ("InvalidArnException", 400, Malformed, "key_malformed", 1),
        ("ValidationException", 400, Malformed, "aws_invalid", 1),
        ("UnrecognizedClientException", 400, Denied, "aws_credentials_refused", 1),
        ("InvalidSignatureException", 403, Denied, "aws_credentials_refused", 1),
        ("OptInRequired", 403, NotReady, "region_disabled", 1),
        ("RequestExpired", 400, NotReady, "clock_wrong", 1),
        ("ExpiredTokenException", 400, Expired, "aws_credentials_expired", 1),
        ("Unheard.Of", 400, Denied, "aws_refused", 1),
        ("a text, no code", 400, Denied, "aws_refused", 1),
    ],
)
async def test_each_refusal_of_kms_has_its_meaning_and_only_what_may_pass_is_asked_again(
    aws: Aws, kms: Kms, code: str, status: int, error: type[PrivySealError], ours: str, asked: int
) -> None:
    aws.faults["GenerateDataKey"].extend([refuse(code, status, "hunter2")] * 5)
    why = await failure(kms.keys(aws.new_key()))
    assert (type(why), why.code) == (error, ours)
    assert aws.operations() == ["GenerateDataKey"] * asked
    assert why.facts["action"] == "kms:GenerateDataKey"
    assert why.hint
    assert "hunter2" not in repr(why.problem())
    assert " code" not in repr(why.problem()) or "a text" not in repr(why.problem())


async def test_the_refusals_of_a_decrypt_say_whether_the_record_or_the_alias_is_at_fault(aws: Aws, kms: Kms) -> None:
    arn = aws.new_key()
    pinned, alias = kms.keys(arn), kms.keys(arn.rpartition(":")[0] + ":alias/ours")
    for keys, code, error in [
        (pinned, "InvalidCiphertextException", Tampered),
        (pinned, "IncorrectKeyException", Tampered),
        (alias, "InvalidCiphertextException", Tampered),
        (alias, "IncorrectKeyException", Denied),
    ]:
        aws.faults["Decrypt"].append(refuse(code))
        with pytest.raises(error) as caught:
            await keys.unwrap(arn, b"wrapped", kms.place())
        assert caught.value.code in {"decryption_failed", "key_unlisted"}
    await pinned.close()
    await alias.close()


async def test_a_passing_failure_is_not_noticed(aws: Aws, kms: Kms) -> None:
    keys = kms.keys(aws.new_key())
    aws.faults["GenerateDataKey"].extend([refuse("ThrottlingException"), refuse("KMSInternalException", 500)])
    made = await keys.generate(kms.place())
    aws.faults["Decrypt"].extend([refuse("ThrottlingException"), answer(b"", 503)])
    assert await keys.unwrap(made.key_name, made.wrapped, kms.place()) == made.key
    await keys.close()


async def test_a_slow_service_is_given_up_and_its_places_are_free_again(aws: Aws, kms: Kms) -> None:
    kms.call_seconds = 1.5
    never = asyncio.Event()
    keys, many = kms.keys(aws.new_key()), CONNECTIONS + 8
    aws.faults["GenerateDataKey"].extend([stall(never)] * (3 * many))
    ended = await asyncio.gather(*(keys.check() for _ in range(many)), return_exceptions=True)
    assert {(type(one), getattr(one, "code", "")) for one in ended} == {(Unavailable, "aws_slow")}
    aws.faults["GenerateDataKey"].clear()
    await keys.check()
    async with asyncio.timeout(30):
        while aws.connections > 1:
            await asyncio.sleep(0.01)
    await keys.close()


async def test_who_gives_up_frees_his_place(aws: Aws, kms: Kms) -> None:
    keys = kms.keys(aws.new_key())
    aws.faults["GenerateDataKey"].append(stall(asyncio.Event()))
    asking = asyncio.create_task(keys.check())
    async with asyncio.timeout(30):
        while not aws.asked:
            await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    async with asyncio.timeout(30):
        while aws.connections:
            await asyncio.sleep(0.01)
    await keys.check()
    await keys.close()


async def test_nobody_there_is_said_so(kms: Kms) -> None:
    async with Aws() as gone:
        url = gone.url
    kms.url = url
    why = await failure(kms.keys("arn:aws:kms:us-east-1:123456789012:key/1"))
    assert (type(why), why.code) == (Unavailable, "aws_unreachable")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(aws: Aws, kms: Kms, status: int) -> None:
    async with Aws() as elsewhere:
        aws.faults["GenerateDataKey"].append(answer(b"", status, Location=elsewhere.url + "/"))
        why = await failure(kms.keys(aws.new_key()))
        assert (type(why), why.code) == (Denied, "aws_redirected")
        assert elsewhere.asked == []
        assert elsewhere.connections == 0


GARBAGE = [
    b"",
    b"hunter2",
    b"{",
    b"[]",
    b"null",
    b'"hunter2"',
    b"\xff\xfe",
    b"<html>hunter2</html>",
    b"{}",
    b'{"KeyId":1,"Plaintext":2,"CiphertextBlob":3}',
    b'{"KeyId":"x","Plaintext":"h","CiphertextBlob":"!"}',
    b'{"KeyId":null,"Plaintext":null,"CiphertextBlob":null}',
    b'{"KeyId":"x","Plaintext":"aHVudGVyMg==","CiphertextBlob":"aHVudGVyMg=="}',
]


@pytest.mark.parametrize("body", GARBAGE)
@pytest.mark.parametrize("status", [200, 400])
async def test_garbage_is_a_failure_of_ours_and_is_not_repeated(aws: Aws, kms: Kms, body: bytes, status: int) -> None:
    aws.faults["GenerateDataKey"].extend([answer(body, status)] * 3)
    why = await failure(kms.keys(aws.new_key()))
    assert why.code in {"aws_garbled", "aws_unreachable", "aws_refused"}
    assert "hunter2" not in repr(why.problem())


@pytest.mark.parametrize("body", GARBAGE)
async def test_garbage_of_the_token_service_is_too(aws: Aws, kms: Kms, body: bytes, delegate_identity: None) -> None:
    aws.faults["AssumeRole"].extend([answer(body)] * 3)
    why = await failure(kms.keys(aws.new_key(), STS))
    assert why.code in {"aws_garbled", "aws_unreachable", "aws_refused"}
    assert "hunter2" not in repr(why.problem())
    assert "GenerateDataKey" not in aws.operations()


@pytest.mark.parametrize(
    "changes",
    [{"KeyId": "arn:aws:kms:us-east-1:123456789012:key/other"}, {"Plaintext": "AAAA"}, {"CiphertextBlob": ""}],
    ids=lambda one: next(iter(one)),
)
async def test_an_answer_about_something_else_is_not_believed(aws: Aws, kms: Kms, changes: dict[str, str]) -> None:
    arn = aws.new_key()
    right = {"KeyId": arn, "Plaintext": "A" * 43 + "=", "CiphertextBlob": "AAAA"}
    aws.faults["GenerateDataKey"].append(answer(json.dumps({**right, **changes}).encode()))
    why = await failure(kms.keys(arn))
    assert (type(why), why.code) == (Unavailable, "aws_garbled")
    if "CiphertextBlob" not in changes:
        aws.faults["Decrypt"].append(answer(json.dumps({**right, **changes}).encode()))
        keys = kms.keys(arn)
        with pytest.raises(Unavailable, match="doesn't answer what it was asked"):
            await keys.unwrap(arn, b"wrapped", kms.place())
        await keys.close()


async def test_a_wrong_clock_is_told_from_a_wrong_key(aws: Aws, kms: Kms) -> None:
    text = "Signature expired: 20260101T000000Z is now earlier than 20260102T000000Z"
    aws.faults["GenerateDataKey"].append(refuse("InvalidSignatureException", 403, text))
    assert (await failure(kms.keys(aws.new_key()))).code == "clock_wrong"


async def test_the_certificate_is_always_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority()
    key, certificate = authority.issue()
    (tmp_path / "tls.pem").write_bytes(certificate + key)
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "tls.pem")
    async with Aws(tls=tls) as aws:
        kms = Kms(World(), aws.url, SetClock(NOW))
        why = await failure(kms.keys(aws.new_key()))
        assert (type(why), why.code, aws.asked) == (Unavailable, "aws_untrusted", [])
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        keys = kms.keys(aws.new_key())
        await keys.check()
        await keys.close()


async def test_a_host_that_the_policy_forbids_is_never_called(aws: Aws, kms: Kms, delegate_identity: None) -> None:
    kms.policy = 'hosts = ["*.amazonaws.com"]'
    for credential in (MANUAL, OWN, STS):
        why = await failure(kms.keys(aws.new_key(), credential))
        assert (type(why), why.code, why.facts["rule"]) == (Denied, "local_policy", "hosts")
    assert aws.connections == 0
    assert aws.asked == []


async def test_the_ordinary_host_is_that_of_the_region(kms: Kms, delegate_identity: None) -> None:
    kms.url, kms.policy = "", 'hosts = ["nowhere.example"]'
    for credential, host in ((MANUAL, "kms.us-east-1.amazonaws.com"), (STS, "sts.us-east-1.amazonaws.com")):
        assert host in (await failure(kms.keys("arn:aws:kms:us-east-1:123456789012:key/1", credential))).detail


async def test_no_secret_of_a_connector_is_in_an_error_or_in_what_an_object_shows(aws: Aws, kms: Kms) -> None:
    arn = aws.new_key()
    held: dict[str, Any] = {"secrets": {"arn": arn.encode()}}
    keys = kms.keys("arn", **held)
    made = await keys.generate(kms.place())
    assert arn not in made.key_name
    shown = [repr(keys), repr(made)]
    for code in ("AccessDeniedException", "NotFoundException", "DisabledException", "InvalidArnException", "Unheard"):
        aws.faults["GenerateDataKey"].append(refuse(code, 400, f"{arn} {ACCESS_KEY} {SECRET_KEY}"))
        why = await failure(keys)
        shown += [repr(why.problem()), str(why)]
        assert "the secret arn names" in why.detail or why.code == "aws_refused"
    for secret in (arn, ACCESS_KEY, SECRET_KEY, repr(made.key.reveal())):
        assert not any(secret in one for one in shown)


async def test_a_check_asks_for_a_key_in_a_context_of_the_same_names(aws: Aws, kms: Kms) -> None:
    arn = aws.new_key()
    keys = kms.keys(arn)
    await keys.check()
    await keys.close()
    asked = aws.asked[0].parameters
    assert (asked["KeyId"], asked["KeySpec"]) == (arn, "AES_256")
    assert set(asked["EncryptionContext"]) == set(kms.place().encryption_context(b"any"))
    assert asked["EncryptionContext"]["privyseal:account"] == kms.world.id
    assert asked["EncryptionContext"]["privyseal:secret"] == "check"


async def test_a_closed_connector_leaves_nothing_open(aws: Aws, kms: Kms, delegate_identity: None) -> None:
    keys = kms.keys(aws.new_key(), STS)
    await keys.check()
    assert aws.connections > 0
    await keys.close()
    await keys.close()
    async with asyncio.timeout(30):
        while aws.connections:
            await asyncio.sleep(0.01)


async def test_an_id_token_can_not_be_had_without_an_issuer(aws: Aws, kms: Kms) -> None:
    why = await failure(kms.keys(aws.new_key(), OIDC))
    assert (type(why), why.code) == (NotReady, "oidc_unconfigured")
    assert aws.asked == []
