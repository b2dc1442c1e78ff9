"""`privyseal connector create` as people meet it: at a terminal, question by question, against a real account."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from client.program import clean_environment, command
from tests.fakes.terminal import Terminal
from tests.integration.installation import Installation

KEY = "arn:aws:kms:us-east-1:123456789012:key/9a8b7c6d-5e4f-4321-8765-0123456789ab"
ROLE = "arn:aws:iam::123456789012:role/kms"


@pytest.fixture(scope="module", autouse=True)
def credentials(installation: Installation) -> None:
    for name in ("wizardAccess", "wizardSecret", "wizardArn"):
        installation.ok("secret", "set", f"account.{name}", "--from-stdin", given=b"value")


def person(installation: Installation, *flags: str) -> Terminal:
    environ = {**clean_environment(os.environ), "PRIVYSEAL_HOME": str(installation.home), "TERM": "dumb"}
    return Terminal([*command("privyseal", "client.cli"), "connector", "create", *flags], environ)


def overview(asked: Terminal, name: str) -> None:
    asked.answers("Name", name)
    asked.answers("Identifier", "")
    asked.answers("Description", "made at a terminal")
    asked.answers("Tags", "team:payments, plain")


def written(path: Path) -> Any:
    return yaml.safe_load(path.read_text())["connector"]


CASES: dict[str, tuple[list[tuple[str, str]], dict[str, Any], bool]] = {
    "ManualConfig": (
        [
            ("accessKey", "account.wizardAccess"),
            ("secretKey", "account.wizardSecret"),
            ("The key's ARN", "kmsArn"),
            ("kmsArn (the reference of a secret", "account.wizardArn"),
            ("More settings?", "n"),
            ("Selectors that its delegates carry", "wizard, eu"),
        ],
        {
            "kmsArn": "account.wizardArn",
            "credential": {
                "type": "ManualConfig",
                "spec": {"accessKey": "account.wizardAccess", "secretKey": "account.wizardSecret"},
            },
            "delegateSelectors": ["wizard", "eu"],
        },
        False,
    ),
    "AssumeIAMRole": (
        [
            ("whose AWS identity is used", "wizard"),
            ("The key's ARN", "kmsArnInPlainText"),
            ("kmsArnInPlainText (the ARN of a key", KEY),
            ("More settings?", ""),
            ("Selectors that its delegates carry", ""),
        ],
        {
            "kmsArnInPlainText": KEY,
            "credential": {"type": "AssumeIAMRole", "spec": {"delegateSelectors": ["wizard"]}},
        },
        False,
    ),
    "AssumeSTSRole": (
        [
            ("roleArn (the ARN of a role", ROLE),
            ("whose AWS identity is used", "wizard"),
            ("The key's ARN", "kmsArnInPlainText"),
            ("kmsArnInPlainText (the ARN of a key", KEY),
            ("More settings?", "y"),
            ("Which of them?", "externalName, assumeStsRoleDuration"),
            ("externalName", "ext"),
            ("assumeStsRoleDuration", "900"),
            ("Selectors that its delegates carry", ""),
        ],
        {
            "kmsArnInPlainText": KEY,
            "credential": {
                "type": "AssumeSTSRole",
                "spec": {
                    "delegateSelectors": ["wizard"],
                    "roleArn": ROLE,
                    "externalName": "ext",
                    "assumeStsRoleDuration": 900,
                },
            },
        },
        False,
    ),
    "OidcAuthentication": (
        [
            ("iamRoleArn (the ARN of a role", ROLE),
            ("The key's ARN", "kmsArnInPlainText"),
            ("kmsArnInPlainText (the ARN of a key", KEY),
            ("More settings?", ""),
            ("through a delegate, or by the platform", "delegate"),
            ("Selectors that its delegates carry", "wizard"),
        ],
        {
            "kmsArnInPlainText": KEY,
            "credential": {"type": "OidcAuthentication", "spec": {"iamRoleArn": ROLE}},
            "executeOnDelegate": True,
            "delegateSelectors": ["wizard"],
        },
        True,
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_each_credential_type_is_asked_for_made_tested_and_written(
    installation: Installation, tmp_path: Path, kind: str
) -> None:
    questions, spec, connectivity = CASES[kind]
    out = tmp_path / "connector.yaml"
    with person(installation, "--out", str(out)) as asked:
        overview(asked, f"wizard {kind}")
        asked.answers("Type", "AwsKms")
        asked.answers("region", "us-east-1")
        asked.answers("credential.type", kind)
        for question, answer in questions:
            asked.answers(question, answer)
        asked.answers("Make wizard_", "y")
        assert asked.leaves() == 0, asked.screen
    steps = ["Overview", "Details", *(["Connectivity"] if connectivity else []), "Delegates"]
    places = [asked.screen.index(f"\n{step}") for step in steps]
    assert places == sorted(places)
    # The fifth step, the test: no delegate carries the selector, and each says so.
    assert "the connector is made, and its test failed" in asked.screen
    assert "it lacks the selector" in asked.screen
    assert f"privyseal connector test wizard_{kind}" in asked.screen
    body = written(out)
    assert (body["name"], body["tags"]) == (f"wizard {kind}", {"team": "payments", "plain": ""})
    assert body["spec"] == {"region": "us-east-1", **spec}
    kept = yaml.safe_load(installation.ok("connector", "get", f"wizard_{kind}").out)["connector"]
    assert kept == body
    assert b"unchanged" in installation.ok("apply", "-f", str(out)).out


def test_a_local_connector_is_made_and_works(installation: Installation) -> None:
    with person(installation) as asked:
        overview(asked, "wizard local")
        asked.answers("Type", "Local")
        asked.answers("More settings?", "")
        asked.answers("Selectors that its delegates carry", "")
        asked.answers("Make wizard_local in account?", "y")
        assert asked.leaves() == 0, asked.screen
    assert "created account/wizard_local (Local)" in asked.screen
    assert "wizard_local in account works from the delegate" in asked.screen


VAULT = "https://vault.example.com:8200"
OTHERS: dict[str, tuple[list[tuple[str, tuple[str, ...]]], dict[str, Any]]] = {
    "Vault": (
        [
            ("vaultUrl (a URL such as", ("http://vault.example.com",)),
            ("renewalIntervalMinutes", ("often", "60")),
            ("vaultUrl (a URL such as", (VAULT,)),
            ("accessType (TOKEN, APP_ROLE", ("PASSWORD", "app_role")),
            ("appRoleId", ("", "570a4ee9-cc7b-5bd4-4a36-9d1e7e0a7d6d")),
            ("secretId (the reference of a secret", ("hvs.not-a-reference", "account.wizardSecret")),
            ("More settings?", ("y",)),
            ("Which of them?", ("secretEngineVersion, readOnly",)),
            ("secretEngineVersion", ("3", "1")),
            ("readOnly [y/N]", ("y",)),
            ("Selectors that its delegates carry", ("wizard",)),
        ],
        {
            "vaultUrl": VAULT,
            "renewalIntervalMinutes": 60,
            "accessType": "APP_ROLE",
            "appRoleId": "570a4ee9-cc7b-5bd4-4a36-9d1e7e0a7d6d",
            "secretId": "account.wizardSecret",
            "secretEngineVersion": 1,
            "readOnly": True,
            "delegateSelectors": ["wizard"],
        },
    ),
    "GcpSecretManager": (
        [
            ("Identity (credentialsRef, credential", ("assumeCredentialsOnDelegate",)),
            ("More settings?", ("",)),
            ("Selectors that its delegates carry", ("", "wizard")),
        ],
        {"assumeCredentialsOnDelegate": True, "delegateSelectors": ["wizard"]},
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_kind_is_asked_for_by_what_its_model_says(installation: Installation, tmp_path: Path, kind: str) -> None:
    questions, spec = OTHERS[kind]
    out = tmp_path / "connector.yaml"
    with person(installation, "--out", str(out), "--no-test") as asked:
        overview(asked, f"wizard {kind}")
        asked.answers("Type", kind)
        for question, answers in questions:
            asked.answers(question, *answers)
        asked.answers("Make wizard_", "y")
        assert asked.leaves() == 0, asked.screen
    assert written(out)["spec"] == spec
    assert b"unchanged" in installation.ok("apply", "-f", str(out)).out
    if kind == "Vault":
        for told in ("don't travel in the clear", "'PASSWORD' is not one of", "give 1 or 2", "give the reference of a"):
            assert told in asked.screen, told
        assert "authToken" not in asked.screen.partition("More settings")[0]
    else:
        assert "name the delegates whose Google identity is used" in asked.screen


def test_wrong_input_is_asked_for_again_with_what_is_allowed(installation: Installation, tmp_path: Path) -> None:
    out = tmp_path / "connector.yaml"
    with person(installation, "--out", str(out), "--no-test") as asked:
        asked.answers("Name", "?", "wizard again")
        asked.answers("Identifier", "a-b", "")
        asked.answers("Description", "")
        asked.answers("Tags", "a:1, a:2", "")
        asked.answers("Type", "Nothing", "AwsKms")
        asked.answers("region", "Europe", "us-east-1")
        asked.answers("credential.type", "Iam", "AssumeSTSRole")
        asked.answers("roleArn", "x", ROLE)
        asked.answers("whose AWS identity is used", "d1")
        asked.answers("The key's ARN", "kmsArnInPlainText")
        asked.answers("kmsArnInPlainText (the ARN of a key", "", "x", KEY.replace("east", "west"), KEY)
        asked.answers("More settings?", "y")
        asked.answers("Which of them?", "external", "externalName, assumeStsRoleDuration")
        asked.answers("externalName", "")
        asked.answers("assumeStsRoleDuration", "5", "long", "3600")
        asked.answers("Selectors that its delegates carry", "a b", "")
        asked.answers("Make wizard_again in account?", "y")
        assert asked.leaves() == 0, asked.screen
    for told in (
        "give a name", "give an identifier", "a tag stands twice", "'Nothing' is not one of", "give the code of a region",
        "give the ARN of a key", "of another region", "'Iam' is not one of", "a selector has 1 to 128",
        "give the ARN of a role", "give 900 to 3600", "give a whole number",
    ):  # fmt: skip
        assert told in asked.screen, told
    assert written(out)["spec"]["credential"]["spec"]["assumeStsRoleDuration"] == 3600
    assert "test" not in asked.screen.partition("created")[2]


@pytest.mark.parametrize("how", ["no", "interrupt", "interrupt early"])
def test_whoever_gives_up_leaves_nothing_behind(installation: Installation, tmp_path: Path, how: str) -> None:
    out = tmp_path / "connector.yaml"
    with person(installation, "--out", str(out)) as asked:
        if how == "interrupt early":
            asked.interrupts("Name")
        else:
            overview(asked, "wizard given up")
            asked.answers("Type", "Local")
            asked.answers("More settings?", "")
            asked.answers("Selectors that its delegates carry", "")
            if how == "no":
                asked.answers("Make wizard_given_up in account?", "n")
            else:
                asked.interrupts("Make wizard_given_up in account?")
        assert asked.leaves() != 0
    assert "Traceback" not in asked.screen
    assert not out.exists()
    assert installation.run("connector", "get", "wizard_given_up").status == 5


def test_a_file_that_is_there_is_not_overwritten_and_nothing_is_made(
    installation: Installation, tmp_path: Path
) -> None:
    out = tmp_path / "connector.yaml"
    out.write_text("mine")
    with person(installation, "--out", str(out)) as asked:
        overview(asked, "wizard kept")
        asked.answers("Type", "Local")
        asked.answers("More settings?", "")
        asked.answers("Selectors that its delegates carry", "")
        asked.answers("Make wizard_kept in account?", "y")
        assert asked.leaves() == 2
    assert out.read_text() == "mine"
    assert installation.run("connector", "get", "wizard_kept").status == 5
