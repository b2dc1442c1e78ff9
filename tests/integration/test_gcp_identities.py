"""Who a connector is at Google: tokens by a key's signature, by the keyring's ID tokens, and by what the delegate is."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.auth.compute_engine import _metadata

from delegate.endpoints import Endpoints
from delegate.policy import LocalPolicy
from shared import oidc
from shared.errors import Denied, Malformed, NotReady, Overloaded, PrivySealError, Unavailable
from tests.fakes.clocks import SetClock
from tests.fakes.google import NUMBER, PROJECT, Google
from tests.fakes.google_stage import OWN, POOL, ROBOT, USE_KEYS, Stage
from tests.fakes.google_tokens import CLOUD_PLATFORM, Provider
from tests.fakes.issuers import ISSUER, ISSUER_KEYS, speak
from tests.fakes.world import NOW

PROVIDER = f"projects/{NUMBER}/locations/global/workloadIdentityPools/pool-1/providers/privyseal"
PRINCIPAL = (
    f"principal://iam.googleapis.com/projects/{NUMBER}/locations/global/workloadIdentityPools/pool-1/subject/google"
)
KMS_SCOPE = "https://www.googleapis.com/auth/cloudkms"


@pytest.fixture(scope="module")
def google() -> Iterator[Google]:
    with Google() as one:
        yield one


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOW)


@pytest.fixture
async def stage(google: Google, clock: SetClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    google.forget()
    google.clock = lambda: clock.seconds
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GCP_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", "127.0.0.1:1")
    monkeypatch.setenv("GCE_METADATA_IP", "127.0.0.1:1")
    monkeypatch.setenv("CLOUDSDK_CONFIG", "/nowhere")
    one = Stage(google, clock)
    yield one
    await one.close()


def trust(stage: Stage, **changes: Any) -> Provider:
    """The pool's provider believes the world's keyring, by its published keys."""
    speak(stage.world)
    document = stage.world.keyring_document.document
    subject = oidc.subject(stage.connector("GcpSecretManager", {"credential": POOL}))
    given = {"condition": lambda claims: claims["sub"] == subject, **changes}
    provider = Provider(ISSUER, lambda: oidc.key_set(document), **given)
    stage.google.http.providers[PROVIDER] = provider
    stage.google.allow(PRINCIPAL, *USE_KEYS)
    return provider


async def failure(stage: Stage, identity: dict[str, Any] | None = None, **changes: Any) -> PrivySealError:
    with pytest.raises(PrivySealError) as caught:
        await stage.keys(identity, surroundings=stage.surroundings(**changes)).check()
    return caught.value


# ---- a service account's key


async def test_a_key_signs_for_a_token_that_is_kept_until_shortly_before_its_end(stage: Stage, clock: SetClock) -> None:
    keys = stage.keys()
    await asyncio.gather(*(keys.check() for _ in range(10)))
    assert stage.google.http.paths == ["/token"]
    (issued,) = stage.google.tokens.values()
    assert (issued.who, issued.scopes) == (f"serviceAccount:{ROBOT}", frozenset({KMS_SCOPE}))
    clock.seconds += 3600 - 301
    await keys.check()
    assert len(stage.google.tokens) == 1
    clock.seconds += 2
    await keys.check()
    assert len(stage.google.tokens) == 2


async def test_a_token_that_cannot_be_renewed_yet_is_used_until_it_ends(stage: Stage, clock: SetClock) -> None:
    keys = stage.keys()
    await keys.check()
    clock.seconds += 3600 - 200
    stage.google.http.faults.extend([(503, b"{}")] * 3)
    await keys.check()
    # For half a minute nobody asks again.
    await keys.check()
    assert stage.google.http.paths == ["/token"] * 4
    clock.seconds += 200
    stage.google.http.faults.extend([(503, b"{}")] * 3)
    with pytest.raises(Unavailable):
        await keys.check()


def changed(stage: Stage, **fields: Any) -> bytes:
    told = {**json.loads(stage.key_file), **fields}
    return json.dumps({key: value for key, value in told.items() if value is not None}).encode()


WRONG: dict[str, dict[str, Any]] = {
    "an account of a person": {"type": "authorized_user"},
    "a federated account": {"type": "external_account"},
    "another type": {"type": "hunter2"},
    "no type": {"type": None},
    "no address": {"client_email": None},
    "a wrong address": {"client_email": "hunter2"},
    "a number as address": {"client_email": 17},
    "no key": {"private_key": None},
    "a wrong key": {"private_key": "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n"},
    "another universe": {"universe_domain": "hunter2.example"},
    "another endpoint": {"token_uri": "https://hunter2.example/token"},
    "a wrong project": {"project_id": "hunter2/../x"},
}


@pytest.mark.parametrize("fields", WRONG.values(), ids=WRONG.keys())
async def test_what_is_no_service_accounts_key_is_told_without_what_stands_there(
    stage: Stage, fields: dict[str, Any]
) -> None:
    stage.key_file = changed(stage, **fields)
    with pytest.raises(Malformed) as caught:
        stage.keys()
    assert caught.value.code == "credential_malformed"
    assert "account.robot" in caught.value.detail
    assert "hunter2" not in repr(caught.value.problem())


@pytest.mark.parametrize("content", [b"", b"hunter2", b"[]", b"\xff", b"{" * 10_000, b'"' + b"x" * 70_000 + b'"'])
async def test_what_is_no_json_object_is_no_key(stage: Stage, content: bytes) -> None:
    stage.key_file = content
    with pytest.raises(Malformed) as caught:
        stage.keys()
    assert caught.value.code == "credential_malformed"


async def test_a_key_that_google_does_not_know_or_whose_account_is_disabled_is_refused(stage: Stage) -> None:
    stage.key_file = stage.google.http.key_file(ROBOT, ISSUER_KEYS[1].private)
    stage.google.accounts[ROBOT].keys.clear()
    assert (await failure(stage)).code == "gcp_credentials_refused"
    stage.key_file = stage.google.http.key_file(ROBOT, ISSUER_KEYS[1].private)
    stage.google.accounts[ROBOT].enabled = False
    why = await failure(stage)
    assert (type(why), why.code) == (Denied, "gcp_credentials_refused")
    assert stage.google.asked == []


async def test_a_clock_that_is_wrong_is_told(stage: Stage) -> None:
    why = await failure(stage, clock=SetClock(NOW + 7200))
    assert (type(why), why.code) == (NotReady, "clock_wrong")


@pytest.mark.parametrize(
    ("status", "body", "error", "ours", "asked"),
    [
        (500, b"{}", Unavailable, "gcp_unavailable", 3),
        (503, b"hunter2", Unavailable, "gcp_unavailable", 3),
        (429, b"{}", Overloaded, "gcp_throttled", 3),
        (400, b'{"error": "internal_failure"}', Unavailable, "gcp_unavailable", 3),
        (400, b'{"error": "invalid_grant", "error_description": "hunter2"}', Denied, "gcp_credentials_refused", 1),
        (401, b'{"error": "invalid_client"}', Denied, "gcp_credentials_refused", 1),
        (400, b'{"error": "unheard_of"}', Denied, "gcp_refused", 1),
        (400, b'{"error": "not a hunter2 word"}', Denied, "gcp_refused", 1),
        (403, b'{"error": {"status": "RESOURCE_EXHAUSTED"}}', Overloaded, "gcp_throttled", 3),
        (404, b"<html>hunter2</html>", Denied, "gcp_refused", 1),
        (302, b"", Denied, "gcp_redirected", 1),
        (200, b"{}", Unavailable, "gcp_garbled", 3),
        (200, b"hunter2", Unavailable, "gcp_garbled", 3),
        (200, b'{"access_token": "a b", "expires_in": 60}', Unavailable, "gcp_garbled", 3),
        (200, b'{"access_token": "a", "expires_in": -1}', Unavailable, "gcp_garbled", 3),
        (200, b'{"access_token": "' + b"a" * 2_000_000 + b'"}', Unavailable, "gcp_garbled", 3),
    ],
)
async def test_each_refusal_of_a_token_has_its_meaning(
    stage: Stage, status: int, body: bytes, error: type[PrivySealError], ours: str, asked: int
) -> None:
    stage.google.http.faults.extend([(status, body)] * 5)
    why = await failure(stage)
    assert (type(why), why.code) == (error, ours)
    assert stage.google.http.paths == ["/token"] * asked
    assert "hunter2" not in repr(why.problem())
    assert why.hint


async def test_a_slow_token_endpoint_is_given_up(stage: Stage) -> None:
    stage.google.http.stalled.clear()
    try:
        assert (await failure(stage, call_seconds=0.2)).code == "gcp_slow"
    finally:
        stage.google.http.stalled.set()


async def test_a_token_endpoint_that_nobody_answers_at_is_unreachable(stage: Stage) -> None:
    urls = Endpoints.parse("oauth2=http://127.0.0.1:1", "gcp_endpoints")
    assert (await failure(stage, gcp_endpoints=urls)).code == "gcp_unreachable"
    urls = Endpoints.parse(f"oauth2=https://127.0.0.1:{stage.google.http.port}", "gcp_endpoints")
    assert (await failure(stage, gcp_endpoints=urls)).code in {"gcp_untrusted", "gcp_unreachable"}


# ---- workload identity federation


async def test_the_keyrings_id_token_buys_the_roles_of_the_pools_principal(stage: Stage) -> None:
    trust(stage)
    await stage.keys({"oidcDetails": POOL}).check()
    (issued,) = stage.google.tokens.values()
    assert (issued.who, issued.scopes) == (PRINCIPAL, frozenset({CLOUD_PLATFORM}))


async def test_the_principal_impersonates_the_account_that_the_connector_names(stage: Stage) -> None:
    trust(stage)
    identity = {"oidcDetails": {**POOL, "serviceAccountEmail": ROBOT}}
    why = await failure(stage, identity)
    assert (type(why), why.code) == (Denied, "gcp_denied")
    stage.google.allow(PRINCIPAL, "iam.serviceAccounts.getAccessToken", on=f"serviceAccounts/{ROBOT}")
    await stage.keys(identity).check()
    assert [call.who for call in stage.google.calls] == [f"serviceAccount:{ROBOT}"]
    assert {CLOUD_PLATFORM, KMS_SCOPE} == {scope for one in stage.google.tokens.values() for scope in one.scopes}


async def test_another_connectors_token_another_keyrings_and_another_provider_are_refused(stage: Stage) -> None:
    provider = trust(stage)
    subject = oidc.subject(stage.connector("GcpSecretManager", {"credential": POOL}))
    provider.condition = lambda claims: claims["sub"] == subject + "x"
    assert (await failure(stage, {"oidcDetails": POOL})).code == "oidc_refused"
    provider.condition = lambda _: True
    speak(stage.world, keys={1: ISSUER_KEYS[2]})
    assert (await failure(stage, {"oidcDetails": POOL})).code == "oidc_refused"
    why = await failure(stage, {"oidcDetails": {**POOL, "providerId": "another"}})
    assert (type(why), why.code) == (Denied, "oidc_refused")
    assert "gcpProjectId" in why.hint
    assert stage.google.asked == []


async def test_a_subject_that_google_finds_too_long_is_refused(stage: Stage) -> None:
    trust(stage, subject=lambda claims: claims["sub"] * 2)
    assert (await failure(stage, {"oidcDetails": POOL})).code == "oidc_refused"


async def test_without_an_issuer_there_is_no_token(stage: Stage) -> None:
    for changes in ({}, {"tokens": None}):
        why = await failure(stage, {"oidcDetails": POOL}, **changes)
        assert (type(why), why.code) == (NotReady, "oidc_unconfigured")
    assert stage.google.http.paths == []


async def test_an_account_that_is_not_there_cannot_be_impersonated(stage: Stage) -> None:
    trust(stage)
    paths = stage.google.http.paths
    keys = stage.keys({"oidcDetails": {**POOL, "serviceAccountEmail": ROBOT}})
    for status, ours in (("NOT_FOUND", "gcp_account_missing"), ("UNAUTHENTICATED", "gcp_refused")):
        answer = json.dumps({"error": {"status": status, "message": "hunter2"}}).encode()
        granted = json.dumps({"access_token": "x", "expires_in": 60}).encode()
        stage.google.http.faults.extend([(200, granted), (404, answer)])
        with pytest.raises(PrivySealError) as caught:
            await keys.check()
        assert caught.value.code == ours
    assert paths[-1] == f"/v1/projects/-/serviceAccounts/{ROBOT}:generateAccessToken"


# ---- what the delegate is


async def test_no_connector_falls_back_to_what_the_delegate_is(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.google.http.machine = ROBOT
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", f"127.0.0.1:{stage.google.http.port}")
    stage.google.accounts.clear()
    assert (await failure(stage)).code == "gcp_credentials_refused"
    assert (await failure(stage, {"oidcDetails": POOL})).code == "oidc_unconfigured"
    assert not [path for path in stage.google.http.paths if path.startswith("/computeMetadata")]


async def test_the_machines_account_is_found_by_its_metadata_server(
    stage: Stage, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.google.http.machine = ROBOT
    # Google's library reckons by the machine's own clock.
    clock.seconds = int(time.time())
    host = f"127.0.0.1:{stage.google.http.port}"
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", host)
    monkeypatch.setenv("GCE_METADATA_IP", host)
    keys = stage.keys(OWN)
    await keys.check()
    await keys.check()
    assert {call.who for call in stage.google.calls} == {f"serviceAccount:{ROBOT}"}
    assert len(stage.google.tokens) == 1
    stage.google.tokens.clear()
    await keys.check()
    assert len(stage.google.tokens) == 1
    secrets = stage.secrets(OWN)
    await secrets.check()
    assert stage.google.calls[-1].request.name.startswith(f"projects/{PROJECT}/")
    monkeypatch.setenv("GCP_PROJECT", "another-1")
    with pytest.raises(Denied):
        await stage.secrets(OWN).check()


async def test_the_delegates_own_key_file_is_found_by_its_variable(
    stage: Stage, clock: SetClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "key.json"
    place.write_bytes(changed(stage, token_uri=f"http://127.0.0.1:{stage.google.http.port}/token"))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(place))
    clock.seconds = int(time.time())
    keys = stage.keys(OWN)
    await keys.check()
    await keys.check()
    assert {call.who for call in stage.google.calls} == {f"serviceAccount:{ROBOT}"}
    place.write_bytes(b"{}")
    with pytest.raises(NotReady) as broken:
        await stage.keys(OWN).check()
    assert broken.value.code == "gcp_credentials_missing"
    assert stage.google.http.paths == ["/token"]


async def test_a_delegate_that_is_nobody_says_so(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_metadata, "_NO_GCE_CHECK", True)
    why = await failure(stage, OWN)
    assert (type(why), why.code) == (NotReady, "gcp_credentials_missing")
    assert "docs/secret-managers/gcp-kms.md" in why.hint


async def test_the_local_policy_also_holds_for_what_the_delegate_is(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", f"127.0.0.1:{stage.google.http.port}")
    monkeypatch.setenv("GCE_METADATA_IP", f"127.0.0.1:{stage.google.http.port}")
    policy = LocalPolicy.parse('kinds = ["*"]\nhosts = ["elsewhere.example"]', [])
    assert (await failure(stage, OWN, policy=policy)).code == "local_policy"
    assert stage.google.http.paths == []


async def test_a_metadata_server_that_fails_is_asked_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.google.http.machine, stage.google.http.broken = ROBOT, True
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", f"127.0.0.1:{stage.google.http.port}")
    monkeypatch.setenv("GCE_METADATA_IP", f"127.0.0.1:{stage.google.http.port}")
    why = await failure(stage, OWN)
    assert (type(why), why.code) == (Unavailable, "gcp_unavailable")
    tokens = [path for path in stage.google.http.paths if path.endswith("/token")]
    assert len(tokens) == 3


async def test_a_token_endpoint_that_does_not_answer_the_delegates_own_key_is_unreachable(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "key.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(place))
    place.write_bytes(changed(stage, token_uri="http://127.0.0.1:1/token"))
    assert (await failure(stage, OWN)).code in {"gcp_unreachable", "gcp_unavailable"}
    place.write_bytes(changed(stage, token_uri=f"http://127.0.0.1:{stage.google.http.port}/token"))
    stage.google.http.faults.append((400, b'{"error": "invalid_grant", "error_description": "hunter2"}'))
    why = await failure(stage, OWN)
    assert (type(why), why.code) == (Denied, "gcp_credentials_refused")
    assert "hunter2" not in repr(why.problem())
