"""PINs, and what a package's kind is given, through real processes: nowhere but at the edges, and in no command line.

Searched as in `test_values_stay_sealed`, and the command lines of all processes of this machine, the tokens' own among them. Errors are
provoked too: a wrong PIN, a key that isn't there, a kind that is altered underneath.
"""

from __future__ import annotations

import json
import os
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
from tests.fakes import example_plugin
from tests.servers.softhsm import NAME, POLICY, SoftHsm, Token

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="memory and command lines are searched on Linux only"),
]


@pytest.fixture
def token() -> Iterator[Token]:
    with SoftHsm() as hsm:
        made = hsm.token()
        made.aes("main")
        yield made


@pytest.fixture
async def environment(
    tmp_path: Path, token: Token, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[TappedEnvironment]:
    packages = example_plugin.install(tmp_path / "packages")
    paths = [str(packages), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.syspath_prepend(packages)
    policy = tmp_path / "policy.toml"
    kinds = json.dumps(["Local", "Pkcs11", example_plugin.KIND])
    policy.write_text(f'kinds = {kinds}\nfiles = ["{tmp_path}/values.json"]\n{POLICY}')
    one = TappedEnvironment(tmp_path / "dev", delegate_options={"*": ["--policy-file", str(policy)]})
    async with one:
        yield one


async def connect(environment: TappedEnvironment, name: str, kind: str, spec: dict[str, Any]) -> None:
    told = {"delegateSelectors": ["zone:a"], **spec}
    body = {"connector": {"name": name, "identifier": name, "type": kind, "spec": told}}
    async with environment.client() as client:
        await client.connectors.apply(await client.connectors.plan(parse(json.dumps(body).encode(), "tokens.yaml")))


async def test_pins_and_what_packages_are_given_are_nowhere_but_at_the_edges(
    environment: TappedEnvironment, token: Token, tmp_path: Path
) -> None:
    watch, arguments = watch_of(environment), Arguments()
    watch.surface("command lines", arguments.pieces)
    watch.marker("the manager's own command line", str(environment.database).encode(), "command lines")
    wrong, passphrase = secrets.token_hex(8).encode(), secrets.token_urlsafe(24).encode()
    wrapped, filed = (secrets.token_urlsafe(24).encode() for _ in range(2))
    held = {"pin": token.pin.encode(), "wrong": wrong, "passphrase": passphrase}
    for name, value in {**held, "wrapped": wrapped, "filed": filed}.items():
        watch.secret(f"the {name}", value)

    with arguments.watched():
        async with environment.client() as client:
            for name, value in held.items():
                await client.store(f"account.{name}", value)
        spec = {"library": NAME, "tokenLabel": token.label, "keyLabel": "main"}
        await connect(environment, "hsm", "Pkcs11", {**spec, "pin": "account.pin"})
        await connect(environment, "locked", "Pkcs11", {**spec, "pin": "account.wrong"})
        await connect(environment, "keyless", "Pkcs11", {**spec, "keyLabel": "nowhere", "pin": "account.pin"})
        await connect(environment, "unnamed", "Pkcs11", {**spec, "library": "other", "pin": "account.pin"})
        file = {"path": str(tmp_path / "values.json"), "passphrase": "account.passphrase"}
        await connect(environment, "file", example_plugin.KIND, file)
        for name, status in (("hsm", 0), ("file", 0), ("locked", 4), ("keyless", 5), ("unnamed", 4)):
            await environment.privyseal("connector", "test", f"account.{name}", status=status)
        for name, connector, value in (("wrapped", "hsm", wrapped), ("filed", "file", filed)):
            options = ("--from-stdin", "--connector", f"account.{connector}")
            await environment.privyseal("secret", "set", f"account.{name}", *options, given=value)
            assert await environment.privyseal("reveal", f"account.{name}", gives_value=True) == value
        token.delete("main")
        kept = tmp_path / "values.json"
        content = json.loads(kept.read_bytes())
        for one in content["entries"].values():
            one["versions"] = dict.fromkeys(one["versions"], content["proof"])
        kept.write_text(json.dumps(content))
        await environment.privyseal("reveal", "account.filed", status=Tampered.exit_status)
        options = ("--from-stdin", "--connector", "account.hsm")
        await environment.privyseal("secret", "set", "account.more", *options, given=wrapped, status=5)

    findings = watch.search()
    findings.insist()
    assert all(findings.searched_bytes[one] > 20_000 for one in MANAGER), findings.searched_bytes
