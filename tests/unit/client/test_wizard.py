"""The wizard asks what the well-known one asks, in its order, for every kind, and asks again for what can't be right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from client.cli.questions import Questions
from client.cli.wizard import Body, Wizard
from client.descriptions import describe
from client.manifest import Manifest
from shared.connectors.catalogue import Catalogue
from shared.connectors.kinds import KINDS
from shared.names import Scope

ROLE = "arn:aws:iam::123456789012:role/kms"
KEY = "arn:aws:kms:us-east-1:123456789012:key/1"
GUID = "13c5b2a0-6c4f-4d3a-9d5c-0f6f1f3c2a11"
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
DOCUMENTS = Path(__file__).parents[2] / "compat" / "documents"
SWITCHES = ("useVaultAgent", "useAwsIam", "useK8sAuth", "useJwtAuth")


class Typist:
    """Somebody who has written down what to type."""

    def __init__(self, *answers: str) -> None:
        self.left = list(answers)
        self.titles: list[str] = []
        self.asked: list[str] = []
        self.told: list[str] = []

    def title(self, text: str) -> None:
        self.titles.append(text)

    def ask(self, question: str, default: str = "", choices: Sequence[str] = ()) -> str:
        self.asked.append(question)
        answer = self.left.pop(0) or default
        assert not choices or answer in choices, (question, answer, choices)
        return answer

    def agrees(self, question: str, default: bool) -> bool:
        self.asked.append(question)
        answer = self.left.pop(0)
        assert answer in {"", "y", "n"}, (question, answer)
        return default if not answer else answer == "y"

    def say(self, text: str) -> None:
        self.told.append(text)


class Reader(Typist):
    """Somebody who answers by the field's name, as it stands in front of the hint; nothing where nothing is written."""

    def __init__(self, answers: dict[str, str]) -> None:
        super().__init__()
        self.answers = answers

    def ask(self, question: str, default: str = "", choices: Sequence[str] = ()) -> str:
        # Asked the same again and again, it would answer for ever.
        assert len(self.asked) < 200, f"no answer for: {question}"
        self.left = [self.answers.get(question.partition(" (")[0].partition(",")[0], "")]
        return super().ask(question, default, choices)

    def agrees(self, question: str, default: bool) -> bool:
        self.left = [self.answers.get(question.partition(" (")[0], "")]
        if question == "More settings?":
            self.answers = {name: answer for name, answer in self.answers.items() if name.startswith("Selectors")}
        return super().agrees(question, default)


def asked(*answers: str, here: Scope | None = None) -> tuple[Typist, Body]:
    """The body after these answers, an empty one for the default; all of them are asked for."""
    typist = Typist(*answers)
    body = Wizard(typist, Catalogue()).ask(here or Scope())
    assert typist.left == []
    describe(Manifest("answers", 1, "connector", body), Catalogue())
    return typist, body


def test_a_local_connector_takes_few_answers() -> None:
    typist, body = asked("My local", "", "", "", "Local", "", "Zone:A, b")
    assert body == {
        "name": "My local",
        "identifier": "My_local",
        "type": "Local",
        "spec": {"delegateSelectors": ["Zone:A", "b"]},
    }
    assert typist.titles == ["Overview", "Details", "Delegates"]


def test_the_scope_is_where_the_person_is() -> None:
    _, body = asked("x", "", "about", "a:b, c", "Local", "", "", here=Scope("o", "p"))
    assert (body["orgIdentifier"], body["projectIdentifier"]) == ("o", "p")
    assert (body["description"], body["tags"]) == ("about", ["a:b", "c"])


