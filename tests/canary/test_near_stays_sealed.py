"""Values and credentials of what lies near a delegate, files of age and Kubernetes, through real processes: nowhere but at the edges.

Searched as in `test_values_stay_sealed`, and the command lines of all processes of this machine. Errors are provoked too: a file for
somebody else, one that was altered, a reference without its key, a token that isn't taken any longer, an API server that
repeats the value.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from client.manifest import parse
from shared.errors import Tampered
from tests.canary.arguments import Arguments
from tests.canary.tapped import TappedEnvironment
from tests.canary.test_values_stay_sealed import MANAGER, watch_of
from tests.fakes.age import age_file, armored, new_identity
from tests.fakes.kubernetes import Kubernetes
from tests.servers.https import told

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="memory and command lines are searched on Linux only"),
]


@pytest.fixture
def site() -> Iterator[Kubernetes]:
    with Kubernetes() as one:
        yield one


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "age"
    made.mkdir()
    return made


@pytest.fixture
async def environment(tmp_path: Path, folder: Path) -> AsyncIterator[TappedEnvironment]:
    policy = tmp_path / "policy.toml"
    policy.write_text(f'files = ["{folder}/*"]\n')
    one = TappedEnvironment(tmp_path / "dev", delegate_options={"*": ["--policy-file", str(policy)]})
    async with one:
        yield one


async def connect(environment: TappedEnvironment, name: str, kind: str, spec: dict[str, Any]) -> None:
    body = {"connector": {"name": name, "identifier": name, "type": kind, "spec": spec}}
    async with environment.client() as client:
        await client.connectors.apply(await client.connectors.plan(parse(json.dumps(body).encode(), "near.yaml")))


def told_values(count: int) -> list[bytes]:
    return [secrets.token_urlsafe(24).encode() for _ in range(count)]


async def test_what_lies_near_a_delegate_is_nowhere_but_at_the_edges(
    environment: TappedEnvironment, folder: Path, site: Kubernetes
) -> None:
    watch, arguments = watch_of(environment), Arguments()
    watch.surface("command lines", arguments.pieces)
    watch.marker("the manager's own command line", str(environment.database).encode(), "command lines")
    recipient, identity = new_identity()
    token = site.api.account("apps", "privyseal", verbs=("get", "create", "update", "delete"))
    watch.secret("the identity", identity.encode())
    watch.secret("the token", token.encode())
    plain, member, other, altered, written, theirs = found = told_values(6)
    for at, value in enumerate(found):
        watch.secret(f"value {at}", value)
    (folder / "plain.age").write_bytes(age_file(plain, recipient))
    (folder / "object.age").write_bytes(armored(age_file(json.dumps({"key": member.decode()}).encode(), recipient)))
    (folder / "other.age").write_bytes(age_file(other, new_identity()[0]))
    (folder / "altered.age").write_bytes(age_file(altered, recipient)[:-1])
    site.api.put("apps", "theirs", {"password": theirs, "more": b"{}"})

    with arguments.watched():
        async with environment.client() as client:
            await client.store("account.age_key", identity.encode())
            await client.store("account.token", token.encode())
        selectors = ["zone:a"]
        spec = {"directory": str(folder), "identity": "account.age_key", "delegateSelectors": selectors}
        await connect(environment, "age", "AgeFile", spec)
        auth = {"type": "ServiceAccount", "spec": {"serviceAccountTokenRef": "account.token"}}
        where = {"masterUrl": site.url, "caCertificate": site.trust, "auth": auth}
        credential = {"type": "ManualConfig", "spec": where}
        await connect(environment, "cluster", "KubernetesSecrets", {"namespace": "apps", "credential": credential})

        async def refer(name: str, connector: str, reference: str, status: int = 0) -> None:
            options = ["--connector", f"account.{connector}", "--refers-to", reference]
            await environment.privyseal("secret", "set", f"account.{name}", *options, status=status)

        for name in ("age", "cluster"):
            await environment.privyseal("connector", "test", f"account.{name}")
        await refer("plain", "age", "plain.age")
        await refer("member", "age", "object.age#key")
        await refer("theirs", "cluster", "theirs/password")
        await environment.privyseal(
            *("secret", "set", "account.written", "--from-stdin", "--connector", "account.cluster"), given=written
        )
        assert site.api.data("apps", "written") == {"value": written}
        for name, value in (("plain", plain), ("member", member), ("theirs", theirs), ("written", written)):
            assert await environment.privyseal("reveal", f"account.{name}", gives_value=True) == value

        for name, connector, reference, status in (
            ("other", "age", "other.age", 4),
            ("altered", "age", "altered.age", Tampered.exit_status),
            ("missing", "age", "object.age#password", 5),
            ("above", "age", "../dev/keyring.json", 2),
            ("key", "cluster", "theirs", 2),
            ("owned", "cluster", "written", 4),
        ):
            await refer(name, connector, reference, status)
        site.fail("/api/v1", told(422, {"message": theirs.decode()}))
        await environment.privyseal("reveal", "account.theirs", status=2)
        del site.api.tokens[token]
        await environment.privyseal("reveal", "account.theirs", status=4)

    findings = watch.search()
    findings.insist()
    assert all(findings.searched_bytes[one] > 20_000 for one in MANAGER), findings.searched_bytes
