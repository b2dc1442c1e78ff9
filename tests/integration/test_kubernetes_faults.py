"""Kubernetes Secrets: the pod's own account as Kubernetes replaces it, and what happens on the way to an API server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from delegate.credentials.kubernetes import TOKEN_SECONDS
from shared.crypto.plaintext import Plaintext
from shared.errors import (
    Conflict,
    Denied,
    Malformed,
    NotFound,
    NotReady,
    Overloaded,
    PrivySealError,
    Unavailable,
)
from tests.fakes.authority import Authority
from tests.fakes.kubernetes import Kubernetes
from tests.fakes.kubernetes_stage import ALL, Stage
from tests.servers.https import Reply, Request, told


@pytest.fixture
def site() -> Iterator[Kubernetes]:
    with Kubernetes() as one:
        yield one


@pytest.fixture
async def stage(site: Kubernetes) -> AsyncIterator[Stage]:
    made = Stage(site)
    yield made
    await made.close()


# ---- the pod's own account


def mounted(stage: Stage, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A service account's folder, through links as Kubernetes mounts it."""
    data = folder / "..2026"
    data.mkdir(parents=True)
    (data / "token").write_text(stage.token)
    (data / "ca.crt").write_text(stage.site.trust)
    (folder / "..data").symlink_to("..2026")
    for name in ("token", "ca.crt"):
        (folder / name).symlink_to(f"..data/{name}")
    parts = urlsplit(stage.site.url)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(parts.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(parts.port))
    monkeypatch.delenv("KUBERNETES_SERVICE_PORT_HTTPS", raising=False)
    stage.policy = f'files = ["{folder}/*"]'
    stage.inherit(folder)
    return data