@pytest.mark.parametrize(
    ("answers", "spec"),
    [
        (
            ("ManualConfig", "account.a", "account.b", "kmsArn", "account.kmsArn", "", ""),
            {
                "kmsArn": "account.kmsArn",
                "credential": {"type": "ManualConfig", "spec": {"accessKey": "account.a", "secretKey": "account.b"}},
            },
        ),
        (
            ("AssumeIAMRole", "d1, d2", "kmsArnInPlainText", KEY, "", ""),
            {
                "kmsArnInPlainText": KEY,
                "credential": {"type": "AssumeIAMRole", "spec": {"delegateSelectors": ["d1", "d2"]}},
            },
        ),
        (
            (
                *("AssumeSTSRole", ROLE, "d1", "kmsArnInPlainText", KEY),
                *("y", "externalName, assumeStsRoleDuration", "ext", "900", "d1"),
            ),
            {
                "kmsArnInPlainText": KEY,
                "credential": {
                    "type": "AssumeSTSRole",
                    "spec": {
                        "delegateSelectors": ["d1"],
                        "roleArn": ROLE,
                        "externalName": "ext",
                        "assumeStsRoleDuration": 900,
                    },
                },
                "delegateSelectors": ["d1"],
            },
        ),
        (
            ("OidcAuthentication", ROLE, "kmsArnInPlainText", KEY, "", "platform", ""),
            {
                "kmsArnInPlainText": KEY,
                "credential": {"type": "OidcAuthentication", "spec": {"iamRoleArn": ROLE}},
                "executeOnDelegate": False,
            },
        ),
    ],
    ids=["ManualConfig", "AssumeIAMRole", "AssumeSTSRole", "OidcAuthentication"],
)
def test_each_credential_type_is_asked_for_in_its_own_words(answers: tuple[str, ...], spec: Body) -> None:
    _, body = asked("kms", "", "", "", "", "us-east-1", *answers)
    assert body["spec"] == {"region": "us-east-1", **spec}


def test_what_can_not_be_right_is_asked_for_again() -> None:
    overview = ("", "?", "kms", "a-b", "", "", "a:1,a:2", "")
    credential = ("AwsKms", "", "Europe", "us-east-1", "AssumeSTSRole", "x", ROLE, "", "d1")
    key = ("kmsArnInPlainText", "", "x", KEY.replace("east", "west"), KEY)
    more = ("y", "region", "assumeStsRoleDuration, default", "5", "long", "9" * 5000, "", "n")
    typist, body = asked(*overview, *credential, *key, *more, "c d", "")
    assert body["spec"]["credential"]["spec"] == {"delegateSelectors": ["d1"], "roleArn": ROLE}
    told = "\n".join(typist.told)
    for part in (
        "an answer is needed", "give a name", "give an identifier", "a tag stands twice", "give the code of a region",
        "give the ARN of a key", "of another region", "a selector has 1 to 128", "give the ARN of a role",
        "give 900 to 3600", "give a whole number", "there is no such setting",
    ):  # fmt: skip
        assert part in told


