"""Kubernetes Secrets: values in the Secret objects of one namespace, written by us or there before and referred to.

Who asks is said in the words of today's Kubernetes cluster connector. `namespace`, `readOnly`, `testNames`, `caCertificate` and
`serviceAccountPath` are ours.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, get_args

import msgspec
from msgspec import Meta

from shared.connectors.fields import Forms, Refused, Way
from shared.connectors.model import Model
from shared.connectors.servers import PEM, SECRET, Line, Pem, check_pem, check_url
from shared.documents.fields import SecretReference

_DNS = r"[a-z0-9]([a-z0-9\-]*[a-z0-9])?"
Namespace = Annotated[str, Meta(max_length=63, pattern=rf"^{_DNS}$(?!\n)")]
ObjectName = Annotated[str, Meta(max_length=253, pattern=rf"^{_DNS}(\.{_DNS})*$(?!\n)")]
"""An RFC 1123 subdomain, as Kubernetes takes it for names."""
Folder = Annotated[str, Meta(max_length=1024, pattern=r"^/[^\x00-\x1f\x7f]+$(?!\n)")]

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
CredentialType = Literal["InheritFromDelegate", "ManualConfig"]
CREDENTIAL_TYPES: tuple[str, ...] = get_args(CredentialType)
MOST_TESTED = 32

_name = re.compile(rf"(?=.{{1,253}}\Z){_DNS}(\.{_DNS})*\Z")
_NAME = "the name of a Secret: lower-case letters, digits, - and ."
_MANUAL = "credential.spec"
_AUTH = f"{_MANUAL}.auth.spec"


class Own(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """The folder with `token` and `ca.crt` of the pod's service account."""

    service_account_path: Folder = SERVICE_ACCOUNT


class InheritFromDelegate(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="InheritFromDelegate"
):
    """The service account of the pod that the delegate runs in, at that cluster's API server."""

    spec: Own = Own()


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """A service account's token, and the authority of the API server's certificate, where that is held as a secret."""

    service_account_token_ref: SecretReference
    ca_cert_ref: SecretReference | None = None


class ServiceAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="ServiceAccount"):
    """`auth` of the type ServiceAccount."""

    spec: Token


class Manual(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """Where the API server is, whom to trust there, and who asks."""

    master_url: Line
    ca_certificate: Pem = ""
    auth: ServiceAccount


class ManualConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="ManualConfig"):
    """An API server anywhere."""

    spec: Manual


class KubernetesSecretsSettings(Model, frozen=True, kw_only=True):
    """One namespace, which references can't leave."""

    FORMS: ClassVar[Forms] = Forms(
        choices={"credential.type": CREDENTIAL_TYPES, f"{_MANUAL}.auth.type": ("ServiceAccount",)},
        named={"credential.type": "Invalid credential type", f"{_MANUAL}.auth.type": "Invalid auth type"},
        forms={
            "namespace": "the name of a namespace: at most 63 lower-case letters, digits and -",
            "testNames": _NAME,
            f"{_MANUAL}.caCertificate": PEM,
            f"{_MANUAL}.masterUrl": "a URL such as https://10.0.0.1:6443",
            f"{_MANUAL}.serviceAccountPath": "an absolute path on the delegate, without . and ..",
            f"{_AUTH}.serviceAccountTokenRef": f"{SECRET}; the token itself goes into that secret",
            f"{_AUTH}.caCertRef": f"{SECRET}; the certificate itself, in PEM, goes into that secret",
        },
        missing={
            "credential": "Invalid credential type: the credential is missing",
            "credential.type": "Invalid credential type",
            "namespace": "Namespace cannot be empty: give the namespace whose Secrets are used",
            f"{_MANUAL}.auth": "Invalid auth type: give auth of the type ServiceAccount",
            f"{_MANUAL}.auth.type": "Invalid auth type",
            f"{_MANUAL}.masterUrl": "Master URL cannot be empty: give the address of the API server",
            f"{_AUTH}.serviceAccountTokenRef": "You must provide the token of a service account, as a secret",
        },
        ways={"credential.type": {"InheritFromDelegate": Way(), "ManualConfig": Way()}},
    )

    credential: InheritFromDelegate | ManualConfig
    namespace: Namespace
    read_only: bool = False
    test_names: Annotated[tuple[ObjectName, ...], Meta(max_length=MOST_TESTED)] = ()

    def __post_init__(self) -> None:
        if isinstance(self.credential, ManualConfig):
            manual = self.credential.spec
            check_url(f"{_MANUAL}.masterUrl", manual.master_url)
            check_pem(f"{_MANUAL}.caCertificate", manual.ca_certificate)
            if manual.ca_certificate and manual.auth.spec.ca_cert_ref:
                raise Refused(f"{_AUTH}.caCertRef", "the authority is given as caCertificate already: give one of them")
        else:
            path = self.credential.spec.service_account_path
            if {"", ".", ".."} & set(path[1:].removesuffix("/").split("/")):
                raise Refused(
                    f"{_MANUAL}.serviceAccountPath", "give an absolute path on the delegate, without . and .."
                )
            if not self.delegate_selectors:
                raise Refused(
                    "delegateSelectors",
                    "DelegateSelectors cannot be Empty: name the delegates whose service account is used",
                )
        if self.default and self.read_only:
            raise Refused("default", "a read-only connector can't be the default: it takes no new secrets")


def is_object_name(text: str) -> bool:
    """Whether Kubernetes could have an object of that name."""
    return _name.match(text) is not None
