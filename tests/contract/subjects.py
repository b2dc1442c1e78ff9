"""The kinds that the contract of secret managers is tried with, each beside a real server or an emulator where it needs one.

    @pytest.fixture(scope="module")
    def servers() -> Iterator[Servers]:
        with Servers() as running:                   # starts each at its first use, ends all
            yield running

    subject = SUBJECTS["AwsKms at moto"](World(), servers)
    manager = subject.manager()                      # another one each time: what one stored the next can fetch

A kind of another package joins by the variable PRIVYSEAL_CONTRACT, `MODULE:NAME` of a mapping like `SUBJECTS`: see
docs/secret-managers/writing-one.md. A kind of ours joins by a row in `SUBJECTS`, or in `READERS` where it never writes; `EVERY` has both.
"""

from __future__ import annotations

import importlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest
from cryptography.x509 import load_pem_x509_certificate
from msgspec import structs

from delegate.endpoints import Endpoints
from delegate.policy import LocalPolicy
from delegate.secret_managers.age_file import AgeFile
from delegate.secret_managers.aws_kms import AwsKms
from delegate.secret_managers.aws_parameter_store import AwsParameterStore
from delegate.secret_managers.aws_secret_manager import LONGEST_VALUE as LONGEST_OF_AWS
from delegate.secret_managers.aws_secret_manager import AwsSecretManager
from delegate.secret_managers.azure_key_vault import LONGEST_VALUE as LONGEST_OF_AZURE
from delegate.secret_managers.azure_key_vault import AzureKeyVault
from delegate.secret_managers.azure_key_vault_key import AzureKeyVaultKey
from delegate.secret_managers.custom_secret_manager import CustomSecretManager
from delegate.secret_managers.cyberark_ccp import CyberArkCcp
from delegate.secret_managers.cyberark_conjur import CyberArkConjur
from delegate.secret_managers.gcp_kms import GcpKms
from delegate.secret_managers.gcp_secret_manager import LONGEST_VALUE as LONGEST_OF_GOOGLE
from delegate.secret_managers.gcp_secret_manager import GcpSecretManager
from delegate.secret_managers.interface import Kind, SecretManager, SecretVersion, Surroundings
from delegate.secret_managers.kubernetes_secrets import LONGEST_VALUE as LONGEST_OF_KUBERNETES
from delegate.secret_managers.kubernetes_secrets import KubernetesSecrets
from delegate.secret_managers.local import Local
from delegate.secret_managers.onepassword_connect import OnePasswordConnect
from delegate.secret_managers.pkcs11 import Pkcs11
from delegate.secret_managers.registry import installed_kinds
from delegate.secret_managers.vault import LONGEST_VALUE as LONGEST_OF_VAULT
from delegate.secret_managers.vault import Vault
from delegate.secret_managers.vault_transit import VaultTransit
from delegate.zone import Zone
from shared.canonical import digest
from shared.connectors.aws_parameter_store import LONGEST_VALUES
from shared.crypto.keyring import Keyring
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.documents.secret import LARGEST_VALUE_BYTES
from shared.documents.template import TemplateDocument
from shared.ssh import pack
from shared.template_inputs import write_inputs
from tests.fakes import example_plugin
from tests.fakes.age import age_file, new_identity
from tests.fakes.authority import Authority
from tests.fakes.ccp import Account, Application, Ccp, Safe
from tests.fakes.conjur import Conjur, Host
from tests.fakes.custom import ALLOWED, FILES, PYTHON_FILES, Custom
from tests.fakes.google import PROJECT, Google
from tests.fakes.issuers import ISSUER_KEYS
from tests.fakes.kubernetes import Kubernetes
from tests.fakes.onepassword import Connect
from tests.fakes.world import World
from tests.servers.azure import CLIENT, CLIENT_SECRET, TENANT, Azure
from tests.servers.emulators import REGION, Emulator, MiniStack, Moto
from tests.servers.https import Https
from tests.servers.openbao import OpenBao
from tests.servers.softhsm import NAME, POLICY, SoftHsm, Token
from tests.servers.sshd import Sshd, keygen

