"""HashiCorp Vault and OpenBao: values in a KV engine (`Vault`), or in the manager's database under keys of transit (`VaultTransit`).

Connection and authentication are those of the YAML that users have; CERT, USERPASS, LDAP, the mounts' paths, certificates and
`testPaths` are ours. Fields of an access type that isn't chosen are taken and mean nothing: their secrets aren't asked for.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, get_args
from urllib.parse import SplitResult, urlsplit

from msgspec import Meta, field

from shared.connectors.fields import Forms, Refused, Way
from shared.connectors.model import Model
from shared.documents.fields import SecretReference
from shared.errors import Malformed

AccessType = Literal["TOKEN", "APP_ROLE", "VAULT_AGENT", "AWS_IAM", "K8s_AUTH", "JWT", "CERT", "USERPASS", "LDAP"]
ACCESS_TYPES: tuple[AccessType, ...] = get_args(AccessType)

Word = Annotated[str, Meta(max_length=2048, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]
"""A line; empty counts as absent."""
Namespace = Annotated[str, Meta(max_length=512, pattern=r"^[!-~]*$(?!\n)")]
Path = Annotated[str, Meta(max_length=1024, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]
AwsRegion = Annotated[str, Meta(pattern=r"^([a-z]{2,5}(-[a-z]+)+-[0-9]{1,2})?$(?!\n)")]
Pem = Annotated[str, Meta(max_length=65_536, pattern=r"^[\x20-\x7e\r\n]*$")]

TOKEN_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 (where Kubernetes mounts it)
LOOPBACK = re.compile(r"(127(\.[0-9]{1,3}){3}|::1|localhost)\Z")

_SECRET = "the reference of a secret: account.NAME, org.NAME or NAME"  # noqa: S105 (a form, no secret)
_PATH = "a path of segments with / between them, none of them . or .."
_PEM = "certificates in PEM, as text"
_CLOUDS = re.compile(r"(?i)amazonaws\.com|googleapis\.com|azureadtokenexchange")
"""In the audiences by which AWS, Google and Azure take ID tokens."""
_SELECTORS_EMPTY = "DelegateSelectors cannot be Empty: name the delegates whose {} is used"
_FLAGS: dict[str, AccessType] = {
    "useVaultAgent": "VAULT_AGENT",
    "useAwsIam": "AWS_IAM",
    "useK8sAuth": "K8s_AUTH",
    "useJwtAuth": "JWT",
}
_MOUNTS = frozenset(
    {
        "app_role_path",
        "aws_auth_path",
        "k8s_auth_endpoint",
        "jwt_auth_path",
        "cert_auth_path",
        "userpass_path",
        "ldap_auth_path",
    }
)
_SECRETS: dict[AccessType, str] = {
    "TOKEN": "authToken",
    "APP_ROLE": "secretId",
    "AWS_IAM": "xvaultAwsIamServerId",
    "USERPASS": "password",
    "LDAP": "password",
}
_FORMS = Forms(
    choices={"accessType": ACCESS_TYPES},
    named={"accessType": "Invalid access type"},
    forms={
        "appRolePath": _PATH,
        "authToken": f"{_SECRET}; the token itself goes into that secret",
        "awsAuthPath": _PATH,
        "awsRegion": "the code of a region, such as us-east-1",
        "basePath": _PATH,
        "caCertificate": _PEM,
        "certAuthPath": _PATH,
        "clientCertificate": _PEM,
        "clientKey": f"{_SECRET}; the key itself goes into that secret",
        "jwtAuthPath": _PATH,
        "k8sAuthEndpoint": _PATH,
        "keyName": "the name of a key: letters, digits and _ . -",
        "ldapAuthPath": _PATH,
        "namespace": "a namespace in printable ASCII without spaces",
        "password": f"{_SECRET}; the password itself goes into that secret",
        "previousKeyNames": "the name of a key: letters, digits and _ . -",
        "secretEngineName": _PATH,
        "secretId": f"{_SECRET}; the SecretID itself goes into that secret",
        "testPaths": _PATH,
        "userpassPath": _PATH,
        "vaultUrl": "a URL such as https://vault.example.com:8200",
        "xvaultAwsIamServerId": f"{_SECRET}; the header's value goes into that secret",
    },
    missing={
        "keyName": "Key name cannot be empty: give the name of a key of the transit engine",
        "renewalIntervalMinutes": "Renewal interval cannot be empty: give minutes, 0 for no renewal",
        "vaultUrl": "Vault URL cannot be empty",
    },
    ways={
        "accessType": {
            "TOKEN": Way(("authToken",)),
            "APP_ROLE": Way(("appRoleId", "secretId"), ("appRolePath", "renewAppRoleToken")),
            "VAULT_AGENT": Way(("sinkPath",)),
            "AWS_IAM": Way(("vaultAwsIamRole", "awsRegion"), ("xvaultAwsIamServerId", "awsAuthPath")),
            "K8s_AUTH": Way(("vaultK8sAuthRole",), ("serviceAccountTokenPath", "k8sAuthEndpoint")),
            "JWT": Way(("jwtAuthRole", "jwtAuthPath")),
            "CERT": Way((), ("certAuthRole", "certAuthPath")),
            "USERPASS": Way(("username", "password"), ("userpassPath",)),
            "LDAP": Way(("username", "password"), ("ldapAuthPath",)),
        }
    },
    unasked=(*_FLAGS, "isReadOnly"),
)


class VaultConnection(Model, frozen=True, kw_only=True):
    """Where Vault is and who asks it. `access` is the authentication that counts."""

    FORMS: ClassVar[Forms] = _FORMS

    vault_url: Word
    namespace: Namespace = ""
    renewal_interval_minutes: int
    secret_engine_manually_configured: bool = False
    enable_cache: bool = True
    renew_app_role_token: bool = True
    ca_certificate: Pem = ""
    client_certificate: Pem = ""
    client_key: SecretReference | None = None

    access_type: AccessType | None = None
    auth_token: SecretReference | None = None
    app_role_id: Word = ""
    secret_id: SecretReference | None = None
    app_role_path: Path = "approle"
    use_vault_agent: bool = False
    sink_path: Word = ""
    use_aws_iam: bool = False
    aws_region: AwsRegion = ""
    vault_aws_iam_role: Word = ""
    xvault_aws_iam_server_id: SecretReference | None = None
    aws_auth_path: Path = "aws"
    use_k8s_auth: bool = field(default=False, name="useK8sAuth")
    vault_k8s_auth_role: Word = field(default="", name="vaultK8sAuthRole")
    service_account_token_path: Word = TOKEN_FILE
    k8s_auth_endpoint: Path = "kubernetes"
    use_jwt_auth: bool = False
    jwt_auth_role: Word = ""
    jwt_auth_path: Path = ""
    cert_auth_role: Word = ""
    cert_auth_path: Path = "cert"
    username: Word = ""
    password: SecretReference | None = None
    userpass_path: Path = "userpass"
    ldap_auth_path: Path = "ldap"

    def __post_init__(self) -> None:
        _check_url(self.vault_url)
        if self.renewal_interval_minutes < 0:
            raise Refused("renewalIntervalMinutes", "Invalid value for renewal interval: give 0 or more minutes")
        _check_pem("caCertificate", self.ca_certificate)
        _check_pem("clientCertificate", self.client_certificate)
        if bool(self.client_certificate) != (self.client_key is not None):
            raise Refused("clientKey", "a client certificate and its key go together: give both or neither")
        _check_access(self)

    @property
    def access(self) -> AccessType:
        """The access type: as said, or else by the switch or the credentials that are there."""
        return _access(self)

    @property
    def oidc_audience(self) -> str | None:
        """The path that it logs in at, where that is by JWT."""
        return self.jwt_auth_path if self.access == "JWT" else None

    @property
    def host(self) -> str:
        """The name or address that is called, without a port."""
        return urlsplit(self.vault_url).hostname or ""

    def named_references(self) -> dict[str, str]:
        """Only those that the chosen access type uses."""
        used = {"clientKey", _SECRETS.get(self.access, "")}
        # By its full name: a struct with slots is another class than the one that super() without arguments knows.
        return {path: value for path, value in Model.named_references(self).items() if path in used}


class VaultSettings(VaultConnection, frozen=True, kw_only=True):
    """A KV engine. `testPaths` are paths, as references give them, whose reading the connection test looks at."""

    base_path: Path = "/harness"
    secret_engine_name: Path = "secret"  # noqa: S105 (an engine's path)
    secret_engine_version: int = 2
    read_only: bool | None = None
    is_read_only: bool | None = None
    test_paths: Annotated[tuple[Path, ...], Meta(max_length=32)] = ()

    def __post_init__(self) -> None:
        VaultConnection.__post_init__(self)
        if self.secret_engine_version not in {1, 2}:
            raise Refused("secretEngineVersion", "Invalid value for secret engine version: give 1 or 2", ("1", "2"))
        if self.read_only is not None and self.is_read_only is not None:
            raise Refused("isReadOnly", "this is another name of readOnly: give one of them")
        if self.default and not self.writable:
            raise Refused("default", "a read-only Vault can't be the default: it takes no new secrets")
        _check_path("basePath", self.base_path, empty=True)
        _check_path("secretEngineName", self.secret_engine_name)
        for at, path in enumerate(self.test_paths):
            _check_path(f"testPaths[{at}]", path)

    @property
    def writable(self) -> bool:
        """Whether values may be written: not `readOnly`, in either spelling."""
        return not (self.read_only or self.is_read_only)


KeyName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]([A-Za-z0-9_.\-]{0,126}[A-Za-z0-9_])?$(?!\n)")]
"""A key of transit (Vault's GenericNameRegex: word characters, and within also dots and hyphens)."""


class VaultTransitSettings(VaultConnection, frozen=True, kw_only=True):
    """A key of a transit engine; `previousKeyNames` are those that older records may name."""

    secret_engine_name: Path = "transit"  # noqa: S105 (an engine's path)
    key_name: KeyName
    previous_key_names: Annotated[tuple[KeyName, ...], Meta(max_length=32)] = ()

    def __post_init__(self) -> None:
        VaultConnection.__post_init__(self)
        _check_path("secretEngineName", self.secret_engine_name)


def segments(path: str) -> tuple[str, ...]:
    """The segments of a path in Vault; slashes at its ends mean nothing.

    Raises Malformed for what a server or proxy could take for another path: empty segments, `.` and `..`, control characters.
    """
    parts = tuple(path.strip("/").split("/")) if path.strip("/") else ()
    if any(part in {"", ".", ".."} or not part.isprintable() for part in parts):
        raise Malformed("path_malformed", "a path in Vault is malformed", f"give {_PATH}")
    return parts


def _check_path(place: str, path: str, *, empty: bool = False) -> None:
    try:
        if segments(path) or empty:
            return
    except Malformed:
        pass
    raise Refused(place, f"give {_PATH}")


def _check_url(url: str) -> None:
    why = "Please check the url and try again: give https://HOST:PORT, without user, query or fragment"
    try:
        parts = urlsplit(url)
        legal = _is_legal(parts)
    except ValueError:
        legal = False
    if not legal:
        raise Refused("vaultUrl", why)
    if parts.scheme == "http" and not LOOPBACK.match(parts.hostname or ""):
        raise Refused(
            "vaultUrl", "tokens and values don't travel in the clear: give https://, http:// only for loopback"
        )


def _is_legal(parts: SplitResult) -> bool:
    # `port` raises ValueError for one that is none.
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and parts.port != 0
        and not (parts.username or parts.password or parts.query or parts.fragment)
        and not set(parts.geturl()) & set("\\ ")
        and not {".", ".."} & set(parts.path.split("/"))
    )


