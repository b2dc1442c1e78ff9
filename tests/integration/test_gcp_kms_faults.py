"""What Google's faults do to a connector of the kind GcpKms: Google's own library speaks to a server that fails as told."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from grpc import StatusCode

from delegate.endpoints import Endpoints
from delegate.policy import LocalPolicy
from delegate.secret_managers.gcp_kms import GcpKeys
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
from shared.labels import WRAP
from tests.fakes.google import NUMBER, PROJECT, Google, change, refuse, stall
from tests.fakes.google_stage import ROBOT, USE_KEYS, Stage


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


async def failure(keys: GcpKeys) -> PrivySealError:
    with pytest.raises(PrivySealError) as caught:
        await keys.check()
    return caught.value


async def test_a_key_is_wrapped_at_its_place_and_opened_only_there(stage: Stage) -> None:
    keys = stage.keys()
    made = await keys.generate(stage.place())
    assert made.key_name == stage.key
    assert await keys.unwrap(made.key_name, made.wrapped, stage.place()) == made.key
    encrypted = stage.google.calls[0].request
    assert encrypted.additional_authenticated_data == stage.place().encode(WRAP)
    for moved in (stage.place(n=2), stage.place(secret="t" * 26), stage.place(account="elsewhere")):
        with pytest.raises(Tampered) as caught:
            await keys.unwrap(made.key_name, made.wrapped, moved)
        assert caught.value.code == "decryption_failed"
    for changed in (made.wrapped[:-1] + b"x", b"\0" * 40, b"short"):
        with pytest.raises(Tampered):
            await keys.unwrap(made.key_name, changed, stage.place())


async def test_an_older_version_of_the_key_opens_what_it_wrapped(stage: Stage) -> None:
    keys = stage.keys()
    made = await keys.generate(stage.place())
    stage.google.keys.keys[stage.key].rotate()
    assert await keys.unwrap(made.key_name, made.wrapped, stage.place()) == made.key


async def test_a_previous_key_is_asked_by_its_name_and_no_other(stage: Stage) -> None:
    old, other = stage.google.keys.new_key("old"), stage.google.keys.new_key("other")
    made = await stage.keys(keyName="old").generate(stage.place())
    for named in ("old", old):
        keys = stage.keys(previousKeyNames=[named])
        assert await keys.unwrap(made.key_name, made.wrapped, stage.place()) == made.key
        assert not keys.accepts(other)
    with pytest.raises(Denied) as caught:
        await stage.keys().unwrap(old, made.wrapped, stage.place())
    assert caught.value.code == "key_unlisted"
    assert stage.google.asked == ["Encrypt", "Decrypt", "Decrypt"]


@pytest.mark.parametrize(
    ("status", "reason", "error", "ours", "asked"),
    [
        ("RESOURCE_EXHAUSTED", "", Overloaded, "gcp_throttled", 3),
        ("RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", Overloaded, "gcp_throttled", 3),
        ("UNAVAILABLE", "", Unavailable, "gcp_unavailable", 3),
        ("INTERNAL", "", Unavailable, "gcp_unavailable", 3),
        ("ABORTED", "", Unavailable, "gcp_unavailable", 3),
        ("CANCELLED", "", Unavailable, "gcp_unavailable", 3),
        ("UNKNOWN", "", Unavailable, "gcp_unavailable", 3),
        ("DEADLINE_EXCEEDED", "", Unavailable, "gcp_slow", 3),
        ("PERMISSION_DENIED", "IAM_PERMISSION_DENIED", Denied, "gcp_denied", 1),
        ("PERMISSION_DENIED", "SERVICE_DISABLED", NotReady, "gcp_api_disabled", 1),
        ("PERMISSION_DENIED", "BILLING_DISABLED", NotReady, "gcp_billing_disabled", 1),
        ("NOT_FOUND", "", NotFound, "key_not_found", 1),
        ("FAILED_PRECONDITION", "KEY_DISABLED", NotReady, "key_unusable", 1),
        ("INVALID_ARGUMENT", "", Malformed, "key_unfit", 1),
        ("UNAUTHENTICATED", "", Expired, "gcp_credentials_expired", 2),
        ("OUT_OF_RANGE", "", Denied, "gcp_refused", 1),
        ("UNIMPLEMENTED", "", Denied, "gcp_refused", 1),
        ("DATA_LOSS", "", Denied, "gcp_refused", 1),
    ],
)
async def test_each_refusal_of_kms_has_its_meaning_and_only_what_may_pass_is_asked_again(
    stage: Stage, status: str, reason: str, error: type[PrivySealError], ours: str, asked: int
) -> None:
    stage.google.faults["Encrypt"].extend([refuse(StatusCode[status], "hunter2", reason)] * 5)
    why = await failure(stage.keys())
    assert (type(why), why.code) == (error, ours)
    assert stage.google.asked == ["Encrypt"] * asked
    assert why.hint
    assert "hunter2" not in repr(why.problem())


async def test_what_is_denied_is_named_with_its_permission(stage: Stage) -> None:
    keys = stage.keys()
    made = await keys.generate(stage.place())
    for permission, call in (
        (USE_KEYS[0], keys.check),
        (USE_KEYS[1], lambda: keys.unwrap(made.key_name, made.wrapped, stage.place())),
    ):
        stage.google.deny(f"serviceAccount:{ROBOT}", permission)
        with pytest.raises(Denied) as caught:
            await call()
        assert caught.value.code == "gcp_denied"
        assert permission in caught.value.detail
        assert stage.key in caught.value.detail
        assert "account.robot" in caught.value.detail


@pytest.mark.parametrize("state", ["DISABLED", "DESTROY_SCHEDULED", "DESTROYED"])
async def test_a_disabled_version_is_told_as_such(stage: Stage, state: str) -> None:
    keys = stage.keys()
    made = await keys.generate(stage.place())
    stage.google.keys.keys[stage.key].states[1] = state
    for call in (keys.check(), keys.unwrap(made.key_name, made.wrapped, stage.place())):
        with pytest.raises(NotReady) as caught:
            await call
        assert caught.value.code == "key_unusable"


async def test_a_key_for_something_else_and_one_that_is_not_there_are_told_apart(stage: Stage) -> None:
    stage.google.keys.new_key("signing", "ASYMMETRIC_SIGN")
    assert (await failure(stage.keys(keyName="signing"))).code == "key_unfit"
    assert (await failure(stage.keys(keyName="nowhere"))).code == "key_not_found"
    assert (await failure(stage.keys(projectId="elsewhere-1"))).code == "gcp_denied"


CHANGED: dict[str, dict[str, Any]] = {
    "the ciphertext": {"ciphertext": lambda content: content[:-1] + bytes([content[-1] ^ 1])},
    "its checksum": {"ciphertext_crc32c": lambda checksum: checksum ^ 1},
    "no checksum": {"ciphertext_crc32c": None},
    "an unverified plaintext": {"verified_plaintext_crc32c": False},
    "an unverified place": {"verified_additional_authenticated_data_crc32c": False},
}
ASTRAY: dict[str, Any] = {
    "another key": lambda name: name.replace("/main/", "/other/"),
    "another project": lambda name: name.replace(PROJECT, "another-1"),
    "no version": lambda name: name.rpartition("/cryptoKeyVersions/")[0],
    "no number": lambda name: name + "x",
    "nothing": "",
}


@pytest.mark.parametrize("fields", CHANGED.values(), ids=CHANGED.keys())
async def test_what_was_changed_on_the_way_of_an_encryption_is_asked_again_and_then_refused(
    stage: Stage, fields: dict[str, Any]
) -> None:
    keys = stage.keys()
    stage.google.faults["Encrypt"].append(change(**fields))
    made = await keys.generate(stage.place())
    assert await keys.unwrap(made.key_name, made.wrapped, stage.place()) == made.key
    stage.google.faults["Encrypt"].extend([change(**fields)] * 3)
    assert (await failure(keys)).code == "gcp_corrupted"


@pytest.mark.parametrize("name", ASTRAY.values(), ids=ASTRAY.keys())
async def test_an_answer_of_another_key_is_not_taken(stage: Stage, name: Any) -> None:
    stage.google.faults["Encrypt"].extend([change(name=name)] * 3)
    assert (await failure(stage.keys())).code == "gcp_garbled"


async def test_a_project_by_its_number_may_be_answered_by_its_id(stage: Stage) -> None:
    numbered = stage.key.replace(PROJECT, NUMBER)
    stage.google.keys.keys[numbered] = stage.google.keys.keys[stage.key]
    keys = stage.keys(projectId=NUMBER)
    for name in (lambda name: name, lambda name: name.replace(NUMBER, PROJECT)):
        stage.google.faults["Encrypt"].append(change(name=name))
        assert (await keys.generate(stage.place())).key_name == numbered
    for before, other in (("/ring/", "/rings/"), (NUMBER, "999999999999")):
        astray = change(name=lambda name, before=before, other=other: name.replace(before, other))
        stage.google.faults["Encrypt"].extend([astray] * 3)
        assert (await failure(keys)).code == "gcp_garbled"


@pytest.mark.parametrize(
    "fields",
    [{"plaintext": bytes(32)}, {"plaintext_crc32c": None}, {"plaintext": b"short", "plaintext_crc32c": 0x4E3E5A0A}],
    ids=["another plaintext", "no checksum", "both"],
)
async def test_what_was_changed_on_the_way_of_a_decryption_is_not_taken(stage: Stage, fields: dict[str, Any]) -> None:
    keys = stage.keys(surroundings=stage.surroundings(randomness=lambda size: b"k" * size))
    made = await keys.generate(stage.place())
    stage.google.faults["Decrypt"].extend([change(**fields)] * 3)
    with pytest.raises(Unavailable) as caught:
        await keys.unwrap(made.key_name, made.wrapped, stage.place())
    assert caught.value.code == "gcp_corrupted"
    assert await keys.unwrap(made.key_name, made.wrapped, stage.place()) == made.key


async def test_a_right_checksum_of_something_else_than_a_key_is_not_taken(stage: Stage) -> None:
    keys = stage.keys()
    made = await keys.generate(stage.place())
    stage.google.faults["Decrypt"].extend([change(plaintext=b"123456789", plaintext_crc32c=0xE3069283)] * 3)
    with pytest.raises(Unavailable) as caught:
        await keys.unwrap(made.key_name, made.wrapped, stage.place())
    assert caught.value.code == "gcp_garbled"


async def test_a_checksum_that_google_finds_wrong_is_not_taken_for_a_forged_record(stage: Stage) -> None:
    keys = stage.keys()
    made = await keys.generate(stage.place())
    said = "The checksum in field ciphertext_crc32c did not match the data."
    stage.google.faults["Decrypt"].extend([refuse(StatusCode.INVALID_ARGUMENT, said)] * 3)
    with pytest.raises(Unavailable) as caught:
        await keys.unwrap(made.key_name, made.wrapped, stage.place())
    assert caught.value.code == "gcp_corrupted"


async def test_a_slow_service_is_given_up_and_its_places_are_free_again(stage: Stage) -> None:
    stage.call_seconds = 1.5
    never = threading.Event()
    keys, many = stage.keys(), 12
    stage.google.faults["Encrypt"].extend([stall(never)] * (3 * many))
    try:
        ended = await asyncio.gather(*(keys.check() for _ in range(many)), return_exceptions=True)
        assert {(type(one), getattr(one, "code", "")) for one in ended} == {(Unavailable, "gcp_slow")}
        stage.google.faults["Encrypt"].clear()
        await keys.check()
    finally:
        never.set()


async def test_a_token_that_ended_unnoticed_is_replaced_and_the_call_made_once_more(stage: Stage) -> None:
    keys = stage.keys()
    await keys.check()
    stage.google.tokens.clear()
    await keys.check()
    assert stage.google.asked == ["Encrypt"] * 3
    assert len(stage.google.tokens) == 1


async def test_nobody_there_and_a_name_that_means_nothing_are_told_as_unreachable(stage: Stage) -> None:
    robot = stage.google.endpoints.split(",")[2]
    urls = Endpoints.parse(f"{robot},cloudkms=http://127.0.0.1:1", "gcp_endpoints")
    assert (await failure(stage.keys(surroundings=stage.surroundings(gcp_endpoints=urls)))).code == "gcp_unreachable"
    # TLS to something that speaks none.
    urls = Endpoints.parse(f"{robot},cloudkms=https://127.0.0.1:{stage.google.port}", "gcp_endpoints")
    stage.call_seconds = 2.0
    assert (await failure(stage.keys(surroundings=stage.surroundings(gcp_endpoints=urls)))).code in {
        "gcp_unreachable",
        "gcp_slow",
    }


async def test_no_host_is_called_that_the_local_policy_does_not_allow(stage: Stage) -> None:
    policy = LocalPolicy.parse('kinds = ["*"]\nhosts = ["elsewhere.example"]', [])
    why = await failure(stage.keys(surroundings=stage.surroundings(policy=policy)))
    assert (why.code, why.facts["rule"]) == ("local_policy", "hosts")
    assert stage.google.asked == []
    # The ordinary addresses are asked for too, before anything is sent.
    for allowed, host in (("x.example", "oauth2.googleapis.com"), ("127.0.0.1", "cloudkms.googleapis.com")):
        policy = LocalPolicy.parse(f'kinds = ["*"]\nhosts = ["{allowed}"]', [])
        urls = Endpoints.parse(stage.google.endpoints.split(",")[2] if allowed == "127.0.0.1" else "", "gcp_endpoints")
        why = await failure(stage.keys(surroundings=stage.surroundings(policy=policy, gcp_endpoints=urls)))
        assert why.code == "local_policy"
        assert host in why.detail


async def test_a_closed_key_service_can_be_closed_again_and_used_again(stage: Stage) -> None:
    keys = stage.keys()
    await keys.close()
    await keys.check()
    await keys.close()
    await keys.close()
    await keys.check()


async def test_the_librarys_debug_log_gets_neither_values_nor_tokens(
    stage: Stage, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    written: list[str] = []

    class Collecting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(repr(record.__dict__))

    base = logging.getLogger("google")
    before, handler = base.level, Collecting()
    base.setLevel(logging.DEBUG)
    base.addHandler(handler)
    try:
        keys = stage.keys(surroundings=stage.surroundings(randomness=lambda size: b"hunter2!" * (size // 8)))
        made = await keys.generate(stage.place())
        await keys.unwrap(made.key_name, made.wrapped, stage.place())
    finally:
        base.removeHandler(handler)
        base.setLevel(before)
    told = caplog.text + "".join(written) + "".join(capfd.readouterr())
    for token in (*stage.google.tokens, "hunter2", "aHVudGVyMi"):
        assert token not in told
