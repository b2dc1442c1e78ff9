"""Kubernetes Secrets at a stand-in over TLS: whose objects are touched, what is found anew, who asks, and what refusals mean."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator

import pytest

from delegate.secret_managers.kubernetes_secrets import LONGEST_VALUE
from shared.crypto.plaintext import Plaintext
from shared.errors import (
    Conflict,
    Denied,
    Malformed,
    NotFound,
    Tampered,
)
from tests.fakes.kubernetes import Kubernetes
from tests.fakes.kubernetes_stage import ALL, Stage
from tests.fakes.versions import whole
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


# ---- objects of ours


async def test_an_object_of_ours_says_whose_it_is_and_pods_can_use_it(stage: Stage) -> None:
    secret, _ = await stage.stored(b"\x00\xffbytes")
    found = stage.api.objects["apps", "acme.db"]
    assert stage.api.data("apps", "acme.db") == {"value": b"\x00\xffbytes"}
    assert found["type"] == "Opaque"
    assert found["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "privyseal",
        "privyseal-account": stage.world.id,
        "privyseal-secret": secret.secret.id,
    }
    assert found["metadata"]["annotations"] == {"privyseal-version": f"1/{secret.aad.version}"}


async def test_what_others_added_to_an_object_of_ours_stays(stage: Stage) -> None:
    await stage.stored()
    found = stage.api.objects["apps", "acme.db"]
    found["metadata"]["annotations"]["argocd.example/sync"] = "no"
    found["metadata"]["finalizers"] = ["example.com/hold"]
    found["data"]["theirs"] = base64.b64encode(b"kept").decode()
    secret, stored = await stage.stored(b"newer", n=2)
    found = stage.api.objects["apps", "acme.db"]
    assert found["metadata"]["annotations"]["argocd.example/sync"] == "no"
    assert found["metadata"]["finalizers"] == ["example.com/hold"]
    assert stage.api.data("apps", "acme.db") == {"value": b"newer", "theirs": b"kept"}
    assert (await stage.manager().fetch(secret, stored)).reveal() == b"newer"


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        ({}, "origin_foreign"),
        ({"privyseal-account": "other", "privyseal-secret": "other"}, "origin_other"),
    ],
)
async def test_what_others_own_is_neither_overwritten_nor_deleted(
    stage: Stage, labels: dict[str, str], code: str
) -> None:
    stage.api.put("apps", "acme.db", {"value": b"theirs"}, metadata={"labels": labels})
    with pytest.raises(Conflict) as caught:
        await stage.stored()
    assert caught.value.code == code
    await stage.manager().delete(whole(stage.version()), None)
    assert stage.api.data("apps", "acme.db") == {"value": b"theirs"}


async def test_labels_that_somebody_took_off_are_told_before_deleting(stage: Stage) -> None:
    secret, stored = await stage.stored()
    stage.api.objects["apps", "acme.db"]["metadata"]["labels"] = None
    with pytest.raises(NotFound) as caught:
        await stage.manager().fetch(secret, stored)
    assert caught.value.code == "secret_not_found"
    with pytest.raises(Conflict) as kept:
        await stage.manager().delete(whole(secret), None)
    assert kept.value.code == "origin_foreign"


async def test_an_older_version_is_gone_and_another_value_is_not_taken_for_ours(stage: Stage) -> None:
    first, old = await stage.stored(b"old")
    second, new = await stage.stored(b"new", n=2)
    with pytest.raises(NotFound) as gone:
        await stage.manager().fetch(first, old)
    assert gone.value.code == "version_replaced"
    with pytest.raises(Conflict) as superseded:
        await stage.manager().store(first, Plaintext(b"old"))
    assert superseded.value.code == "version_superseded"
    await stage.manager().delete(first, old)
    assert (await stage.manager().fetch(second, new)).reveal() == b"new"
    stage.api.objects["apps", "acme.db"]["metadata"]["annotations"]["privyseal-version"] = "1/other"
    with pytest.raises(Tampered) as replaced:
        await stage.manager().fetch(second, new)
    assert replaced.value.code == "value_replaced"
    stage.api.objects["apps", "acme.db"]["metadata"]["annotations"]["privyseal-version"] = f"2/{second.aad.version}"
    await stage.manager().delete(second, new)
    assert ("apps", "acme.db") not in stage.api.objects


async def test_immutable_objects_and_those_that_are_going_are_left_alone(stage: Stage) -> None:
    await stage.stored()
    stage.api.objects["apps", "acme.db"]["immutable"] = True
    with pytest.raises(Conflict) as immutable:
        await stage.stored(b"newer", n=2)
    assert immutable.value.code == "kubernetes_immutable"
    stage.api.objects["apps", "acme.db"]["metadata"]["finalizers"] = ["example.com/hold"]
    await stage.manager().delete(whole(stage.version()), None)
    with pytest.raises(Conflict) as going:
        await stage.stored(b"newer", n=2)
    assert going.value.code == "kubernetes_deleting"


async def test_a_writer_who_was_overtaken_looks_again(stage: Stage) -> None:
    await stage.stored()
    overtaking = [b"x"]
    answer = stage.api.answer

    def overtaken(request: Request) -> Reply:
        if request.method in {"PUT", "DELETE"} and overtaking:
            overtaking.pop()
            found = stage.api.objects["apps", "acme.db"]
            found["metadata"]["labels"]["team"] = "payments"
            found["metadata"]["resourceVersion"] = "999999"
        return answer(request)

    stage.api.answer = overtaken  # type: ignore[method-assign]
    secret, stored = await stage.stored(b"newer", n=2)
    found = stage.api.objects["apps", "acme.db"]
    assert found["metadata"]["labels"]["team"] == "payments" and stage.api.data("apps", "acme.db")["value"] == b"newer"
    overtaking.append(b"x")
    await stage.manager().delete(whole(secret), stored)
    assert stage.api.objects == {}


async def test_an_object_that_vanishes_between_looking_and_writing_is_made_anew(stage: Stage) -> None:
    await stage.stored()
    answer, vanishing = stage.api.answer, [b"x"]

    def vanished(request: Request) -> Reply:
        if request.method == "PUT" and vanishing:
            vanishing.pop()
            stage.api.objects.clear()
        return answer(request)

    stage.api.answer = vanished  # type: ignore[method-assign]
    secret, stored = await stage.stored(b"newer", n=2)
    assert (await stage.manager().fetch(secret, stored)).reveal() == b"newer"


async def test_a_write_whose_answer_was_lost_is_found_again_and_not_done_twice(stage: Stage) -> None:
    answer, losing = stage.api.answer, [2, 1]

    def lost(request: Request) -> Reply:
        reply = answer(request)
        if request.method in {"POST", "PUT"} and losing:
            losing.pop()
            return told(504, {"kind": "Status", "reason": "Timeout"})
        return reply

    stage.api.answer = lost  # type: ignore[method-assign]
    secret, stored = await stage.stored()
    assert (await stage.manager().fetch(secret, stored)).reveal() == b"hunter2"
    revision = stage.api.revision
    second, newer = await stage.stored(b"newer", n=2)
    assert stage.api.revision == revision + 1
    assert (await stage.manager().fetch(second, newer)).reveal() == b"newer"


async def test_many_writers_of_one_secret_leave_one_whole_value(stage: Stage) -> None:
    secrets = [stage.version(n=n) for n in range(1, 7)]
    done = await asyncio.gather(
        *(stage.manager().store(one, Plaintext(b"value %d" % one.n)) for one in secrets), return_exceptions=True
    )
    assert all(not isinstance(one, BaseException) or isinstance(one, Conflict) for one in done)
    (newest,) = [one for one in secrets if f"{one.n}/{one.aad.version}" == _note(stage)]
    assert stage.api.data("apps", "acme.db") == {"value": b"value %d" % newest.n}


def _note(stage: Stage) -> str:
    return str(stage.api.objects["apps", "acme.db"]["metadata"]["annotations"]["privyseal-version"])


async def test_what_was_stored_in_another_namespace_says_so(stage: Stage) -> None:
    secret, stored = await stage.stored()
    with pytest.raises(Conflict) as caught:
        await stage.manager(namespace="other").fetch(secret, stored)
    assert caught.value.code == "locator_changed"


async def test_the_longest_value_fits_beside_nothing_else(stage: Stage) -> None:
    secret, stored = await stage.stored(b"x" * LONGEST_VALUE)
    assert len(await stage.manager().fetch(secret, stored)) == LONGEST_VALUE
    stage.api.objects["apps", "acme.db"]["data"]["theirs"] = base64.b64encode(b"more").decode()
    with pytest.raises(Malformed) as caught:
        await stage.stored(b"y" * LONGEST_VALUE, n=2)
    assert caught.value.code == "kubernetes_invalid"
    assert (await stage.manager().fetch(secret, stored)).reveal()[:1] == b"x"


# ---- references


async def test_references_name_a_secret_and_its_key(stage: Stage) -> None:
    stage.api.put("apps", "registry", {".dockerconfigjson": b'{"auths": {"r": 1}}'})
    stage.api.put("apps", "tls.example.com", {"tls.crt": b"certificate", "tls.key": b"\x00key"})
    assert await stage.read("registry") == b'{"auths": {"r": 1}}'
    assert await stage.read("registry/.dockerconfigjson#auths.r") == b"1"
    assert await stage.read("tls.example.com/tls.key") == b"\x00key"
    assert (await stage.refusal("tls.example.com", Malformed)).code == "kubernetes_key_needed"
    assert (await stage.refusal("tls.example.com/ca.crt", NotFound)).code == "kubernetes_key_missing"
    assert (await stage.refusal("nothing/value", NotFound)).code == "kubernetes_missing"
    assert (await stage.refusal("registry", Malformed, metadata={"version": "1"})).code == "metadata_unknown"


@pytest.mark.parametrize(
    "reference",
    [
        *(
            "../other/secrets/theirs",
            "a/../../other",
            "..",
            ".",
            "A/value",
            "a_b",
            "/a",
            "a/",
            "a/b/c",
            "a/..",
            "a/.",
            "a/..b",
        ),
        *("a%2f..%2fother/value", "a?watch=true", "a b", "a\r\nX: y", "\u00e4", "a/v\n", "a" * 254),
    ],
)
async def test_no_reference_leaves_the_namespace_or_asks_for_anything_else(stage: Stage, reference: str) -> None:
    stage.api.put("other", "theirs", {"value": b"hunter2"})
    stage.api.account("apps", "privyseal", verbs=ALL, within="other")
    assert (await stage.refusal(reference, Malformed)).code == "reference_unfit"
    assert stage.site.requests == []


async def test_a_reference_to_what_another_secret_owns_is_refused(stage: Stage) -> None:
    await stage.stored()
    assert (await stage.refusal("acme.db/value", Denied)).code == "reference_to_inline"
    assert (await stage.refusal("acme.db", Denied)).code == "reference_to_inline"


# ---- rights


async def test_a_check_names_the_verb_that_is_missing_and_touches_no_secret(stage: Stage) -> None:
    await stage.manager().check()
    assert {one.path for one in stage.site.requests} == {"/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"}
    for missing in ALL:
        stage.token = stage.api.account("apps", f"without-{missing}", verbs=set(ALL) - {missing})
        with pytest.raises(Denied) as caught:
            await stage.manager().check()
        assert f"{missing} on secrets in the namespace apps" in caught.value.detail
        if missing == "get":
            continue
        await stage.manager(readOnly=True).check()


async def test_a_role_for_single_secrets_passes_with_their_names(stage: Stage) -> None:
    stage.token = stage.api.account("apps", "narrow", verbs=("get",), names=("registry",))
    stage.api.put("apps", "registry", {"value": b"x"})
    assert await stage.read("registry") == b"x"
    await stage.manager(readOnly=True, testNames=["registry"]).check()
    for names in ([], ["registry", "other"]):
        with pytest.raises(Denied) as caught:
            await stage.manager(readOnly=True, testNames=names).check()
        assert "get on secrets" in caught.value.detail
    assert "secrets/other" in caught.value.detail


async def test_a_refusal_names_the_verb_the_secret_and_the_namespace(stage: Stage) -> None:
    for verbs, verb in (((), "get"), (("get",), "create"), (("get", "create"), "update")):
        if verb == "update":
            stage.api.objects.clear()
            stage.token = stage.api.account("apps", "all", verbs=ALL)
            await stage.stored()
        stage.token = stage.api.account("apps", f"lacks-{verb}", verbs=verbs)
        with pytest.raises(Denied) as caught:
            await stage.stored(n=2)
        assert caught.value.code == "kubernetes_denied"
        assert f"{verb} on secrets/acme.db in the namespace apps" in caught.value.detail
    with pytest.raises(Denied) as delete:
        await stage.manager().delete(whole(stage.version()), None)
    assert "delete on secrets/acme.db" in delete.value.detail


async def test_a_token_of_another_namespace_or_none_is_refused(stage: Stage) -> None:
    stage.token = stage.api.account("elsewhere", "privyseal", verbs=ALL)
    assert (await stage.refusal("registry", Denied)).code == "kubernetes_denied"
    stage.token = "eyJhbGciOiJSUzI1NiJ9.e30.gone"
    assert (await stage.refusal("registry", Denied)).code == "kubernetes_unauthenticated"


async def test_a_missing_namespace_is_told_when_storing(stage: Stage) -> None:
    stage.token = stage.api.account("apps", "wide", verbs=ALL, within="nowhere")
    with pytest.raises(NotFound) as caught:
        await stage.manager(namespace="nowhere").store(stage.version(), Plaintext(b"x"))
    assert caught.value.code == "kubernetes_namespace_missing"


async def test_a_read_only_connector_writes_nothing(stage: Stage) -> None:
    with pytest.raises(Denied) as caught:
        await stage.manager(readOnly=True).store(stage.version(), Plaintext(b"x"))
    assert caught.value.code == "connector_read_only" and stage.site.requests == []


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "p\u00e4ss", "x" * 20_000])
async def test_what_is_no_token_is_not_sent(stage: Stage, token: str) -> None:
    stage.token = token
    with pytest.raises(Malformed) as caught:
        stage.manager()
    assert caught.value.code == "credential_malformed" and stage.site.requests == []