def _check_pem(place: str, pem: str) -> None:
    if "PRIVATE KEY-----" in pem:
        raise Refused(
            place, "there is a private key in it: keep the key as a secret, and replace it, since this was text"
        )
    if pem and not ("-----BEGIN CERTIFICATE-----" in pem and "-----END CERTIFICATE-----" in pem):
        raise Refused(place, f"give {_PEM}")


def _access(settings: VaultConnection) -> AccessType:
    if settings.access_type is not None:
        return settings.access_type
    for switched, access in zip(_switches(settings), _FLAGS.values(), strict=True):
        if switched:
            return access
    return "APP_ROLE" if settings.app_role_id or settings.secret_id else "TOKEN"


def _switches(settings: VaultConnection) -> tuple[bool, ...]:
    return settings.use_vault_agent, settings.use_aws_iam, settings.use_k8s_auth, settings.use_jwt_auth


def _check_access(settings: VaultConnection) -> None:
    on = [flag for flag, switched in zip(_FLAGS, _switches(settings), strict=True) if switched]
    if len(on) > 1:
        raise Refused(on[1], f"{on[0]} and {on[1]} can not be used together: choose one way to authenticate")
    if on and settings.access_type not in {None, _FLAGS[on[0]]}:
        raise Refused("accessType", f"{on[0]} says {_FLAGS[on[0]]}: choose one way to authenticate")
    if settings.access_type is None and not on:
        app_role = bool(settings.app_role_id or settings.secret_id)
        if app_role and settings.auth_token:
            raise Refused("accessType", "both authToken and an AppRole are given: say which one counts", ACCESS_TYPES)
        if not app_role and not settings.auth_token:
            raise Refused("accessType", "Invalid access type: the authentication is missing", ACCESS_TYPES)
    _check_companions(settings)