S = TypeVar("S")

KEY = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY")
"""Of somebody at moto, which doesn't look at it."""


ROBOT = f"privyseal@{PROJECT}.iam.gserviceaccount.com"
PERMISSIONS_AT_GOOGLE = (
    "cloudkms.cryptoKeyVersions.useToEncrypt",
    "cloudkms.cryptoKeyVersions.useToDecrypt",
    "secretmanager.secrets.create",
    "secretmanager.secrets.delete",
    "secretmanager.secrets.get",
    "secretmanager.secrets.update",
    "secretmanager.versions.access",
    "secretmanager.versions.add",
    "secretmanager.versions.destroy",
)


class Servers:
    """Servers, each started when it is first asked for and ended with this."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._kms_keys: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def _started(self, server: AbstractContextManager[S]) -> S:
        return self._stack.enter_context(server)

    @cached_property
    def moto(self) -> Moto:
        """An emulator of AWS."""
        return self._started(Moto())

    @cached_property
    def ministack(self) -> MiniStack:
        """An emulator of AWS that checks signatures and policies."""
        return self._started(MiniStack(auth=True))

    @cached_property
    def somebody(self) -> tuple[str, str]:
        """The access key of a user who may do everything at MiniStack."""
        return self.ministack.user({"Effect": "Allow", "Action": "*", "Resource": "*"})

    def kms_key(self, server: Emulator) -> str:
        """The ARN of a key there, one for all."""
        if server.url not in self._kms_keys:
            self._kms_keys[server.url] = server.client("kms").create_key()["KeyMetadata"]["Arn"]
        return self._kms_keys[server.url]

    @cached_property
    def folder(self) -> Path:
        """An empty folder of this machine."""
        return Path(self._started(TemporaryDirectory(prefix="privyseal-")))

    @cached_property
    def kubernetes(self) -> Kubernetes:
        """A stand-in for an API server of Kubernetes."""
        return self._started(Kubernetes())

    @cached_property
    def google(self) -> Google:
        """A stand-in for Google Cloud, where the service account `ROBOT` may use keys and secrets."""
        server = self._started(Google())
        server.allow(f"serviceAccount:{ROBOT}", *PERMISSIONS_AT_GOOGLE)
        return server

    @cached_property
    def openbao(self) -> OpenBao:
        """OpenBao with `kv-one` and `kv-two` of those versions, and the key `main` of `transit`."""
        server = self._started(OpenBao())
        for version in ("one", "two"):
            given = {"version": "1" if version == "one" else "2"}
            server.root.sys.enable_secrets_engine("kv", path=f"kv-{version}", options=given)
        server.root.sys.enable_secrets_engine("transit")
        server.root.secrets.transit.create_key("main")
        return server

    @cached_property
    def connect(self) -> Connect:
        """What 1Password keeps for `onepassword`."""
        return Connect()

    @cached_property
    def onepassword(self) -> Https:
        """A stand-in for 1Password Connect."""
        return self._started(Https(self.connect))

    @cached_property
    def variables(self) -> Conjur:
        """What Conjur has for `conjur`."""
        return Conjur()

    @cached_property
    def conjur(self) -> Https:
        """A stand-in for CyberArk Conjur."""
        return self._started(Https(self.variables))

    @cached_property
    def clients(self) -> Authority:
        """Whose certificates `ccp` takes."""
        return Authority("clients")

    @cached_property
    def accounts(self) -> Ccp:
        """What CyberArk's Vault has for `ccp`."""
        return Ccp()

    @cached_property
    def ccp(self) -> Https:
        """A stand-in for CyberArk's Central Credential Provider, to which every client shows a certificate."""
        return self._started(Https(self.accounts, clients=self.clients, required=True))

    @cached_property
    def azure(self) -> Azure:
        """A stand-in for Key Vault and Entra ID, with the key `main`; its authority is trusted as long as it runs."""
        server = self._started(Azure())
        variables = self._started(pytest.MonkeyPatch.context())
        variables.setenv("SSL_CERT_FILE", str(server.authority))
        server.vault.add_key("main")
        return server

    @cached_property
    def token(self) -> Token:
        """A token of SoftHSM, which every process finds that is started as long as this runs, with keys for both mechanisms."""
        token = self._started(SoftHsm()).token()
        token.aes("main")
        token.mac("main")
        return token

    @cached_property
    def sshd(self) -> Sshd:
        """OpenSSH's server, which lets in the key at `folder`/login."""
        server = self._started(Sshd())
        server.authorize(keygen(self.folder / "login"))
        return server

    @cached_property
    def example_plugin(self) -> Path:
        """The example of a package that brings a kind, installed, and on the path as long as this runs."""
        paths = self._started(pytest.MonkeyPatch.context())
        folder = example_plugin.install(self.folder / "packages")
        paths.syspath_prepend(folder)
        paths.syspath_prepend(example_plugin.SOURCE)
        return folder


