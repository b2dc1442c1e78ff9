"""Finding and copying secrets on the command line: search, types, who names a secret, and a value's way to another connector."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.integration.installation import Installation

ROLE = """\
connector:
  name: {name}
  identifier: {name}
  tags: {{ team: search }}
  type: AwsKms
  spec:
    kmsArn: account.{arn}
    region: eu-west-1
    credential: {{ type: AssumeIAMRole }}
    delegateSelectors: [zone:a]
    ignoreTestConnection: true
"""
LOCAL = """\
connector: {{ name: {name}, type: Local, spec: {{}} }}
"""
SSH = """\
secret:
  name: {name}
  type: SSHKey
  spec:
    port: 22
    auth: {{ type: SSH, spec: {{ credentialType: Password, spec: {{ userName: me, password: account.{password} }} }} }}
"""


def applied(installation: Installation, tmp_path: Path, text: str) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(text)
    installation.ok("apply", "-f", str(file))


@pytest.fixture(scope="module", name="second")
def another_connector(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Another connector that the delegates serve."""
    keyring = tmp_path_factory.mktemp("zone") / "other.json"
    installation.ok("keyring", "new", "other", "--keyring-out", str(keyring), "--i-have-a-backup")
    return "account.local_other"


def names(installation: Installation, *arguments: str) -> list[str]:
    return [one["identifier"] for one in installation.data(*arguments)]


def test_secrets_are_found_by_their_words_their_tags_and_their_type(installation: Installation, tmp_path: Path) -> None:
    file = tmp_path / "found.pem"
    file.write_bytes(b"content")
    installation.ok("secret", "set", "account.found_a", "--from-stdin", "--tag", "team=Seekers", given=b"value one")
    installation.ok("secret", "set", "account.found_b", "--file", str(file), "--name", "Sought By Seekers")
    assert names(installation, "secret", "list", "--search", "seekers") == ["found_a", "found_b"]
    assert names(installation, "secret", "list", "--search", "team:seek") == ["found_a"]
    assert names(installation, "secret", "list", "--search", "SEEKERS", "--type", "SecretFile") == ["found_b"]
    both = ("--type", "secretfile", "--type", "SecretText")
    assert names(installation, "secret", "list", "--search", "found_", *both) == ["found_a", "found_b"]
    assert names(installation, "secret", "list", "--search", "value one") == []
    assert installation.run("secret", "list", "--type", "Password").status == 2


def test_connectors_are_found_by_their_words_their_tags_and_their_kind(
    installation: Installation, tmp_path: Path
) -> None:
    installation.ok("secret", "set", "account.arn_searched", "--from-stdin", given=b"arn:aws:kms:eu-west-1:1:key/a")
    applied(installation, tmp_path, ROLE.format(name="searched", arn="arn_searched"))
    assert names(installation, "connector", "list", "--search", "TEAM:search") == ["searched"]
    assert names(installation, "connector", "list", "--type", "awskms", "--search", "searched") == ["searched"]
    assert "searched" not in names(installation, "connector", "list", "--type", "Local")
    assert names(installation, "connector", "list", "--search", "nobody has this") == []


def test_delegates_are_found_by_their_words_and_their_selectors(installation: Installation) -> None:
    def found(*arguments: str) -> list[str]:
        return [one["name"] for one in installation.data("delegate", "list", *arguments)]

    assert sorted(found()) == ["a", "b"]
    assert found("--selector", "Zone:A") == found("--selector", "a") == found("--search", "ZONE:a") == ["a"]
    assert found("--selector", "zone:a", "--selector", "zone:b") == []
    assert sorted(found("--search", "main")) == ["a", "b"]
    assert found("--search", "main", "--selector", "zone:b") == ["b"]
    assert installation.run("delegate", "list", "--selector", "no selector!").status == 2
    shown = installation.ok("delegate", "list").out.decode()
    assert "LOAD" in shown and "0/10" in shown


def test_a_secret_shows_who_names_it(installation: Installation, tmp_path: Path) -> None:
    installation.ok("secret", "set", "account.named", "--from-stdin", given=b"arn:aws:kms:eu-west-1:1:key/b")
    assert installation.data("secret", "get", "account.named")["referenced_by"] == []
    applied(installation, tmp_path, ROLE.format(name="namer", arn="named"))
    applied(installation, tmp_path, SSH.format(name="login_namer", password="named"))
    told = installation.data("secret", "get", "account.named")["referenced_by"]
    assert [(one["kind"], one["reference"], one["scope"]) for one in told] == [
        ("SSHKey", "account.login_namer", "account"), ("connector", "account.namer", "account"),
    ]  # fmt: skip
    shown = installation.ok("secret", "get", "account.named").out.decode()
    assert "referenced by" in shown and "connector account.namer" in shown and "SSHKey account.login_namer" in shown
    for one in (("secret", "delete", "account.login_namer"), ("connector", "delete", "account.namer")):
        installation.ok(*one, "--yes")
    assert installation.data("secret", "get", "account.named")["referenced_by"] == []


