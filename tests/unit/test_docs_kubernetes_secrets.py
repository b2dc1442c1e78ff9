"""The page on Kubernetes Secrets says what the kind does: fields, names, verbs, limits and errors."""

from __future__ import annotations

import re

import msgspec
import yaml

from delegate.credentials import kubernetes, rest
from delegate.secret_managers import kubernetes_object, kubernetes_secrets
from shared.connectors import kubernetes_secrets as model
from shared.connectors.kinds import settings
from shared.connectors.model import Model
from tests.architecture.source import ROOT

PAGE = (ROOT / "docs/secret-managers/kubernetes-secrets.md").read_text()
SOURCES = [
    *(ROOT / "delegate" / "secret_managers").glob("kubernetes_*.py"),
    *(ROOT / "delegate" / "secret_managers" / f"{name}.py" for name in ("ownership", "selection")),
    ROOT / "delegate/credentials/kubernetes.py",
    ROOT / "delegate/credentials/tls.py",
]
CODE = re.compile(
    r'(?:Malformed|Denied|NotFound|NotReady|Conflict|Tampered|Unavailable|Overloaded)(?:\(|,)\s*"([a-z_]+)"'
)


def documents() -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_field_is_on_the_page_and_its_examples_are_taken() -> None:
    structs = (model.KubernetesSecretsSettings, model.Own, model.Manual, model.Token)
    own = {field.encode_name for one in structs for field in msgspec.structs.fields(one)}
    common = {one.encode_name for one in msgspec.structs.fields(Model)}
    assert own - common <= set(re.findall(r"`(\w+)`", PAGE))
    assert set(model.CREDENTIAL_TYPES) <= set(re.findall(r"`(\w+)`", PAGE))
    first, manual, _role = documents()
    body = yaml.safe_load(first)["connector"]
    settings(body["type"], body["spec"])
    settings("KubernetesSecrets", {"namespace": "payments", **yaml.safe_load(manual)})
    assert f"`{model.SERVICE_ACCOUNT}`" in PAGE
    assert f"at most {model.MOST_TESTED} names" in PAGE


def test_the_names_and_marks_on_the_page_are_those_of_the_program() -> None:
    for text, name in (("my_secret", "my--secret"), ("dbPassword", "db-password"), ("DB", "0-d-b")):
        assert kubernetes_object.name_of(text) == name
        assert f"| `{text}` | `{name}` |" in PAGE
    assert f"| data `{kubernetes_object.KEY}` |" in PAGE
    assert f"annotation `{kubernetes_object.VERSION_NOTE}`" in PAGE
    ((label, value),) = kubernetes_object.MANAGED_BY.items()
    assert f"| label `{label}` | `{value}` |" in PAGE


def test_the_role_has_exactly_the_verbs_that_are_asked_for() -> None:
    role = next(yaml.safe_load_all(documents()[2]))
    source = (ROOT / "delegate/secret_managers/kubernetes_secrets.py").read_text()
    asked = set(re.findall(r'_about\("(\w+)"', source)) | {"update"}
    assert set(role["rules"][0]["verbs"]) == asked == {"get", "create", "update", "delete"}


def test_every_error_is_in_the_table() -> None:
    codes = {code for path in SOURCES for code in CODE.findall(path.read_text())}
    codes |= {
        f"kubernetes_{one}"
        for one in re.findall(r'_unavailable\(\s*"(\w+)"', (ROOT / "delegate/credentials/rest.py").read_text())
    }
    codes |= {"service_account_not_found", "service_account_unreadable", "service_account_malformed"}
    assert {"kubernetes_denied", "kubernetes_cut", "kubernetes_untrusted", "kubernetes_deleting"} <= codes
    told = set(re.findall(r"`([a-z_]+)`", PAGE.partition("## Errors")[2]))
    assert sorted(codes - told - {"client_certificate_malformed"}) == []


def test_the_limits_are_those_of_the_program() -> None:
    assert f"| {kubernetes_secrets.LONGEST_VALUE:,} bytes" in PAGE
    assert kubernetes.LARGEST_ANSWER == 4 * 2**20 and "| 4 MiB |" in PAGE
    assert f"| {rest.CONNECTIONS} for one connector, {kubernetes_secrets.CONCURRENCY} calls" in PAGE
    assert f"more than {kubernetes_object.LONGEST_NAME} characters" in PAGE
    assert kubernetes.TOKEN_SECONDS == 60 and "read anew each minute" in PAGE