def _check_companions(settings: VaultConnection) -> None:
    """The fields that each access type needs, in the order in which they are asked for."""
    access, needed = settings.access, _NEEDED[settings.access]
    for path, attribute, why in needed:
        if not getattr(settings, attribute):
            raise Refused(path, why)
        if attribute in _MOUNTS:
            _check_path(path, getattr(settings, attribute))
    whose = {"VAULT_AGENT": "sink", "AWS_IAM": "AWS identity", "K8s_AUTH": "service account"}.get(access)
    if whose and not settings.delegate_selectors:
        raise Refused("delegateSelectors", _SELECTORS_EMPTY.format(whose))
    if access in {"USERPASS", "LDAP"} and ("/" in settings.username or settings.username in {".", ".."}):
        raise Refused("username", "a user name has no slash, and isn't . or ..")
    if access == "JWT" and _CLOUDS.search(settings.jwt_auth_path):
        # It is the audience of a token that goes to a host of the connector's choice, which could take it to the cloud.
        raise Refused("jwtAuthPath", "this is a cloud's own audience: mount Vault's JWT login at another path")
    if access == "VAULT_AGENT":
        _check_file("sinkPath", settings.sink_path)
    if access == "K8s_AUTH":
        _check_file("serviceAccountTokenPath", settings.service_account_token_path)