VALUE = b"a value that moves\x00\xff"


def test_a_value_is_stored_anew_at_another_connector_and_nowhere_on_disk(
    installation: Installation, tmp_path: Path
) -> None:
    applied(installation, tmp_path, LOCAL.format(name="further"))
    words = ("--description", "for payments", "--tag", "team=pay", "--name", "The mover", "--usage-application", "shop")
    stated = ("--application", "shop")
    installation.ok("secret", "set", "account.mover", "--from-stdin", *words, *stated, given=b"older")
    installation.ok("secret", "set", "account.mover", "--from-stdin", *stated, given=VALUE)
    asked = ("secret", "copy", "account.mover", "--connector", "account.further")
    assert installation.run(*asked, "--as", "account.moved").status == 4, "what it is for wasn't stated"
    copied = installation.ok(*asked, "--as", "account.moved", *stated, "--output", "json")
    assert "revealed to this client" in copied.err and "nowhere on disk" in copied.err
    assert (copied.json["identifier"], copied.json["version"]) == ("moved", 1)
    assert installation.ok("reveal", "account.moved", *stated).out == VALUE
    source, target = (installation.data("secret", "get", f"account.{name}") for name in ("mover", "moved"))
    assert target["connector"] == "further (Local)" and source["connector"] == "local (Local)"
    same = ("name", "type", "description", "tags", "applications")
    assert [target[name] for name in same] == [source[name] for name in same]
    assert (source["version"], target["version"]) == (2, 1)
    # Without a name it says where it went.
    copied = installation.ok(*asked, *stated)
    assert b"copied mover to mover_further in account" in copied.out
    assert installation.run(*asked, *stated).status == 6
    looked = 0
    for file in (one for one in installation.home.parent.rglob("*") if one.is_file()):
        # The programs run on, and what they have removed by now isn't on the disk.
        with contextlib.suppress(FileNotFoundError):
            assert VALUE not in file.read_bytes(), file
            looked += 1
    assert looked


def test_a_copy_keeps_a_files_name(installation: Installation, tmp_path: Path) -> None:
    applied(installation, tmp_path, LOCAL.format(name="further"))
    file = tmp_path / "server.pem"
    file.write_bytes(VALUE)
    installation.ok("secret", "set", "account.pem_mover", "--file", str(file))
    installation.ok(
        "secret", "copy", "account.pem_mover", "--connector", "account.further", "--as", "account.pem_moved"
    )
    shown = installation.data("secret", "get", "account.pem_moved")
    assert (shown["type"], shown["filename"]) == ("SecretFile", "server.pem")
    assert installation.ok("reveal", "account.pem_moved").out == VALUE


def test_a_copy_that_nobody_can_store_leaves_nothing_behind(installation: Installation, second: str) -> None:
    installation.ok("secret", "set", "account.left", "--from-stdin", given=VALUE)
    refused = installation.run("secret", "copy", "account.left", "--connector", second)
    assert (refused.status, refused.out) == (7, b"")
    assert installation.run("secret", "get", "account.left_local_other").status == 5
    assert installation.ok("reveal", "account.left").out == VALUE


def test_what_can_not_be_copied_is_told_before_anything_is_revealed(
    installation: Installation, tmp_path: Path, second: str
) -> None:
    installation.ok("secret", "set", "account.stays", "--from-stdin", given=VALUE)
    applied(installation, tmp_path, SSH.format(name="stays_login", password="stays"))
    before = len(installation.data("task", "list", "--limit", "1000"))
    for reference, arguments, status, told in (
        ("account.stays_login", ("--connector", second), 2, "is an SSHKey: it has no value"),
        ("account.stays", ("--connector", "account.local"), 6, "is at local already"),
        (
            "account.stays",
            ("--connector", second, "--as", "account.stays"),
            6,
            "there is a secret account.stays already",
        ),
        ("account.stays", ("--connector", "account.nowhere"), 5, "nowhere"),
        ("account.nowhere", ("--connector", second), 5, "nowhere"),
    ):
        refused = installation.run("secret", "copy", reference, *arguments)
        assert (refused.status, told in refused.err, "hint: " in refused.err) == (status, True, True), refused.err
    assert len(installation.data("task", "list", "--limit", "1000")) == before
