"""How a delegate logs in at Vault: one class for each access type, each by the documented API of its auth method.

Promises: credentials come from the secrets that the connector names, or from this delegate: its AWS identity, its keyring's ID
tokens, and files that the local policy lets connectors name; a file's content goes to Vault only where it has the form of
what it should be. Must not keep a token, nor put a credential into an error or a log line.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from delegate.credentials.refusals import Refusal, Refusals
from delegate.files import read_bytes
from delegate.secret_managers.interface import Surroundings
from shared.connectors.vault import VaultConnection
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import Denied, Malformed, NotReady

if TYPE_CHECKING:
    from delegate.credentials.aws_identities import OwnIdentity

STS_BODY = "Action=GetCallerIdentity&Version=2011-06-15"


class Login(Protocol):
    """`who` names the identity in errors, `path` is where it logs in, below `auth/`."""

    who: str
    path: tuple[str, ...]
    refusals: Refusals

    async def body(self) -> Mapping[str, Any]:
        """What is posted there."""


class AppRole:
    """A role's id and a SecretID that a secret holds."""

    def __init__(self, settings: VaultConnection, secrets: Mapping[str, Plaintext]) -> None:
        self.who = "the AppRole of the connector"
        self.path: tuple[str, ...] = (settings.app_role_path, "login")
        self.refusals = _refused(
            "its role id and SecretID", "compare appRoleId; store a SecretID that hasn't expired or been used up"
        )
        self._body = {
            "role_id": settings.app_role_id,
            "secret_id": word(secrets, str(settings.secret_id), "a SecretID"),
        }

    async def body(self) -> Mapping[str, Any]:
        """Role id and SecretID."""
        return self._body


class Password:
    """`USERPASS` and `LDAP`: a name, and a password that a secret holds."""

    def __init__(self, settings: VaultConnection, secrets: Mapping[str, Plaintext], mount: str) -> None:
        self.who = "the user of the connector"
        self.path: tuple[str, ...] = (mount, "login", settings.username)
        self.refusals = _refused(
            "its user name and password", "compare username; store the current password in the secret"
        )
        self._body = {"password": _text(secrets, str(settings.password), "a password")}

    async def body(self) -> Mapping[str, Any]:
        """The password."""
        return self._body


class Certificate:
    """`CERT`: the client certificate that the connection shows."""

    def __init__(self, settings: VaultConnection) -> None:
        self.who = "the client certificate of the connector"
        self.path: tuple[str, ...] = (settings.cert_auth_path, "login")
        self.refusals = _refused(
            "its certificate", "look at the role's certificate and allowed names, and whether it has expired"
        )
        self._body = {"name": settings.cert_auth_role} if settings.cert_auth_role else {}

    async def body(self) -> Mapping[str, Any]:
        """The role, where one is named."""
        return self._body


class Kubernetes:
    """The service account's token, read anew for each login, since Kubernetes replaces it."""

    def __init__(self, settings: VaultConnection, surroundings: Surroundings) -> None:
        self.who = "the service account of the delegate"
        self.path: tuple[str, ...] = (settings.k8s_auth_endpoint, "login")
        self.refusals = _refused(
            "its service account",
            "look at the role's bound service accounts and namespaces, and at Vault's access to TokenReview",
        )
        self._settings = settings
        self._surroundings = surroundings

    async def body(self) -> Mapping[str, Any]:
        """Role and token. Raises Denied, NotFound, Malformed for the file."""
        path = self._settings.service_account_token_path
        jwt = await own_file(self._surroundings, path, "token_file", _JWT)
        return {"role": self._settings.vault_k8s_auth_role, "jwt": jwt}


class IdToken:
    """`JWT`: an ID token of the keyring's issuer, whose audience is the path that it logs in at."""

    def __init__(self, settings: VaultConnection, connector: ConnectorDocument, surroundings: Surroundings) -> None:
        self.who = f"the ID token of the connector {connector.identifier}"
        self.path: tuple[str, ...] = (settings.jwt_auth_path, "login")
        self.refusals = _refused(
            "its ID token",
            "compare the role's bound_audiences (the connector's jwtAuthPath), bound_subject and the issuer's keys with: "
            "privyseal oidc show",
        )
        self._settings = settings
        self._connector = connector
        self._surroundings = surroundings

    async def body(self) -> Mapping[str, Any]:
        """Role and token. Raises NotReady where the keyring has no issuer."""
        if self._surroundings.tokens is None:
            raise NotReady(
                "oidc_unconfigured",
                f"the delegate can't make ID tokens for the connector {self._connector.identifier}",
                "give its keyring an issuer: privyseal oidc enable --issuer URL",
            )
        jwt = await self._surroundings.tokens.mint(self._connector, self._settings.jwt_auth_path)
        return {"role": self._settings.jwt_auth_role, "jwt": jwt}