def _check_file(path: str, file: str) -> None:
    if not file.startswith("/") or {".", ".."} & set(file.split("/")):
        raise Refused(path, "give an absolute path on the delegate, without . and ..")


_NEEDED: dict[AccessType, tuple[tuple[str, str, str], ...]] = {
    "TOKEN": (("authToken", "auth_token", "You must provide an auth token, as a secret"),),
    "APP_ROLE": (
        ("appRoleId", "app_role_id", "You must provide an App Role Id if you are using App Role"),
        ("secretId", "secret_id", "You must provide a Secret Id, as a secret, if you are using App Role"),
        ("appRolePath", "app_role_path", f"give {_PATH}"),
    ),
    "VAULT_AGENT": (
        ("sinkPath", "sink_path", "You must provide a sink path to read token if you are using VaultAgent"),
    ),
    "AWS_IAM": (
        ("vaultAwsIamRole", "vault_aws_iam_role", "You must provide vault role if you are using Aws Iam Auth method"),
        ("awsRegion", "aws_region", "You must provide aws region if you are using Aws Iam Auth method"),
        ("awsAuthPath", "aws_auth_path", f"give {_PATH}"),
    ),
    "K8s_AUTH": (
        ("vaultK8sAuthRole", "vault_k8s_auth_role", "You must provide vault role if you are using K8s Auth method"),
        (
            "serviceAccountTokenPath",
            "service_account_token_path",
            "You must provide service account token path if you are using K8s Auth method",
        ),
        ("k8sAuthEndpoint", "k8s_auth_endpoint", f"give {_PATH}"),
    ),
    "JWT": (
        ("jwtAuthRole", "jwt_auth_role", "You must provide vault role if you are using JWT Auth method"),
        ("jwtAuthPath", "jwt_auth_path", "You must provide the auth path if you are using JWT Auth method"),
    ),
    "CERT": (
        ("clientCertificate", "client_certificate", "You must provide a client certificate and its key"),
        ("certAuthPath", "cert_auth_path", f"give {_PATH}"),
    ),
    "USERPASS": (
        ("username", "username", "You must provide a user name"),
        ("password", "password", "You must provide a password, as a secret"),
        ("userpassPath", "userpass_path", f"give {_PATH}"),
    ),
    "LDAP": (
        ("username", "username", "You must provide a user name"),
        ("password", "password", "You must provide a password, as a secret"),
        ("ldapAuthPath", "ldap_auth_path", f"give {_PATH}"),
    ),
}
"""Field, attribute, and what is said where it is empty."""
