"""The page on writing a kind shows the code of the example, and what it says may be imported is there and stays as it is."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import pytest

from client import kinds
from delegate.policy import LocalPolicy
from delegate.secret_managers import loading, plugins
from shared.connectors import catalogue
from tests.architecture.source import ROOT, imports

PAGE = (ROOT / "docs/secret-managers/writing-one.md").read_text()
PLUGIN = ROOT / "deploy/examples/plugin"
STABLE = {
    module: set(re.findall(r"`(\w+)`", names))
    for module, names in re.findall(r"^\| `((?:shared|delegate)\.[\w.]+)` \| (.*) \|$", PAGE, re.MULTILINE)
}
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SIGNATURES = {
    "delegate.secret_managers.interface:Kind.__call__": "connector surroundings secrets",
    "delegate.secret_managers.interface:SecretManager.check": "",
    "delegate.secret_managers.interface:SecretManager.store": "secret plaintext",
    "delegate.secret_managers.interface:SecretManager.fetch": "secret stored",
    "delegate.secret_managers.interface:SecretManager.look_up": "secret",
    "delegate.secret_managers.interface:SecretManager.delete": "secret stored",
    "delegate.secret_managers.interface:SecretManager.close": "",
    "delegate.secret_managers.interface:KeyService.accepts": "key_name",
    "delegate.secret_managers.interface:KeyService.check": "",
    "delegate.secret_managers.interface:KeyService.generate": "place",
    "delegate.secret_managers.interface:KeyService.unwrap": "key_name wrapped place",
    "delegate.secret_managers.interface:KeyService.close": "",
    "delegate.secret_managers.interface:DataKey.__init__": "key key_name wrapped",
    "delegate.secret_managers.direct:SecretStore.locator": "secret",
    "delegate.secret_managers.direct:SecretStore.check": "",
    "delegate.secret_managers.direct:SecretStore.read": "locator version secret",
    "delegate.secret_managers.direct:SecretStore.write": "locator secret value",
    "delegate.secret_managers.direct:SecretStore.remove": "locator secret version",
    "delegate.secret_managers.direct:SecretStore.close": "",
    "delegate.secret_managers.direct:Direct.__init__": "store zone",
    "delegate.secret_managers.direct:Found.__init__": "value version",
    "delegate.secret_managers.enveloped:Enveloped.__init__": "service zone randomness data_keys",
    "delegate.secret_managers.ownership:check_owner": "secret tags",
    "delegate.secret_managers.ownership:check_referable": "tags",
    "delegate.secret_managers.ownership:inline_name": "secret separator",
    "delegate.secret_managers.ownership:is_own": "secret tags",
    "delegate.secret_managers.ownership:is_ours": "tags",
    "delegate.secret_managers.ownership:tags_of": "secret",
    "delegate.secret_managers.texts:text": "value",
    "delegate.secret_managers.texts:text_or_bytes": "value",
    "delegate.secret_managers.texts:value_of": "kept",
    "delegate.tries:Tries.__init__": "seconds randomness most pause_seconds",
    "delegate.tries:Tries.of": "call slow",
    "shared.connectors.model:convert": "model spec kind",
    "shared.connectors.fields:Refused.__init__": "path detail allowed",
    "shared.errors:PrivySealError.__init__": "code detail hint facts",
    "shared.crypto.plaintext:Plaintext.reveal": "",
    "delegate.policy:LocalPolicy.allows_host": "host",
    "delegate.policy:LocalPolicy.allows_file": "path",
}
"""The parameters of what packages call and are called by: whoever has to change a row breaks every package."""


def test_the_page_shows_the_packages_own_code() -> None:
    shown = "".join(text for _, text in BLOCKS)
    for name in ("pyproject.toml", "contract.py", "privyseal_encrypted_file/settings.py"):
        assert (PLUGIN / name).read_text() in shown, name
        assert f"`{name}`" in PAGE
    kind = (PLUGIN / "privyseal_encrypted_file/kind.py").read_text()
    pieces = [text for language, text in BLOCKS if language == "python" and text in kind]
    assert len(pieces) == 4
    places = [kind.index(text) for text in pieces]
    assert places == sorted(places)


def test_every_piece_of_python_on_the_page_is_in_the_package() -> None:
    files = "".join(path.read_text() for path in sorted(PLUGIN.rglob("*.py")))
    assert [text for language, text in BLOCKS if language == "python" and text not in files] == []


def test_the_policy_on_the_page_lets_the_kind_be_loaded() -> None:
    (text,) = (text for language, text in BLOCKS if language == "toml" and text.startswith("kinds"))
    policy = LocalPolicy.parse(text, ["Local"])
    assert "EncryptedFile" in policy.kinds
    assert policy.allows_file("/var/lib/privyseal/values.json")


def test_what_may_be_imported_is_there() -> None:
    assert len(STABLE) == 16
    for module, names in STABLE.items():
        found = importlib.import_module(module)
        assert [name for name in names if not hasattr(found, name)] == [], module


def test_the_example_imports_nothing_else_of_this_program() -> None:
    allowed = {f"{module}.{name}" for module, names in STABLE.items() for name in names}
    for path in sorted((PLUGIN / "privyseal_encrypted_file").glob("*.py")):
        named = [one.name for one in imports(path.name, path.read_text())]
        ours = {one for one in named if one.split(".")[0] in {"shared", "delegate", "client", "manager"}}
        assert ours <= allowed, path
        if path.name == "settings.py":
            assert not [one for one in ours if not one.startswith("shared.")]


@pytest.mark.parametrize("what", SIGNATURES)
def test_what_packages_call_and_are_called_by_keeps_its_parameters(what: str) -> None:
    module, _, path = what.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    parameters = [name for name in inspect.signature(found).parameters if name != "self"]
    assert parameters == SIGNATURES[what].split()


def test_the_groups_and_the_errors_are_on_the_page() -> None:
    assert f"`{plugins.GROUP}`" in PAGE and f"`{kinds.GROUP}`" in PAGE
    assert f"more than {loading.LOAD_SECONDS:.0f} seconds" in PAGE
    told = set(re.findall(r"^\| `(\w+)` \|", PAGE.partition("## Errors")[2], re.MULTILINE))
    code = re.compile(r'(?:Malformed|NotReady|Unavailable)\(\s*"(kind_\w+)"')
    sources = [inspect.getsource(one) for one in (plugins, loading, kinds, catalogue)]
    assert {found for text in sources for found in code.findall(text)} <= told