class AwsIam:
    """A GetCallerIdentity request that the delegate's own AWS identity signs and Vault sends.

    Form: developer.hashicorp.com/vault/api-docs/auth/aws#login.
    """

    def __init__(self, settings: VaultConnection, surroundings: Surroundings, secrets: Mapping[str, Plaintext]) -> None:
        self.who = "the delegate's AWS identity"
        self.path: tuple[str, ...] = (settings.aws_auth_path, "login")
        self.refusals = _refused(
            "its AWS identity",
            "compare the role's bound_iam_principal_arn, xvaultAwsIamServerId, and sts_region and sts_endpoint of Vault's own "
            "configuration with the connector's awsRegion",
        )
        self._settings = settings
        self._surroundings = surroundings
        header = settings.xvault_aws_iam_server_id
        self._identity: OwnIdentity | None = None
        self._server = None if header is None else word(secrets, header, "a header's value")

    async def body(self) -> Mapping[str, Any]:
        """Role and signed request. Raises NotReady, Denied, Unavailable where there is no AWS identity."""
        # AWS's library is loaded by those alone who use this access type.
        try:
            from botocore.auth import SigV4Auth
            from botocore.awsrequest import AWSRequest

            from delegate.credentials.aws_identities import OwnIdentity
        except ImportError:
            raise NotReady(
                "aws_library_missing",
                "this delegate lacks AWS's library, which the access type AWS_IAM signs with",
                "install the delegate with its extra aws, or use another delegate",
            ) from None

        region = self._settings.aws_region
        self._identity = self._identity or OwnIdentity(region, self._surroundings)
        host = sts_host(region)
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8", "Host": host}
        if self._server is not None:
            headers["X-Vault-AWS-IAM-Server-ID"] = self._server
        request = AWSRequest("POST", f"https://{host}/", headers, STS_BODY)
        SigV4Auth(await self._identity.ready(), "sts", region).add_auth(request)
        signed = {name: [str(value)] for name, value in request.headers.items()}
        return {
            "role": self._settings.vault_aws_iam_role,
            "iam_http_request_method": "POST",
            "iam_request_url": _b64(f"https://{host}/"),
            "iam_request_body": _b64(STS_BODY),
            "iam_request_headers": _b64(json.dumps(signed)),
        }


def login(
    settings: VaultConnection,
    connector: ConnectorDocument,
    surroundings: Surroundings,
    secrets: Mapping[str, Plaintext],
) -> Login | None:
    """The login of the connector's access type; None where there is a token already. Raises Malformed."""
    match settings.access:
        case "APP_ROLE":
            return AppRole(settings, secrets)
        case "AWS_IAM":
            return AwsIam(settings, surroundings, secrets)
        case "K8s_AUTH":
            return Kubernetes(settings, surroundings)
        case "JWT":
            return IdToken(settings, connector, surroundings)
        case "CERT":
            return Certificate(settings)
        case "USERPASS":
            return Password(settings, secrets, settings.userpass_path)
        case "LDAP":
            return Password(settings, secrets, settings.ldap_auth_path)
        case "TOKEN" | "VAULT_AGENT":
            return None


def sts_host(region: str) -> str:
    """Where Vault is to send the request, as Vault's own client chooses it."""
    if region == "us-east-1":
        return "sts.amazonaws.com"
    return f"sts.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")


def word(secrets: Mapping[str, Plaintext], reference: str, what: str) -> str:
    """A credential without spaces, which line ends around it aren't part of. Raises Malformed."""
    value = secrets[reference].reveal().strip()
    if not _WORD.match(value):
        raise _unlike(reference, what)
    return value.decode("ascii")


async def own_file(surroundings: Surroundings, path: str, what: str, form: re.Pattern[bytes]) -> str:
    """What stands in a file of this delegate, if it has that form and the local policy lets connectors name the file.

    Raises Denied, NotFound, Malformed.
    """
    surroundings.policy.check_file(path)
    content = (await asyncio.to_thread(read_bytes, path, what)).strip()
    if not form.match(content):
        raise Malformed(
            f"{what}_malformed",
            f"what stands in {path} isn't what it should be",
            "give the path of a file with the token alone",
        )
    return content.decode("ascii")


def _text(secrets: Mapping[str, Plaintext], reference: str, what: str) -> str:
    try:
        return secrets[reference].reveal().decode()
    except UnicodeDecodeError:
        raise _unlike(reference, what) from None


def _unlike(reference: str, what: str) -> Malformed:
    return Malformed(
        "credential_malformed", f"the secret {reference} isn't {what}", "store it again: privyseal secret set"
    )


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


def _refused(what: str, hint: str) -> Refusals:
    row = Refusal(
        Denied,
        "vault_login_refused",
        f"Vault doesn't take {what} at {{place}}",
        f"{hint}; look whether the auth method is enabled at that path and has that role",
    )
    return {400: row, 401: row, 403: row, 404: row}


_WORD = re.compile(rb"[!-~]{1,8192}\Z")
_JWT = re.compile(rb"[A-Za-z0-9_\-]{2,4096}\.[A-Za-z0-9_\-]{2,16384}\.[A-Za-z0-9_\-]{2,4096}\Z")
VAULT_TOKEN = re.compile(rb"([A-Za-z]{1,4}\.[A-Za-z0-9_\-.]{8,4096}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})\Z")
"""Tokens that a server makes: `hvs.`, `hvb.`, `s.`, `b.` and so on, and the UUIDs of old ones."""
