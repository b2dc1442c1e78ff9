"""What scripts are given and leave, and what logs in at their hosts, through real processes: nowhere but at the edges.

Searched as in `test_values_stay_sealed`, and the command lines and environments of all processes of this machine, the log and the
folder of OpenSSH's server, and what is left in the place for temporary files. Failures are provoked too: scripts that fail, hang or
have no value after they have printed all that they know, a host whose key is another, and inputs that aren't those that are asked for.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Denied, Expired, NotFound, Unavailable
from tests.canary.arguments import Arguments
from tests.canary.tapped import TappedEnvironment
from tests.canary.test_values_stay_sealed import MANAGER, watch_of
from tests.canary.watch import files
from tests.servers.sshd import USER, Sshd, keygen, public

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="memory and command lines are searched on Linux only"),
]

TOKEN = '<+secrets.getValue("account.token")>'
MINE = '<+secrets.getValue("account.mine")>'
SAY = f'printf "%s\\n" "$path" "$mine" {TOKEN}; printf "%s\\n" "$secret" >&2; sleep 0.2'
"""All that a script knows; a moment for whoever looks at command lines."""


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    keygen(tmp_path / "login", passphrase="the passphrase of the login")
    with Sshd() as one:
        one.authorize(tmp_path / "login")
        yield one


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its delegates' place for temporary files: others run scripts on this machine too."""
    made = tmp_path / "temporary"
    made.mkdir()
    monkeypatch.setenv("TMPDIR", str(made))
    return made


@pytest.fixture
async def environment(tmp_path: Path, temporary: Path) -> AsyncIterator[TappedEnvironment]:
    policy = tmp_path / "policy.toml"
    policy.write_text("scripts = true\n")
    one = TappedEnvironment(tmp_path / "dev", delegate_options={"*": ["--policy-file", str(policy)]})
    async with one:
        yield one


def values(count: int) -> list[bytes]:
    return [secrets.token_urlsafe(24).encode() for _ in range(count)]


def template(name: str, script: str, **more: str) -> dict[str, Any]:
    inputs = [
        {"name": "path", "type": "String", "value": "<+input>"},
        {"name": "mine", "type": "String", "value": "<+input>"},
    ]
    sources = {
        which: {"type": "Inline", "spec": {"script": text}} for which, text in {"source": script, **more}.items()
    }
    spec = {"shell": "Bash", **sources, "environmentVariables": inputs}
    return {"template": {"name": name, "identifier": name, "versionLabel": "v1", "type": "SecretManager", "spec": spec}}


def connector(name: str, runs: str, **more: Any) -> dict[str, Any]:
    said = [{"name": "path", "type": "String", "value": "<+input>"}, {"name": "mine", "type": "String", "value": MINE}]
    link = {
        "templateRef": f"account.{runs}",
        "versionLabel": "v1",
        "templateInputs": {"environmentVariables": said},
    }
    spec = {"template": link, **more}
    return {"connector": {"name": name, "identifier": name, "type": "CustomSecretManager", "spec": spec}}


def login(name: str, port: int, known: str) -> dict[str, Any]:
    who = {"userName": USER, "key": "account.ssh_key", "encryptedPassphrase": "account.ssh_passphrase"}
    auth = {"type": "SSH", "spec": {"credentialType": "KeyReference", "spec": who}}
    spec = {"port": port, "auth": auth, "knownHosts": [known]}
    return {"secret": {"type": "SSHKey", "name": name, "identifier": name, "spec": spec}}


