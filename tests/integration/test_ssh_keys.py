"""SSHKeys from YAML to a login at a real sshd: described as references alone, tried from a delegate, changed, protected, deleted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from client.dev import DevEnvironment
from shared.errors import Malformed
from tests.fakes.command_line import privyseal
from tests.fakes.refusal import refused
from tests.servers.sshd import Sshd, keygen

pytestmark = pytest.mark.asyncio(loop_scope="module")

YAML = """
secret:
  type: SSHKey
  name: Deploy key
  identifier: {name}
  spec:
    port: {port}
    auth:
      type: SSH
      spec:
        credentialType: KeyReference
        spec: {{userName: {user}, key: {key}}}
    knownHosts: {hosts}
"""


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd() as server:
        server.authorize(keygen(tmp_path_factory.mktemp("ssh") / "key"))
        yield server


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory, sshd: Sshd) -> Path:
    made = keygen(tmp_path_factory.mktemp("keys") / "key")
    sshd.authorize(made)
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment(key: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevEnvironment]:
    policy = tmp_path_factory.mktemp("policy") / "policy.toml"
    policy.write_text("scripts = true\n")
    async with DevEnvironment(delegates=1, delegate_options={"*": ["--policy-file", str(policy)]}) as running:
        async with running.client() as client:
            await client.store("account.pem", key.read_bytes())
        yield running


def described(sshd: Sshd, name: str = "deploy", key: str = "account.pem", hosts: list[str] | None = None) -> str:
    known = [sshd.known_hosts] if hosts is None else hosts
    return YAML.format(name=name, port=sshd.port, user=sshd.user, key=key, hosts=json.dumps(known))


async def test_an_ssh_key_logs_in_where_its_host_is_known(environment: DevEnvironment, sshd: Sshd) -> None:
    status, _, errors = await privyseal(environment, "apply", "-f", "-", given=described(sshd))
    assert (status, errors) == (0, "")
    status, out, errors = await privyseal(environment, "secret", "test", "account.deploy", "--host", "127.0.0.1")
    assert (status, errors) == (0, "")
    assert out.startswith("deploy logs in at 127.0.0.1 from the delegate a")
    status, out, _ = await privyseal(environment, "--output", "json", "secret", "test", "deploy", "--host", "127.0.0.1")
    assert (status, json.loads(out)["code"]) == (0, "ok")


async def test_applied_again_it_is_unchanged_and_exported_as_it_was(environment: DevEnvironment, sshd: Sshd) -> None:
    await privyseal(environment, "apply", "-f", "-", given=described(sshd))
    status, out, _ = await privyseal(environment, "apply", "--dry-run", "-f", "-", given=described(sshd))
    assert (status, out) == (0, "unchanged account/deploy (SSHKey)\n")
    _, exported, _ = await privyseal(environment, "export")
    status, out, errors = await privyseal(environment, "apply", "--dry-run", "-f", "-", given=exported)
    assert (status, errors) == (0, "")
    assert "type: SSHKey" in exported


async def test_a_host_whose_key_is_unknown_is_refused_and_its_fingerprint_is_shown(
    environment: DevEnvironment, sshd: Sshd
) -> None:
    await privyseal(environment, "apply", "-f", "-", given=described(sshd, "unknown", hosts=[]))
    status, _, errors = await privyseal(environment, "secret", "test", "unknown", "--host", "127.0.0.1")
    assert status != 0
    assert "SHA256:" in errors


async def test_what_it_names_must_be_there_a_plain_secret_and_the_signers_to_use(
    environment: DevEnvironment, sshd: Sshd
) -> None:
    await privyseal(environment, "apply", "-f", "-", given=described(sshd))
    for wanted, told in (("account.nowhere", "there is no secret nowhere"), ("account.deploy", "is an SSHKey itself")):
        status, _, errors = await privyseal(environment, "apply", "-f", "-", given=described(sshd, "other", wanted))
        assert status != 0
        assert "secret.spec.auth.spec.spec.key" in errors
        assert told in errors


async def test_it_has_no_value_to_be_revealed_or_set(environment: DevEnvironment, sshd: Sshd) -> None:
    await privyseal(environment, "apply", "-f", "-", given=described(sshd))
    async with environment.client() as client:
        with refused(Malformed, "secret_is_login"):
            await client.reveal("deploy")
        with refused(Malformed, "secret_is_login"):
            await client.store("deploy", b"x")
        with refused(Malformed, "secret_no_login"):
            await client.logins.test("pem", "127.0.0.1")


async def test_what_it_names_isnt_deleted_under_it_and_it_goes_without_a_delegate(
    environment: DevEnvironment, sshd: Sshd
) -> None:
    await privyseal(environment, "apply", "-f", "-", given=described(sshd, "short"))
    status, _, errors = await privyseal(environment, "secret", "delete", "pem", "--yes")
    assert status != 0
    assert "SSHKey" in errors
    assert "account.short" in errors
    status, _, errors = await privyseal(environment, "secret", "delete", "short", "--yes")
    assert (status, errors) == (0, "")


async def test_a_delegate_without_scripts_is_told_to_lack_the_kind(sshd: Sshd, key: Path) -> None:
    async with DevEnvironment(delegates=1) as running:
        async with running.client() as client:
            await client.store("account.pem", key.read_bytes())
        await privyseal(running, "apply", "-f", "-", given=described(sshd))
        status, _, errors = await privyseal(running, "secret", "test", "deploy", "--host", "127.0.0.1")
    assert status != 0
    assert "CustomSecretManager" in errors


RUN = """
---
template:
  name: reader
  identifier: reader
  versionLabel: v1
  type: SecretManager
  spec:
    shell: Bash
    source: {{type: Inline, spec: {{script: "secret=$(printf '%s of %s' \\"$path\\" \\"$(id -un)\\")"}}}}
    environmentVariables:
      - {{name: path, type: String, value: <+input>}}
---
connector:
  name: remote
  type: CustomSecretManager
  spec:
    onDelegate: false
    host: 127.0.0.1
    connectorRef: account.{login}
    template:
      templateRef: account.reader
      versionLabel: v1
      templateInputs:
        environmentVariables:
          - {{name: path, type: String, value: <+input>}}
---
secret:
  type: SecretText
  name: remote secret
  identifier: remote_secret
  spec:
    secretManagerIdentifier: account.remote
    valueType: CustomSecretManagerValues
    value: '{{"environmentVariables":[{{"name":"path","type":"String","value":"a b"}}]}}'
"""


async def test_one_file_describes_template_login_connector_and_secret(environment: DevEnvironment, sshd: Sshd) -> None:
    text = described(sshd, "beside") + RUN.format(login="beside")
    status, out, errors = await privyseal(environment, "apply", "--dry-run", "-f", "-", given=text)
    assert (status, errors) == (0, "")
    assert "would create account/beside (SSHKey)" in out
    status, _, errors = await privyseal(environment, "apply", "-f", "-", given=text)
    assert (status, errors) == (0, "")
    status, out, errors = await privyseal(environment, "reveal", "account.remote_secret")
    assert (status, out, errors) == (0, f"a b of {sshd.user}", "")
    status, out, _ = await privyseal(environment, "apply", "--dry-run", "-f", "-", given=text)
    assert (status, {line.split()[0] for line in out.splitlines()}) == (0, {"unchanged"})
