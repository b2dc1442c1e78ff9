"""Settings of Kubernetes Secrets: the words of today's cluster connector, one namespace, and what is said of anything else."""

from __future__ import annotations

from typing import Any

import pytest

from shared.connectors.kinds import settings
from shared.connectors.kubernetes_secrets import (
    SERVICE_ACCOUNT,
    InheritFromDelegate,
    KubernetesSecretsSettings,
    ManualConfig,
    is_object_name,
)
from shared.errors import Malformed

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
AUTH: dict[str, Any] = {"type": "ServiceAccount", "spec": {"serviceAccountTokenRef": "account.token"}}
OWN: dict[str, Any] = {
    "namespace": "payments",
    "delegateSelectors": ["cluster"],
    "credential": {"type": "InheritFromDelegate"},
}


def manual(auth: dict[str, Any] = AUTH, **changes: Any) -> dict[str, Any]:
    spec = {"masterUrl": "https://10.0.0.1:6443", "auth": auth, **changes}
    return {
        "namespace": "payments",
        "credential": {"type": "ManualConfig", "spec": {key: one for key, one in spec.items() if one is not None}},
    }


def read(spec: dict[str, Any]) -> KubernetesSecretsSettings:
    found = settings("KubernetesSecrets", spec)
    assert isinstance(found, KubernetesSecretsSettings)
    return found


def refusal(spec: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(Malformed) as caught:
        settings("KubernetesSecrets", spec)
    assert caught.value.code == "connector_malformed"
    return str(caught.value.facts["path"]), caught.value.detail


def test_the_pods_own_account_is_read_from_where_kubernetes_mounts_it() -> None:
    found = read(OWN)
    assert isinstance(found.credential, InheritFromDelegate)
    assert found.credential.spec.service_account_path == SERVICE_ACCOUNT
    assert (found.references(), found.read_only, found.test_names, found.oidc_audience) == ((), False, (), None)
    elsewhere = {"type": "InheritFromDelegate", "spec": {"serviceAccountPath": "/var/run/secrets/tokens/api/"}}
    assert isinstance(read({**OWN, "credential": elsewhere}).credential, InheritFromDelegate)


def test_a_cluster_elsewhere_is_named_with_a_token_and_whom_to_trust() -> None:
    found = read(manual({**AUTH, "spec": {**AUTH["spec"], "caCertRef": "org.ca"}}))
    assert isinstance(found.credential, ManualConfig)
    assert found.credential.spec.master_url == "https://10.0.0.1:6443"
    assert found.references() == ("account.token", "org.ca")
    assert sorted(found.named_references()) == [
        "credential.spec.auth.spec.caCertRef",
        "credential.spec.auth.spec.serviceAccountTokenRef",
    ]
    assert read(manual(caCertificate=PEM, masterUrl="https://rancher.example.com/k8s/clusters/c-1")).references() == (
        "account.token",
    )


@pytest.mark.parametrize(
    ("spec", "path", "told"),
    [
        ({**OWN, "namespace": ""}, "spec.namespace", "the name of a namespace"),
        ({**OWN, "namespace": "Payments"}, "spec.namespace", "the name of a namespace"),
        ({**OWN, "namespace": "a/../b"}, "spec.namespace", "the name of a namespace"),
        ({**OWN, "namespace": "a" * 64}, "spec.namespace", "the name of a namespace"),
        ({**OWN, "namespace": "payments\n"}, "spec.namespace", "the name of a namespace"),
        ({**OWN, "namespace": None}, "spec.namespace", "Namespace cannot be empty"),
        ({**OWN, "credential": None}, "spec.credential", "Invalid credential type"),
        ({**OWN, "credential": {}}, "spec.credential.type", "Invalid credential type: give one of InheritFromDelegate"),
        ({**OWN, "credential": {"type": "Magic"}}, "spec.credential.type", "Invalid credential type: give one of"),
        ({**OWN, "delegateSelectors": []}, "spec.delegateSelectors", "DelegateSelectors cannot be Empty"),
        ({**OWN, "readOnly": True, "default": True}, "spec.default", "read-only"),
        ({**OWN, "testNames": ["a", "B"]}, "spec.testNames[...]", "the name of a Secret"),
        ({**OWN, "testNames": ["a"] * 33}, "spec.testNames", "the name of a Secret"),
        (
            {**OWN, "credential": {"type": "InheritFromDelegate", "spec": {"serviceAccountPath": "/a/../b"}}},
            "spec.credential.spec.serviceAccountPath",
            "an absolute path",
        ),
        (
            {**OWN, "credential": {"type": "InheritFromDelegate", "spec": {"serviceAccountPath": "a"}}},
            "spec.credential.spec.serviceAccountPath",
            "an absolute path",
        ),
        (manual(masterUrl=None), "spec.credential.spec.masterUrl", "Master URL cannot be empty"),
        (manual(masterUrl="http://10.0.0.1"), "spec.credential.spec.masterUrl", "don't travel in the clear"),
        (manual(masterUrl="https://a@10.0.0.1"), "spec.credential.spec.masterUrl", "give https://HOST"),
        (manual(masterUrl="https://10.0.0.1/a/../b"), "spec.credential.spec.masterUrl", "give https://HOST"),
        (manual(caCertificate="hunter2"), "spec.credential.spec.caCertificate", "certificates in PEM"),
        (
            manual({"type": "Password"}),
            "spec.credential.spec.auth.type",
            "Invalid auth type: give one of ServiceAccount",
        ),
        (manual({"type": "ServiceAccount"}), "spec.credential.spec.auth.spec", "the field is missing"),
        (
            manual({"type": "ServiceAccount", "spec": {}}),
            "spec.credential.spec.auth.spec.serviceAccountTokenRef",
            "You must provide the token",
        ),
        (
            manual({"type": "ServiceAccount", "spec": {"serviceAccountTokenRef": "eyJhbGciOiJSUzI1NiJ9.e30.x"}}),
            "spec.credential.spec.auth.spec.serviceAccountTokenRef",
            "the token itself goes into that secret",
        ),
        (
            manual({**AUTH, "spec": {**AUTH["spec"], "caCertRef": "ca"}}, caCertificate=PEM),
            "spec.credential.spec.auth.spec.caCertRef",
            "give one of them",
        ),
    ],
)
def test_what_is_wrong_is_told_by_its_path(spec: dict[str, Any], path: str, told: str) -> None:
    found, detail = refusal({key: one for key, one in spec.items() if one is not None})
    assert (found.replace("[1]", "[...]"), told in detail) == (path, True), detail
    assert "hunter2" not in detail and "eyJ" not in detail


def test_names_of_objects_are_those_that_kubernetes_takes() -> None:
    for good in ("a", "a-b", "a.b-c.0", "0a", "a" * 253):
        assert is_object_name(good)
    for bad in ("", "A", "a_b", "-a", "a-", "a..b", ".a", "a.", "a/b", "a\n", "a" * 254, "a%2f"):
        assert not is_object_name(bad)