@dataclass
class Subject:
    """One configured instance of a kind in a world.

    `longest`: what it takes, in bytes. `history`: whether each earlier version can be read once there are newer ones.
    `remote`: whether its provider keeps the values, so that what was deleted is gone. `files`: what the delegate's policy lets
    connectors name; `rules`: what else it says. `lay`, of a kind that only reads: puts a value where its provider has it, and gives the
    reference to it; `fits`: whether that provider can have it at all (`value_unfit` where not); `members`: whether `#key` selects from a
    value that is JSON. `template`: what the connector runs; `metadata` of an inline secret, by the secret's id.
    """

    world: World
    kind: Kind
    connector: ConnectorDocument
    credentials: Mapping[str, bytes] = field(default_factory=dict)
    endpoints: Endpoints = field(default_factory=Endpoints)
    gcp_endpoints: Endpoints = field(default_factory=Endpoints)
    azure_endpoints: Endpoints = field(default_factory=Endpoints)
    longest: int = LARGEST_VALUE_BYTES
    history: bool = True
    remote: bool = False
    files: tuple[str, ...] = ()
    rules: str = ""
    lay: Callable[[bytes], str] | None = None
    fits: Callable[[bytes], bool] = lambda _: True
    members: bool = True
    template: TemplateDocument | None = None
    metadata: Callable[[str], dict[str, str]] = lambda _: {}
    opened: list[SecretManager] = field(default_factory=list)

    @property
    def policy(self) -> str:
        """The text of the delegate's policy file."""
        return 'kinds = ["*"]\n' + (f"files = {json.dumps(self.files)}\n" if self.files else "") + self.rules

    def manager(self, keyring: Keyring | None = None) -> SecretManager:
        """A new manager, as this delegate's or (with another keyring of that name) as somebody else's."""
        surroundings = Surroundings(
            Zone(keyring or self.world.keyring, self.world.book()),
            LocalPolicy.parse(self.policy, []),
            secrets.token_bytes,
            endpoints=self.endpoints,
            gcp_endpoints=self.gcp_endpoints,
            azure_endpoints=self.azure_endpoints,
            template=self.template,
        )
        held = {name: Plaintext(value) for name, value in self.credentials.items()}
        self.opened.append(self.kind(self.connector, surroundings, held))
        return self.opened[-1]

    def version(self, identifier: str = "password", n: int = 1, task: str = "", **document: Any) -> SecretVersion:
        """Version `n` of a secret of this connector; `task` names its store task."""
        secret = self.world.secret_document(identifier, "org/acme", connector=self.connector.id, **document)
        if not secret.reference:
            secret = structs.replace(secret, metadata=self.metadata(secret.id))
        signed = self.world.sign(secret, self.world.administrator)
        aad = self.world.place(signed, n, digest(task or f"the store task of {secret.id} {n}"))
        return SecretVersion(secret, self.connector, n, aad)

    def holding(self, value: bytes, identifier: str = "password") -> tuple[SecretVersion, Plaintext]:
        """A version of a secret that has that value, and what is given to `store` for it: nothing, for one that is read."""
        if self.lay is None:
            return self.version(identifier), Plaintext(value)
        return self.version(identifier, reference=self.lay(value)), Plaintext(b"")

    async def close(self) -> None:
        """Closes all managers."""
        for one in self.opened:
            await one.close()


