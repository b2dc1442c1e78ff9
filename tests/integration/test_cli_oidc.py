"""`privyseal oidc` as people type it: what it says, what it writes, and what it warns of."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.installation import Installation

ISSUER = "https://oidc.example.test/cli"
OWN = "https://oidc.example.test/own"


@pytest.fixture(scope="module")
def keyring(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a keyring of this module's own, `cli_oidc`."""
    path = tmp_path_factory.mktemp("oidc") / "cli_oidc.json"
    made = installation.ok("keyring", "new", "cli_oidc", "--keyring-out", str(path), "--i-have-a-backup")
    assert b"account.local_cli_oidc" in made.out
    return path


def test_an_issuer_is_enabled_published_shown_and_published_anew_after_a_rotation(
    installation: Installation, tmp_path: Path
) -> None:
    site, named, keyring = tmp_path / "site", ("--keyring", "cli_issuer"), tmp_path / "cli_issuer.json"
    installation.ok("keyring", "new", "cli_issuer", "--keyring-out", str(keyring), "--i-have-a-backup")
    early = installation.run("oidc", "publish", str(site), *named)
    assert early.status == 7 and "privyseal oidc enable" in early.err and not site.exists()
    enabled = installation.ok("oidc", "enable", "--issuer", OWN, *named)
    assert OWN in enabled.out.decode() and "privyseal oidc publish" in enabled.out.decode()
    assert enabled.err == ""
    published = installation.ok("oidc", "publish", str(site), *named).out.decode()
    for path in (".well-known/openid-configuration", "jwks.json"):
        assert str(site / path) in published and f"at {OWN}/{path}" in published
        assert (site / path).exists()
    told = installation.data("oidc", "publish", str(site), *named)
    assert [one["url"] for one in told["files"]] == [
        f"{OWN}/jwks.json",
        f"{OWN}/.well-known/openid-configuration",
    ]
    assert (told["issuer"], told["keyring"], [one["generation"] for one in told["keys"]]) == (OWN, "cli_issuer", [1])

    rotated = installation.ok("keyring", "rotate", "cli_issuer", "--keyring-file", str(keyring))
    assert "privyseal oidc publish DIRECTORY --keyring cli_issuer" in rotated.err
    excluded = installation.ok("keyring", "exclude", "cli_issuer", "--yes")
    assert "clouds still believe the excluded keys" in excluded.err
    told = installation.data("oidc", "publish", str(site), *named)
    assert [one["generation"] for one in told["keys"]] == [2]


def test_subjects_and_audiences_are_shown_exactly(installation: Installation, keyring: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "kms.yaml"
    manifest.write_text(
        f"""
connector:
  name: kms
  identifier: {"kms_" + "x" * 80}
  type: AwsKms
  keyring: cli_oidc
  spec:
    credential: {{type: OidcAuthentication, spec: {{iamRoleArn: 'arn:aws:iam::123456789012:role/r'}}}}
    kmsArnInPlainText: arn:aws:kms:us-east-1:123456789012:key/k
    region: us-east-1
"""
    )
    installation.ok("apply", "-f", str(manifest))
    told = installation.data("oidc", "show", "--keyring", "cli_oidc")
    (row,) = told["connectors"]
    account = installation.data("account", "show")["account"]
    assert row["subject"] == f"account/{account}:connector/{row['connector']}"
    assert row["audience"] == "sts.amazonaws.com"
    shown = installation.ok("oidc", "show")
    assert row["subject"] in shown.out.decode() and told["issuers"][0]["keys"][0]["kid"] in shown.out.decode()
    assert "127 bytes" in shown.err


def test_an_issuer_on_the_managers_host_is_warned_of(installation: Installation, keyring: Path) -> None:
    again = installation.run("oidc", "enable", "--issuer", "http://127.0.0.1:9", "--keyring", "cli_oidc")
    assert again.status in {0, 6}
    told = installation.ok("oidc", "enable", "--issuer", "http://127.0.0.1:9", "--keyring", "cli_oidc", "--replace")
    assert "whoever holds the manager" in told.err
    local = installation.ok("oidc", "enable", "--issuer", "http://localhost:9", "--keyring", "cli_oidc", "--replace")
    assert "for trying out only" in local.err
    installation.ok("oidc", "enable", "--issuer", ISSUER, "--keyring", "cli_oidc", "--replace")


def test_what_is_no_issuer_is_told_with_its_form(installation: Installation) -> None:
    wrong = installation.run("oidc", "enable", "--issuer", "https://Example.com/")
    assert wrong.status == 2 and "https://HOST/PATH" in wrong.err and "Example" not in wrong.err


def test_a_platforms_keyring_is_marked(installation: Installation, tmp_path: Path) -> None:
    path = str(tmp_path / "platform.json")
    made = installation.data("keyring", "new", "cli_platform", "--keyring-out", path, "--platform", "--i-have-a-backup")
    assert made["platform"] is True
    shown = {one["keyring"]: one["platform"] for one in installation.data("keyring", "show")}
    assert shown["cli_platform"] is True and shown["main"] is False
