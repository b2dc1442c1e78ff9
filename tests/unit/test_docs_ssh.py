"""The page on SSHKeys names every field, every type of credential and key, every error of the code; its example is read by apply."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import get_args

import msgspec
import yaml

from client.manifest import read_files
from client.secret_descriptions import describe_secret
from delegate.configuration import PROGRAM
from shared.known_hosts import AUTHORITY, KEY_TYPES, REVOKED
from shared.ssh import CREDENTIAL_TYPES, Kerberos, SshSpec, read_spec, references
from tests.architecture.source import ROOT
from tests.unit.test_docs_cli import calls, parse

PAGE = (ROOT / "docs/ssh.md").read_text()
NAMED = set(re.findall(r"`([A-Za-z0-9_.\-]+)`", PAGE))
SOURCES = [*ROOT.glob("delegate/ssh*.py"), ROOT / "shared/ssh.py"]
CODE = re.compile(r'(?:Malformed|Denied|NotFound|Unavailable)\(\s*"([a-z_]+)"')
EXAMPLE = ROOT / "deploy/examples/secrets/ssh-key.yaml"


def fields(model: type[msgspec.Struct]) -> Iterator[str]:
    """The name of every field that a model takes, at every depth."""
    if model is Kerberos:
        return
    for one in msgspec.structs.fields(model):
        yield one.encode_name
        for member in get_args(one.type) or (one.type,):
            if isinstance(member, type) and issubclass(member, msgspec.Struct):
                yield from fields(member)


def test_every_field_and_every_type_is_on_the_page() -> None:
    words = {part for name in NAMED for part in name.split(".")}
    assert sorted(set(fields(SshSpec)) - words) == []
    assert sorted({*CREDENTIAL_TYPES, *KEY_TYPES} - NAMED) == []
    assert all(f"`{marker}" in PAGE for marker in (AUTHORITY, REVOKED))
    assert {"ssh_known_hosts", "call_seconds"} <= NAMED & {option.name for option in PROGRAM.options}


def test_every_error_of_the_code_is_in_the_table() -> None:
    codes = {code for path in SOURCES for code in CODE.findall(path.read_text())}
    assert {"ssh_host_changed", "ssh_lost", "ssh_bundle_malformed"} <= codes
    table = PAGE.partition("## Errors")[2]
    assert sorted(code for code in codes if f"`{code}`" not in table) == []
    assert sorted(set(re.findall(r"`(ssh_[a-z_]+)`", table)) - codes) == [
        "ssh_known_hosts_not_found",
        "ssh_known_hosts_unreadable",
    ]


def test_the_pages_own_yaml_is_valid() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    spec = yaml.safe_load(block)["secret"]["spec"]
    assert list(references(read_spec(spec)).values()) == ["account.deploy_key", "account.deploy_passphrase"]


def test_the_example_is_read_as_apply_reads_it_and_its_commands_can_be_typed() -> None:
    text = EXAMPLE.read_text()
    (manifest,) = read_files([str(EXAMPLE)], io.BytesIO())
    described = describe_secret(manifest)
    assert described.type == "SSHKey"
    commands = re.findall(r"^#   (privyseal .*)$", text, re.MULTILINE)
    assert "privyseal apply -f ssh-key.yaml" in commands
    for command in commands:
        for words in calls(command):
            parse(words)
    for reference in described.named.values():
        assert f"#   privyseal secret set {reference} " in text


def test_the_example_has_every_field_of_one_way_to_log_in_and_explains_each() -> None:
    lines = EXAMPLE.read_text().splitlines()
    for name in ("port", "type", "credentialType", "userName", "key", "encryptedPassphrase", "knownHosts"):
        (at,) = [n for n, line in enumerate(lines) if re.match(rf" {{4,}}{name}:", line)]
        assert lines[at - 1].lstrip().startswith("#"), name