async def test_a_pods_own_token_is_read_again_as_kubernetes_replaces_it(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = mounted(stage, tmp_path / "account", monkeypatch)
    manager, secret = stage.manager(), stage.version()
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    first, second = stage.token, stage.api.account("apps", "privyseal", verbs=ALL)
    (data / "token").write_text(second + "\n")
    await manager.fetch(secret, stored)
    stage.clock.passed = TOKEN_SECONDS
    await manager.fetch(secret, stored)
    third = stage.api.account("apps", "privyseal", verbs=ALL)
    (data / "token").write_text(third)
    del stage.api.tokens[second]
    assert (await manager.fetch(secret, stored)).reveal() == b"hunter2"
    shown = [one.headers["authorization"].removeprefix("Bearer ") for one in stage.site.requests]
    assert shown[-4:] == [first, second, second, third]
    del stage.api.tokens[third]
    with pytest.raises(Denied) as caught:
        await manager.fetch(secret, stored)
    assert caught.value.code == "kubernetes_unauthenticated"


async def test_a_clusters_authority_is_read_again_when_it_was_replaced(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = mounted(stage, tmp_path / "account", monkeypatch)
    (data / "ca.crt").write_bytes(Authority("the old one").certificate)
    manager = stage.manager()
    with pytest.raises(Unavailable) as caught:
        await manager.check()
    assert caught.value.code == "kubernetes_untrusted"
    (data / "ca.crt").write_text(stage.site.trust)
    await manager.check()


async def test_a_delegate_outside_of_a_pod_says_so(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted(stage, tmp_path / "account", monkeypatch)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    with pytest.raises(NotReady) as caught:
        await stage.manager().check()
    assert caught.value.code == "kubernetes_outside"


async def test_files_of_the_account_are_read_as_the_policy_allows_and_sent_only_as_tokens(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = mounted(stage, tmp_path / "account", monkeypatch)
    for content, error in ((b"root:x:0:0:root\nhunter2\n", "credential_malformed"), (b"", "credential_malformed")):
        (data / "token").write_bytes(content)
        with pytest.raises(Malformed) as caught:
            await stage.manager().check()
        assert caught.value.code == error and "hunter2" not in str(caught.value)
    (data / "ca.crt").write_bytes(b"\xff")
    with pytest.raises(Malformed) as broken:
        await stage.manager().check()
    assert broken.value.code == "ca_malformed"
    (data / "ca.crt").unlink()
    with pytest.raises(NotFound) as missing:
        await stage.manager().check()
    assert missing.value.code == "service_account_not_found"
    stage.policy = ""
    with pytest.raises(Denied) as denied:
        await stage.manager().check()
    assert denied.value.facts["rule"] == "files"
    assert stage.site.requests == []


# ---- the way there


async def test_a_host_that_the_policy_forbids_is_not_called(stage: Stage) -> None:
    stage.policy = 'hosts = ["*.example.com"]'
    found = await stage.refusal("registry", Denied)
    assert (found.code, found.facts["rule"], stage.site.requests) == ("local_policy", "hosts", [])


async def test_a_certificate_of_somebody_else_is_not_trusted(stage: Stage) -> None:
    stage.manual(stage.site.url, Authority("another").certificate.decode())
    assert (await stage.refusal("registry", Unavailable)).code == "kubernetes_untrusted"
    stage.manual(stage.site.url, "")
    assert (await stage.refusal("registry", Unavailable)).code == "kubernetes_untrusted"
    assert stage.site.requests == []


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (told(400, {}), Malformed, "kubernetes_invalid"),
        (told(409, {}), Conflict, "kubernetes_changed"),
        (told(418, {}), Denied, "kubernetes_refused"),
        (told(429, {}), Overloaded, "kubernetes_throttled"),
        (told(503, {"reason": "hunter2"}), Unavailable, "kubernetes_unavailable"),
        (Reply(302, b"", {"Location": "https://elsewhere.example.com/"}), Denied, "kubernetes_redirected"),
        (Reply(200, b"<html>hunter2"), Unavailable, "kubernetes_garbled"),
        (told(200, []), Unavailable, "kubernetes_garbled"),
        (told(200, {"kind": "SecretList", "items": []}), Unavailable, "kubernetes_garbled"),
        (Reply(200, b"{}", {"Content-Encoding": "gzip"}), Unavailable, "kubernetes_garbled"),
        (Reply(200, b"x" * 5_000_000), Malformed, "value_too_large"),
        (Reply(200, b"{", announced=100), Unavailable, "kubernetes_cut"),
    ],
)
async def test_each_answer_that_is_no_secret_has_its_error(
    stage: Stage, reply: Reply, kind: type[PrivySealError], code: str
) -> None:
    stage.site.fail("/api/v1/namespaces/apps/secrets/registry", reply, times=9)
    assert (await stage.refusal("registry", kind)).code == code


async def test_what_passes_is_tried_again(stage: Stage) -> None:
    stage.api.put("apps", "registry", {"value": b"x"})
    stage.site.fail("/api/v1", told(503, {}))
    stage.site.fail("/api/v1", told(429, {}))
    secret = stage.version("reference", reference="registry")
    await stage.manager().store(secret, Plaintext(b""))
    assert len(stage.site.requests) == 3


async def test_an_api_server_that_does_not_answer_is_given_up(stage: Stage) -> None:
    stage.seconds = 0.2
    stage.site.fail("/api/v1", Reply(hangs=True), times=9)
    assert (await stage.refusal("registry", Unavailable)).code == "kubernetes_slow"


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"name": "other", "namespace": "apps", "uid": "u", "resourceVersion": "1"}},
        {"metadata": {"name": "registry", "namespace": "other", "uid": "u", "resourceVersion": "1"}},
        {"metadata": {"name": "registry", "namespace": "apps", "uid": "", "resourceVersion": "1"}},
        {"kind": "ConfigMap"},
        {"data": {"value": "!!!"}},
        {"data": {"value": 7}},
        {"data": ["value"]},
    ],
)
async def test_an_answer_about_something_else_is_none(stage: Stage, changes: dict[str, Any]) -> None:
    good = stage.api.put("apps", "registry", {"value": b"hunter2"})
    stage.site.fail("/api/v1", told(200, {**json.loads(json.dumps(good)), **changes}), times=9)
    assert (await stage.refusal("registry", Unavailable)).code == "kubernetes_garbled"


async def test_an_answer_to_a_write_about_something_else_is_none(stage: Stage) -> None:
    answer = stage.api.answer

    def elsewhere(request: Request) -> Reply:
        reply = answer(request)
        if request.method == "POST":
            made = json.loads(reply.body)
            made["metadata"]["annotations"] = {}
            return told(201, made)
        return reply

    stage.api.answer = elsewhere  # type: ignore[method-assign]
    with pytest.raises(Unavailable) as caught:
        await stage.stored()
    assert caught.value.code == "kubernetes_garbled"