KIND_ANSWERS: dict[str, tuple[str, ...]] = {
    "aws_kms_assume_iam_role": (
        *("AwsKms", "eu-central-1", "AssumeIAMRole", "d1, Zone:A", "kmsArnInPlainText"),
        *("arn:aws:kms:eu-central-1:123456789012:key/0e1f2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "y", "default", "y", ""),
    ),
    "aws_secret_manager_plain_access_key": (
        *("AwsSecretManager", "eu-central-1", "ManualConfig", "account.awsSecret"),
        *("accessKeyPlainText", "AKIAIOSFODNN7EXAMPLE", "", ""),
    ),
    "aws_secret_manager_assume_sts_role": (
        *("AwsSecretManager", "us-gov-west-1", "AssumeSTSRole", "arn:aws:iam::123456789012:role/secrets", "d1"),
        *("y", "recoveryWindowInDays, externalId, assumeStsRoleDuration", "7", "ext", "3600", ""),
    ),
    "azure_client_secret": (
        *("AzureKeyVault", "Aman-test", "secretKey", "account.azureKey", "b229b2bb-5f33-4d22-bce0-730f6474e906", GUID),
        *("y", "subscription, enablePurge", "20d6a917-99fa-4b1b-9b2e-a3d624e9dcf0", "y", "d1"),
    ),
    "azure_system_assigned": (
        *("AzureKeyVault", "gov-kv", "useManagedIdentity", "SystemAssignedManagedIdentity", "y"),
        *("azureEnvironmentType, subscription", "AZURE_US_GOVERNMENT", "20d6a917-99fa-4b1b-9b2e-a3d624e9dcf0"),
        *("", "d1"),
    ),
    "gcp_kms_oidc": (
        *("GcpKms", "my-project", "us", "my-ring", "my-key", "oidcDetails", "123456789012", "harness-pool"),
        *("harness", "y", "serviceAccountEmail", "kms@my-project.iam.gserviceaccount.com", "delegate", ""),
    ),
    "gcp_secret_manager_delegate": ("GcpSecretManager", "assumeCredentialsOnDelegate", "n", "", "d1"),
    "gcp_secret_manager_credentials": ("GcpSecretManager", "credentialsRef", "account.gcpKey", "", "d1"),
    "local": ("Local", "", "zone:a"),
    "vault_app_role": (
        *("Vault", "https://vault.example.com:8200", "60", "APP_ROLE", "570a4ee9-cc7b-5bd4-4a36-9d1e7e0a7d6d"),
        *("account.vsid", "y", "namespace, secretEngineManuallyConfigured, readOnly", "team-a", "y", "n", "d1"),
    ),
    "vault_aws_iam": (
        *("Vault", "http://vault.example.com", "60", "https://vault.example.com:8200/", "AWS_IAM", "role", "us-east-1"),
        *("y", "xvaultAwsIamServerId", "account.hdr", "", "d1"),
    ),
    "vault_token": (
        *("Vault", "https://vault.example.com:8200", "60", "TOKEN", "account.vtoken"),
        *("y", "secretEngineManuallyConfigured, enableCache, readOnly", "y", "n", "", "d1"),
    ),
    "vault_jwt": (
        *("Vault", "https://vault.example.com:8200", "60", "JWT", "role", "harness/jwt", "", "delegate", ""),
    ),
}


@pytest.mark.parametrize("name", KIND_ANSWERS)
def test_scripted_answers_give_the_connector_of_a_compat_document(name: str) -> None:
    wanted = yaml.safe_load((DOCUMENTS / f"{name}.yaml").read_text())["connector"]
    if wanted["type"] == "Vault":
        # The access type says it; what belongs to another one means nothing.
        left_out = {*SWITCHES, *(("renewAppRoleToken",) if wanted["spec"]["accessType"] != "APP_ROLE" else ())}
        wanted["spec"] = {key: value for key, value in wanted["spec"].items() if key not in left_out}
    here = Scope(wanted.get("orgIdentifier", ""), wanted.get("projectIdentifier", ""))
    tags = ",".join(f"{key}:{value}" for key, value in (wanted.get("tags") or {}).items())
    overview = (wanted["name"], wanted["identifier"], wanted.get("description", ""), tags)
    _, body = asked(*overview, *KIND_ANSWERS[name], here=here)
    made, meant = (describe(Manifest("x", 1, "connector", one), Catalogue()) for one in (body, wanted))
    assert (made.place, made.name, made.description, made.tags) == (
        meant.place,
        meant.name,
        meant.description,
        meant.tags,
    )
    assert made.settings == meant.settings


SAMPLES: dict[str, str] = {
    "Name": "x",
    "directory": "/etc/privyseal/age",
    "identity": "account.key",
    "namespace": "payments",
    "credential.spec.masterUrl": "https://kubernetes.example.com",
    "masterUrl": "https://kubernetes.example.com",
    "serviceAccountTokenRef": "account.token",
    "region": "us-east-1",
    "accessKey": "account.one",
    "accessKeyPlainText": "AKIAIOSFODNN7EXAMPLE",
    "secretKey": "account.two",
    "roleArn": ROLE,
    "iamRoleArn": ROLE,
    "delegateSelectors": "d1",
    "kmsArn": "account.arn",
    "kmsArnInPlainText": KEY,
    "credential.type": "OidcAuthentication",
    "The key's ARN": "kmsArn",
    "The access key's id": "accessKey",
    "vaultName": "devops-kv",
    "keyName": "key",
    "Identity": "",
    "tenantId": GUID,
    "clientId": GUID,
    "azureManagedIdentityType": "SystemAssignedManagedIdentity",
    "managedClientId": GUID,
    "certificate": "account.certificate",
    "projectId": "my-project",
    "keyRing": "ring",
    "credentials": "account.key",
    "credentialsRef": "account.key",
    "gcpProjectId": "123456789012",
    "workloadPoolId": "the-pool",
    "providerId": "the-provider",
    "vaultUrl": "https://vault.example.com",
    "renewalIntervalMinutes": "0",
    "accessType": "TOKEN",
    "authToken": "account.token",
    "appRoleId": "role",
    "secretId": "account.secret",
    "sinkPath": "/vault/sink",
    "vaultAwsIamRole": "role",
    "awsRegion": "us-east-1",
    "vaultK8sAuthRole": "role",
    "jwtAuthRole": "role",
    "jwtAuthPath": "jwt",
    "clientKey": "account.key",
    "username": "me",
    "password": "account.password",
    "library": "softhsm",
    "tokenLabel": "payments",
    "keyLabel": "main",
    "pin": "account.pin",
    "account": "acme",
    "login": "host/privyseal",
    "apiKey": "account.key",
    "serviceId": "privyseal",
    "appId": "PrivySeal",
    "url": "https://server.example.com",
    "token": "account.token",
    "templateRef": "account.template",
    "versionLabel": "v1",
    "host": "db.example.com",
    "connectorRef": "account.login",
    "Selectors that its delegates carry": "d1",
}
"""An answer for each field that some kind needs, by its name."""

OUTER = {"azureManagedIdentityType": {"Identity": "useManagedIdentity"}}
OUTER["The access key's id"] = {"credential.type": "ManualConfig"}


def ways() -> Iterator[tuple[str, str, str]]:
    for kind, model in KINDS.items():
        for key, names in model.FORMS.ways.items():
            yield from ((kind, key, name) for name in names)


@pytest.mark.parametrize(("kind", "key", "way"), list(ways()))
def test_each_way_of_each_kind_is_made_of_what_it_needs(kind: str, key: str, way: str, tmp_path: Path) -> None:
    (tmp_path / "certificate.pem").write_text(PEM)
    answers = {**SAMPLES, "clientCertificate": f"@{tmp_path / 'certificate.pem'}", "Type": kind}
    typist = Reader({**answers, **OUTER.get(key, {}), key: way.rpartition(".")[2]})
    body = Wizard(typist, Catalogue()).ask(Scope())
    describe(Manifest("answers", 1, "connector", body), Catalogue())
    assert not [one for one in typist.told if "needed" in one]
    # Few questions: what belongs to other ways isn't asked for.
    assert len(typist.asked) <= 16
    other = {name for one, names in KINDS[kind].FORMS.ways.items() if one == key for name in names} - {way}
    assert not other & set(flat(body["spec"]))


def flat(spec: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, value in spec.items():
        yield f"{above}{name}"
        if isinstance(value, dict):
            yield from flat(value, f"{above}{name}.")


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_that_a_form_names_is_one_of_the_model(kind: str) -> None:
    forms = KINDS[kind].FORMS
    known: set[str] = set()
    named = {path for names in forms.ways.values() for way in names.values() for path in (*way.needs, *way.takes)}
    # Two kinds may share one table.
    for other in [one for one, model in KINDS.items() if model.FORMS.ways == forms.ways]:
        questions = Questions(KINDS[other])
        for tag in forms.ways.get("credential.type", ("",)):
            questions.chosen["credential.type"] = tag
            known |= {path for path in (*named, *forms.unasked) if questions.field(path)}
    assert {*named, *forms.unasked} == known


@pytest.mark.parametrize("kind", KINDS)
def test_all_more_settings_keep_their_defaults_by_nothing_but_enter(kind: str) -> None:
    first = {key: next(iter(names)).rpartition(".")[2] for key, names in KINDS[kind].FORMS.ways.items()}
    plain, all_of_them = (
        Wizard(Reader({**SAMPLES, **first, "Type": kind, **more}), Catalogue()).ask(Scope())
        for more in ({}, {"More settings?": "y"})
    )
    assert {key for key in all_of_them["spec"] if key not in plain["spec"]} <= {"readOnly"}
    assert (
        describe(Manifest("x", 1, "connector", all_of_them), Catalogue()).settings.references()
        == describe(Manifest("x", 1, "connector", plain), Catalogue()).settings.references()
    )


def test_a_vault_is_asked_for_its_access_type_and_then_only_for_that_ones_fields(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "certificate.pem").write_text(PEM)
    files = (f"@{tmp_path}/none", f"@{tmp_path}/binary", f"@{tmp_path}/key.pem", f"@{tmp_path}/certificate.pem")
    typist, body = asked(
        *("v", "", "", "", "VaultTransit", "https://vault.example.com", "0", "key", "CERT"),
        *("", *files, "key itself", "account.key", "y", "", *[""] * 10, "d1"),
    )
    assert body["spec"]["clientCertificate"] == PEM
    assert [one.partition(" (")[0].partition(",")[0] for one in typist.asked][5:12] == [
        *("vaultUrl", "renewalIntervalMinutes", "keyName", "accessType"),
        *["clientCertificate"] * 3,
    ]
    assert not {one for one in typist.asked if one.startswith(("authToken", "appRole", "ldap", "useVaultAgent"))}
    told = "\n".join(typist.told)
    for part in (
        "can't be read as text",
        "there is a private key in it",
        "go together",
        "give the reference of a secret",
    ):
        assert part in told