async def test_what_scripts_are_given_and_leave_is_nowhere_but_at_the_edges(
    environment: TappedEnvironment, sshd: Sshd, tmp_path: Path, temporary: Path
) -> None:
    watch, arguments, variables = watch_of(environment), Arguments(), Arguments("environ")
    watch.surface("command lines", arguments.pieces)
    watch.surface("environments", variables.pieces)
    watch.surface("the host", files(lambda: [sshd.folder]))
    watch.surface("temporary files", files(lambda: temporary.glob("privyseal-exec-*")))
    watch.surface("the host's log", lambda: iter([sshd.log.encode()]))
    watch.marker("the manager's own command line", str(environment.database).encode(), "command lines")
    watch.marker("a script's folder", b"privyseal-exec-", "environments")
    watch.marker("the login", b"Accepted publickey", "the host's log")

    token, mine, theirs, written, fetched = found = values(5)
    for at, value in enumerate(found):
        watch.secret(f"value {at}", value)
    key, passphrase = (tmp_path / "login").read_bytes(), b"the passphrase of the login"
    watch.secret("the SSH key", key.partition(b"\n")[2][:600])
    watch.secret("the passphrase", passphrase)
    # What a script reads: a place that is neither a file of ours nor searched.
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for name in ("theirs", "failing", "hanging"):
        (shelf / name).write_bytes(theirs if name == "theirs" else fetched)

    async def apply(*bodies: dict[str, Any], status: int = 0) -> None:
        file = tmp_path / "given.yaml"
        file.write_text("\n---\n".join(json.dumps(body) for body in bodies))
        await environment.privyseal("apply", "-f", str(file), status=status)

    async def secret(name: str, of: str, path: str, status: int = 0) -> None:
        options = ["--connector", f"account.{of}", "--input", f"path={path}"]
        await environment.privyseal("secret", "set", f"account.{name}", *options, status=status)

    with arguments.watched(), variables.watched():
        async with environment.client() as client:
            for reference, value in {
                "account.token": token,
                "account.mine": mine,
                "account.ssh_key": key,
                "account.ssh_passphrase": passphrase,
            }.items():
                await client.store(reference, value)
        read = f'[[ -e "{shelf}/$path" ]] && secret=$(cat "{shelf}/$path"); {SAY}'
        write, remove = f'{SAY}; printf %s "$secret" > "{shelf}/$path"', f'rm "{shelf}/$path"'
        known = f"[127.0.0.1]:{sshd.port} {public(keygen(tmp_path / 'stranger'))}"
        there = {"onDelegate": False, "host": "127.0.0.1"}
        await apply(login("login", sshd.port, sshd.known_hosts), login("stranger", sshd.port, known))
        await apply(
            template("reads", read, write=write, remove=remove),
            template("fails", f"{read}; [[ $path != failing ]] || exit 3; [[ $path != hanging ]] || sleep 60"),
            connector("here", "reads"),
            connector("failing", "fails"),
            connector("hanging", "fails", timeout=5),
            connector("there", "reads", **there, connectorRef="account.login"),
            connector("lost", "fails", **there, connectorRef="account.login"),
            connector("stuck", "fails", **there, connectorRef="account.login", timeout=5),
            connector("strange", "reads", **there, connectorRef="account.stranger"),
        )
        for name in ("here", "there"):
            await environment.privyseal("connector", "test", f"account.{name}")
            await secret(f"theirs_{name}", name, "theirs")
            options = ["--connector", f"account.{name}", "--input", f"path=written_{name}"]
            await environment.privyseal("secret", "set", f"account.own_{name}", *options, "--from-stdin", given=written)
            for which, value in (("theirs", theirs), ("own", written)):
                assert await environment.privyseal("reveal", f"account.{which}_{name}", gives_value=True) == value
        for name, slow in (("failing", "hanging"), ("lost", "stuck")):
            await secret(f"f_{name}", name, "failing", status=Unavailable.exit_status)
            await secret(f"h_{name}", slow, "hanging", status=Expired.exit_status)
            await secret(f"n_{name}", name, "nothing", status=NotFound.exit_status)
        await secret("strange", "strange", "theirs", status=Denied.exit_status)

    for one in (*environment.delegates.values(),):
        assert b"script.failed" in one.log.read_bytes()
    findings = watch.search()
    findings.insist()
    assert all(findings.searched_bytes[one] > 50_000 for one in MANAGER), findings.searched_bytes
    assert findings.searched_bytes["temporary files"] == 0