def installed(kind: str) -> Kind:
    """A kind by its entry point, as the delegate has it: one of another package is guarded."""
    found: Kind = installed_kinds()[kind].load()
    return found


def connector(world: World, kind: str, spec: Mapping[str, Any], *named: str) -> ConnectorDocument:
    """A connector of that kind that names these secrets."""
    return world.connector_document("subject", type=kind, spec=dict(spec), secrets=tuple(sorted(named)))


def _local(world: World, _: Servers) -> Subject:
    return Subject(world, Local, world.connector.document)


_ACCESS_KEY = {"type": "ManualConfig", "spec": {"accessKey": "account.id", "secretKey": "account.key"}}


def _aws(world: World, server: Emulator, key: tuple[str, str], kind: Kind, name: str, **spec: Any) -> Subject:
    given = {"credential": _ACCESS_KEY, "region": REGION, **spec}
    values = {"account.id": key[0].encode(), "account.key": key[1].encode()}
    return Subject(
        world, kind, connector(world, name, given, *values), values, Endpoints.parse(server.url, "aws_endpoints")
    )


def _kms(world: World, server: Emulator, arn: str, key: tuple[str, str]) -> Subject:
    return _aws(world, server, key, AwsKms, "AwsKms", kmsArnInPlainText=arn)


def _aws_secrets(world: World, server: Emulator, key: tuple[str, str]) -> Subject:
    prefix = "test-" + secrets.token_hex(8)
    made = _aws(world, server, key, AwsSecretManager, "AwsSecretManager", secretNamePrefix=prefix)
    made.longest, made.remote = LONGEST_OF_AWS, True
    # AWS keeps a hundred versions, MiniStack those that carry a label.
    made.history = not isinstance(server, MiniStack)
    return made


def _aws_parameters(world: World, server: Emulator, key: tuple[str, str]) -> Subject:
    path = "/test-" + secrets.token_hex(8)
    made = _aws(world, server, key, AwsParameterStore, "AwsParameterStore", parameterPathPrefix=path)
    made.longest, made.remote = LONGEST_VALUES["Standard"], True
    return made


def _vault(world: World, server: OpenBao, kind: Kind, name: str, **spec: Any) -> Subject:
    given = {"vaultUrl": server.address, "renewalIntervalMinutes": 0, "authToken": "account.token", **spec}
    values = {"account.token": server.root.token.encode()}
    return Subject(world, kind, connector(world, name, given, *values), values)


def _kv(world: World, server: OpenBao, version: int) -> Subject:
    engine = "kv-two" if version == 2 else "kv-one"
    place = {"secretEngineName": engine, "secretEngineVersion": version, "basePath": f"/{secrets.token_hex(8)}"}
    made = _vault(world, server, Vault, "Vault", **place)
    made.longest, made.remote, made.history = LONGEST_OF_VAULT, True, version == 2
    return made


def _azure(world: World, server: Azure, kind: Kind, name: str, **spec: Any) -> Subject:
    who = {"tenantId": TENANT, "clientId": CLIENT, "secretKey": "account.key"}
    # Subjects share a vault, and each has secrets of the same names.
    server.vault.secrets.clear()
    server.vault.deleted.clear()
    values = {"account.key": CLIENT_SECRET.encode()}
    given = {"vaultName": server.vault.name, **who, **spec}
    made = Subject(world, kind, connector(world, name, given, *values), values)
    made.azure_endpoints = Endpoints.parse(server.endpoints, "azure_endpoints")
    return made


