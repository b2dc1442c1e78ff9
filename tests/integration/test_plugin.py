"""A package that brings a kind, from its YAML to a revealed value: a real manager, real delegates, the client, one policy file."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from client.dev import DevEnvironment
from shared.errors import PrivySealError
from tests.fakes import example_plugin
from tests.fakes.command_line import privyseal

pytestmark = pytest.mark.asyncio(loop_scope="module")

VALUE = b"correct horse battery staple"
PASSPHRASE = b"a passphrase of a few words"
CONNECTOR = """
connector:
  name: file
  type: EncryptedFile
  spec:
    path: {path}
    passphrase: account.passphrase
    delegateSelectors: [{selector}]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the package is installed for every program that is started from now on, with the policy and the file beside it."""
    folder = tmp_path_factory.mktemp("plugin")
    packages = example_plugin.install(folder / "packages")
    (folder / "allowed.toml").write_text(f'kinds = ["Local", "EncryptedFile"]\nfiles = ["{folder}/values.json"]\n')
    (folder / "any.toml").write_text(f'kinds = ["*"]\nfiles = ["{folder}/values.json"]\n')
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(packages), *filter(None, [os.environ.get("PYTHONPATH")])]
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        patch.syspath_prepend(packages)
        yield folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment(place: Path) -> AsyncIterator[DevEnvironment]:
    options = {"*": ["--policy-file", str(place / "allowed.toml")]}
    async with DevEnvironment(delegates=1, delegate_options=options) as running:
        async with running.client() as client:
            await client.store("account.passphrase", PASSPHRASE)
        yield running


async def test_wrong_settings_of_a_package_are_told_with_file_line_and_path(
    environment: DevEnvironment, place: Path
) -> None:
    wrong = CONNECTOR.format(path="values/../x", selector="dev")
    status, _, errors = await privyseal(environment, "--output", "json", "apply", "-f", "-", given=wrong)
    assert status == 2
    assert "connector.spec.path" in errors and "values/../x" not in errors


async def test_a_connector_of_a_package_is_applied_tested_and_exported_and_keeps_values(
    environment: DevEnvironment, place: Path
) -> None:
    path = place / "values.json"
    async with environment.client() as client:
        (delegate,) = (await client.views.delegates())[:1]
    given = CONNECTOR.format(path=path, selector=delegate["name"])
    status, out, errors = await privyseal(environment, "apply", "-f", "-", given=given)
    assert (status, errors) == (0, ""), out
    was_there = path.exists()
    status, out, errors = await privyseal(environment, "connector", "test", "file")
    assert (status, errors) == (0, "")
    assert path.exists() == was_there
    async with environment.client() as client:
        await client.store("account.filed", VALUE, connector="account.file")
        await client.store("account.filed", VALUE + b"!")
        assert (await client.reveal("account.filed")).reveal() == VALUE + b"!"
        assert (await client.reveal("account.filed", version=1)).reveal() == VALUE
        kept = json.loads(path.read_bytes())
        assert set(kept["entries"]) - {"written"} == {"filed"} and len(kept["entries"]["filed"]["versions"]) == 2
        assert path.stat().st_mode & 0o777 == 0o600
        # What somebody changes there doesn't come out.
        first, second = kept["entries"]["filed"]["versions"]
        kept["entries"]["filed"]["versions"][second] = kept["entries"]["filed"]["versions"][first]
        path.write_text(json.dumps(kept))
        with pytest.raises(PrivySealError) as caught:
            await client.reveal("account.filed")
        assert caught.value.code == "encrypted_file_tampered"
        await client.delete("account.filed")
    assert "filed" not in json.loads(path.read_bytes())["entries"]
    status, out, errors = await privyseal(environment, "export")
    assert (status, errors) == (0, "")
    assert "type: EncryptedFile" in out


async def test_neither_values_nor_the_passphrase_are_in_what_the_programs_wrote(
    environment: DevEnvironment, place: Path
) -> None:
    async with environment.client() as client:
        (delegate,) = (await client.views.delegates())[:1]
        given = CONNECTOR.format(path=place / "values.json", selector=delegate["name"])
        assert (await privyseal(environment, "apply", "-f", "-", given=given))[0] == 0
        await client.store("account.written", VALUE, connector="account.file")
        assert (await client.reveal("account.written")).reveal() == VALUE
    kept = [path for path in environment.home.root.rglob("*") if path.is_file()]
    written = b"".join(path.read_bytes() for path in (*kept, *environment.logs, place / "values.json"))
    assert b"task.finished" in written
    assert VALUE not in written
    assert PASSPHRASE not in written


async def test_a_delegate_whose_policy_allows_any_kind_has_none_of_a_package(place: Path) -> None:
    options = {"*": ["--policy-file", str(place / "any.toml")]}
    async with DevEnvironment(delegates=1, delegate_options=options) as running:
        async with running.client() as client:
            await client.store("account.passphrase", PASSPHRASE)
            (delegate,) = await client.views.delegates()
        given = CONNECTOR.format(path=place / "values.json", selector=delegate["name"])
        assert (await privyseal(running, "apply", "-f", "-", given=given))[0] == 0
        async with running.client() as client:
            with pytest.raises(PrivySealError) as caught:
                await client.store("account.filed", VALUE, connector="account.file")
            assert "EncryptedFile" in caught.value.detail + caught.value.hint + repr(caught.value.facts)