def _azure_secrets(world: World, server: Azure, **spec: Any) -> Subject:
    made = _azure(world, server, AzureKeyVault, "AzureKeyVault", **spec)
    made.longest, made.remote = LONGEST_OF_AZURE, True
    return made


def _google(world: World, server: Google, kind: Kind, name: str, key: str, **spec: Any) -> Subject:
    values = {"account.robot": server.http.key_file(ROBOT, ISSUER_KEYS[1].private)}
    made = connector(world, name, {key: "account.robot", **spec}, *values)
    return Subject(world, kind, made, values, gcp_endpoints=Endpoints.parse(server.endpoints, "gcp_endpoints"))


def _google_keys(world: World, server: Google) -> Subject:
    _, project, _, region, _, ring, _, key = server.keys.new_key("key-" + secrets.token_hex(8)).split("/")
    place = {"projectId": project, "region": region, "keyRing": ring, "keyName": key}
    return _google(world, server, GcpKms, "GcpKms", "credentials", **place)


def _google_secrets(world: World, server: Google) -> Subject:
    # One project for all: another world's secrets of the same names would be in the way.
    server.secrets.kept.clear()
    made = _google(world, server, GcpSecretManager, "GcpSecretManager", "credentialsRef")
    made.longest, made.remote = LONGEST_OF_GOOGLE, True
    return made


def _pkcs11(world: World, token: Token, mechanism: str) -> Subject:
    spec = {
        "library": NAME,
        "tokenLabel": token.label,
        "keyLabel": "main",
        "mechanism": mechanism,
        "pin": "account.pin",
    }
    values = {"account.pin": token.pin.encode()}
    made = Subject(world, Pkcs11, connector(world, "Pkcs11", {**spec, "delegateSelectors": ["here"]}, *values), values)
    made.rules = POLICY
    return made


def _example(world: World, servers: Servers) -> Subject:
    assert servers.example_plugin
    return rows("contract:SUBJECTS")[example_plugin.KIND](world, servers)


def rows(told: str) -> Mapping[str, Callable[[World, Servers], Subject]]:
    """The rows that a package has for itself, by `MODULE:NAME`; none for nothing."""
    if not told:
        return {}
    module, _, name = told.partition(":")
    found: Mapping[str, Callable[[World, Servers], Subject]] = getattr(importlib.import_module(module), name)
    return found


def _kubernetes(world: World, server: Kubernetes) -> Subject:
    namespace, api = f"test-{secrets.token_hex(8)}", server.api
    values = {
        "account.token": api.account(namespace, "privyseal", verbs=("get", "create", "update", "delete")).encode()
    }
    auth = {"type": "ServiceAccount", "spec": {"serviceAccountTokenRef": "account.token"}}
    where = {"masterUrl": server.url, "caCertificate": server.trust, "auth": auth}
    spec = {"namespace": namespace, "credential": {"type": "ManualConfig", "spec": where}}
    made = Subject(world, KubernetesSecrets, connector(world, "KubernetesSecrets", spec, *values), values)
    made.longest, made.remote, made.history = LONGEST_OF_KUBERNETES, True, False
    return made


def _custom(
    world: World, servers: Servers, shell: str = "Bash", *, writes: bool = True, remotely: bool = False
) -> Subject:
    folder = servers.folder / f"custom-{secrets.token_hex(8)}"
    folder.mkdir()
    scripts = FILES if shell == "Bash" else PYTHON_FILES
    spec, held = _over_ssh(servers) if remotely else ({}, {})
    made = Custom(scripts["script"], shell=shell, spec=spec, held=held, world=world)
    made.inputs = {"folder": str(folder), "path": None}
    if writes:
        made.write, made.remove = scripts["write"], scripts["remove"]
    subject = Subject(world, CustomSecretManager, made.connector.document, held)
    subject.template, subject.rules = made.template.document, ALLOWED
    subject.remote, subject.history, subject.fits = True, False, _is_held_by_a_shell
    # Where a value lies is what its inputs say: two secrets that say the same would have one place.
    subject.metadata = lambda id: {"path": f"{id}.value"}
    if not writes:

        def lay(value: bytes) -> str:
            name = f"{secrets.token_hex(8)}.value"
            (folder / name).write_bytes(value)
            return write_inputs({"path": name})

        subject.lay = lay
    return subject


def _over_ssh(servers: Servers) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The settings of a connector that runs its scripts at `sshd`, and the SSHKey that it names."""
    server = servers.sshd
    who = {"credentialType": "KeyReference", "spec": {"userName": server.user, "key": "account.key"}}
    login = {"port": server.port, "auth": {"type": "SSH", "spec": who}, "knownHosts": [server.known_hosts]}
    bundle = pack(login, {"account.key": (servers.folder / "login").read_bytes()})
    return {"onDelegate": False, "host": "127.0.0.1", "connectorRef": "account.login"}, {"account.login": bundle}


def _is_held_by_a_shell(value: bytes) -> bool:
    return value not in {b"", b"null"} and b"\0" not in value


SUBJECTS: Mapping[str, Callable[[World, Servers], Subject]] = {
    **rows(os.environ.get("PRIVYSEAL_CONTRACT", "")),
    "EncryptedFile, a package's": _example,
    "Local": _local,
    "AwsKms at moto": lambda world, servers: _kms(world, servers.moto, servers.kms_key(servers.moto), KEY),
    "AwsKms at MiniStack": lambda world, servers: _kms(
        world, servers.ministack, servers.kms_key(servers.ministack), servers.somebody
    ),
    "AwsParameterStore at moto": lambda world, servers: _aws_parameters(world, servers.moto, KEY),
    "AwsParameterStore at MiniStack": lambda world, servers: _aws_parameters(
        world, servers.ministack, servers.somebody
    ),
    "AwsSecretManager at moto": lambda world, servers: _aws_secrets(world, servers.moto, KEY),
    "AwsSecretManager at MiniStack": lambda world, servers: _aws_secrets(world, servers.ministack, servers.somebody),
    "AzureKeyVault": lambda world, servers: _azure_secrets(world, servers.azure),
    "AzureKeyVault, purging": lambda world, servers: _azure_secrets(world, servers.azure, enablePurge=True),
    "AzureKeyVaultKey": lambda world, servers: _azure(
        world, servers.azure, AzureKeyVaultKey, "AzureKeyVaultKey", keyName="main"
    ),
    "CustomSecretManager, Bash": _custom,
    "CustomSecretManager, Python": lambda world, servers: _custom(world, servers, "Python"),
    "CustomSecretManager over SSH": lambda world, servers: _custom(world, servers, remotely=True),
    "GcpKms": lambda world, servers: _google_keys(world, servers.google),
    "GcpSecretManager": lambda world, servers: _google_secrets(world, servers.google),
    "KubernetesSecrets": lambda world, servers: _kubernetes(world, servers.kubernetes),
    "Pkcs11, AES-GCM": lambda world, servers: _pkcs11(world, servers.token, "AES_GCM"),
    "Pkcs11, HMAC": lambda world, servers: _pkcs11(world, servers.token, "SHA256_HMAC"),
    "Vault, KV 1": lambda world, servers: _kv(world, servers.openbao, 1),
    "Vault, KV 2": lambda world, servers: _kv(world, servers.openbao, 2),
    "VaultTransit": lambda world, servers: _vault(
        world, servers.openbao, VaultTransit, "VaultTransit", secretEngineName="transit", keyName="main"
    ),
}
"""Kinds that write, with all of the contract."""


def _age(world: World, servers: Servers) -> Subject:
    folder = servers.folder / f"age-{secrets.token_hex(8)}"
    folder.mkdir()
    recipient, identity = new_identity()

    def lay(value: bytes) -> str:
        name = f"{secrets.token_hex(8)}.age"
        (folder / name).write_bytes(age_file(value, recipient))
        return name

    spec = {"directory": str(folder), "identity": "account.identity", "delegateSelectors": ["here"]}
    values = {"account.identity": identity.encode()}
    made = Subject(world, AgeFile, connector(world, "AgeFile", spec, *values), values)
    made.files, made.lay = (f"{folder}/*",), lay
    return made


def _onepassword(world: World, servers: Servers) -> Subject:
    name, connect = f"vault {secrets.token_hex(8)}", servers.connect
    vault = connect.vault(name)

    def lay(value: bytes) -> str:
        title, text = f"item {secrets.token_hex(8)}", value.decode(errors="replace")
        item = connect.item(vault, title)
        if text and text.encode() == value and len(value) <= 65_536:
            item.add("password", text, item.section("Admin"))
        else:
            item.attach("password", value)  # fields are text, and not empty
        return f"{name}/{title}/password"

    values = {"account.token": connect.token(vault).encode()}
    spec = {"url": servers.onepassword.url, "token": "account.token", "caCertificate": servers.onepassword.trust}
    made = Subject(world, OnePasswordConnect, connector(world, "OnePasswordConnect", spec, *values), values)
    made.lay = lay
    return made


def _conjur(world: World, servers: Servers) -> Subject:
    login, conjur, site = f"host/{secrets.token_hex(8)}", servers.variables, servers.conjur
    conjur.hosts[login] = Host()

    def lay(value: bytes) -> str:
        name = f"prod/{secrets.token_hex(8)}"
        conjur.variables[name] = [value]
        conjur.permit(login, name)
        return name

    who = {"type": "ApiKey", "spec": {"login": login, "apiKey": "account.key"}}
    spec = {"url": site.url, "account": conjur.account, "caCertificate": site.trust, "credential": who}
    values = {"account.key": conjur.hosts[login].api_key.encode()}
    made = Subject(world, CyberArkConjur, connector(world, "CyberArkConjur", spec, *values), values)
    made.lay, made.fits = lay, bool  # a variable is never empty
    return made


def _ccp(world: World, servers: Servers) -> Subject:
    name, ccp, site = secrets.token_hex(8), servers.accounts, servers.ccp
    key, certificate = servers.clients.issue()
    ccp.applications[name] = Application({load_pem_x509_certificate(certificate).serial_number})
    safe = ccp.safes[name] = Safe({name})

    def lay(value: bytes) -> str:
        safe.accounts.append(Account(value.decode(), secrets.token_hex(8)))
        return f"{name}/{safe.accounts[-1].name}"

    shown = {"clientCertificate": certificate.decode(), "clientKey": "account.key"}
    spec = {"url": site.url, "appId": name, "caCertificate": site.trust, **shown}
    made = Subject(world, CyberArkCcp, connector(world, "CyberArkCcp", spec, "account.key"), {"account.key": key})
    made.lay, made.longest, made.fits, made.members = lay, 65_536, is_password, False
    return made


def is_password(value: bytes) -> bool:
    """Whether it is text, and not empty."""
    try:
        return bool(value.decode())
    except UnicodeDecodeError:
        return False


READERS: Mapping[str, Callable[[World, Servers], Subject]] = {
    "AgeFile": _age,
    "CustomSecretManager, Bash, reading": lambda world, servers: _custom(world, servers, writes=False),
    "CustomSecretManager, Python, reading": lambda world, servers: _custom(world, servers, "Python", writes=False),
    "CyberArkCcp": _ccp,
    "CyberArkConjur": _conjur,
    "OnePasswordConnect": _onepassword,
}
"""Kinds that only read what is there."""

EVERY: Mapping[str, Callable[[World, Servers], Subject]] = {**SUBJECTS, **READERS}
