"""An `SSHKey`: who logs in where over SSH. Its sensitive parts are references to other secrets, never values.

    port: 22
    auth:
      type: SSH
      spec:
        credentialType: KeyReference      # or KeyPath, Password
        spec: { userName: deploy, key: account.key, encryptedPassphrase: account.passphrase }
    knownHosts: ["db.example.com ssh-ed25519 AAAA..."]

The fields are those of the YAML that users have; `knownHosts` is ours. Also the *bundle*: an SSHKey together with the values that
it names, which is what a delegate hands to whatever connects. Must not do anything with a value but carry it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from shared.canonical import b64u, decode, encode, unb64u
from shared.connectors.fields import Forms, Refused, Way, read
from shared.documents.fields import SecretReference
from shared.errors import Malformed
from shared.known_hosts import KEY_TYPES, PORT, parse

CREDENTIAL_TYPES: Final = ("KeyReference", "KeyPath", "Password")
LARGEST_BUNDLE: Final = 1024 * 1024

_SECRET = "the reference of a secret: account.NAME, org.NAME or NAME"  # noqa: S105 (a form, no secret)
_USER = "the user to log in as, 1 to 256 visible characters"
_LINE = f"a line as in known_hosts: HOST TYPE KEY, where TYPE is one of {', '.join(KEY_TYPES)}"
_KERBEROS = "Kerberos isn't offered: log in by a key (KeyReference, KeyPath) or a Password, with type SSH"

_HOST = re.compile(r"(?=.{1,253}\Z)([a-z0-9_]([a-z0-9_\-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_\-]{0,61}[a-z0-9_])?\Z")
_NUMBER = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)\Z")

UserName = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)")]
HostLine = Annotated[str, Meta(min_length=1, max_length=16_384)]

_FORMS = Forms(
    choices={"auth.type": ("SSH",), "auth.spec.credentialType": CREDENTIAL_TYPES},
    named={"auth.type": "Invalid authentication type", "auth.spec.credentialType": "Invalid credential type"},
    forms={
        "auth.spec.spec.encryptedPassphrase": f"{_SECRET}; the passphrase itself goes into that secret",
        "auth.spec.spec.key": f"{_SECRET}; the private key itself goes into that secret",
        "auth.spec.spec.keyPath": "the path of a private key on the delegate",
        "auth.spec.spec.password": f"{_SECRET}; the password itself goes into that secret",
        "auth.spec.spec.userName": _USER,
        "knownHosts": f"at most 64 lines, each {_LINE}",
        "port": "a port, 1 to 65535",
    },
    missing={
        "auth": "it isn't told who logs in: give auth",
        "auth.type": "Invalid authentication type",
        "auth.spec": "it isn't told who logs in: give the spec of auth",
        "auth.spec.credentialType": "Invalid credential type",
        "auth.spec.spec": "the user and the credential are missing: give the spec of that credentialType",
        "auth.spec.spec.key": "You must provide the private key, as a secret",
        "auth.spec.spec.keyPath": "You must provide the path of the private key on the delegate",
        "auth.spec.spec.password": "You must provide the password, as a secret",
        "auth.spec.spec.userName": "You must provide a user name",
    },
    ways={
        "auth.spec.credentialType": {
            "KeyReference": Way(
                ("auth.spec.spec.userName", "auth.spec.spec.key"), ("auth.spec.spec.encryptedPassphrase",)
            ),
            "KeyPath": Way(
                ("auth.spec.spec.userName", "auth.spec.spec.keyPath"), ("auth.spec.spec.encryptedPassphrase",)
            ),
            "Password": Way(("auth.spec.spec.userName", "auth.spec.spec.password")),
        }
    },
)


class _Fields(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """Fields are written in camelCase, as in the YAML."""


class ByKeyReference(_Fields, frozen=True, kw_only=True):
    """A private key that is held as a secret, and its passphrase where it has one."""

    user_name: UserName
    key: SecretReference
    encrypted_passphrase: SecretReference | None = None


class ByKeyPath(_Fields, frozen=True, kw_only=True):
    """A private key in a file on the delegate, and its passphrase where it has one."""

    user_name: UserName
    key_path: str
    encrypted_passphrase: SecretReference | None = None

    def __post_init__(self) -> None:
        if not re.match(r"/[^\x00-\x1f\x7f]{0,4095}\Z", self.key_path) or {".", ".."} & set(self.key_path.split("/")):
            raise Refused("auth.spec.spec.keyPath", "give an absolute path on the delegate, without ~, . and ..")


class ByPassword(_Fields, frozen=True, kw_only=True):
    """A password that is held as a secret."""

    user_name: UserName
    password: SecretReference


class KeyReference(_Fields, frozen=True, tag_field="credentialType", tag="KeyReference"):
    """`credentialType: KeyReference`."""

    spec: ByKeyReference


class KeyPath(_Fields, frozen=True, tag_field="credentialType", tag="KeyPath"):
    """`credentialType: KeyPath`."""

    spec: ByKeyPath


class Password(_Fields, frozen=True, tag_field="credentialType", tag="Password"):
    """`credentialType: Password`."""

    spec: ByPassword


class Ssh(_Fields, frozen=True, tag_field="type", tag="SSH"):
    """`type: SSH`: a user with a key or a password."""

    spec: KeyReference | KeyPath | Password


class Kerberos(msgspec.Struct, frozen=True, tag_field="type", tag="Kerberos"):
    """`type: Kerberos`, which other systems have: refused in words that say what there is instead."""

    def __post_init__(self) -> None:
        raise Refused("auth.type", _KERBEROS, ("SSH",))


class SshSpec(_Fields, frozen=True, kw_only=True):
    """The `spec` of an SSHKey, valid. `credential` is what logs in."""

    port: Annotated[int, Meta(ge=1, le=65_535)] = PORT
    auth: Ssh | Kerberos
    known_hosts: Annotated[tuple[HostLine, ...], Meta(max_length=64)] = ()

    def __post_init__(self) -> None:
        for at, text in enumerate(self.known_hosts):
            try:
                parse(text)
            except ValueError as why:
                raise Refused(f"knownHosts[{at}]", f"{why}; give {_LINE}") from None

    @property
    def credential(self) -> ByKeyReference | ByKeyPath | ByPassword:
        """User name and what proves it."""
        assert isinstance(self.auth, Ssh)
        return self.auth.spec.spec


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """An SSHKey with the values that it names, by reference. Not to be logged, so it has no words of its own."""

    spec: SshSpec
    values: Mapping[str, bytes]

    def __repr__(self) -> str:
        return "Bundle(***)"


def read_spec(spec: Mapping[str, Any]) -> SshSpec:
    """The `spec` of an SSHKey. Raises Malformed: ssh_malformed, with the field's `path` and what is `allowed`, never a value."""
    try:
        return read(SshSpec, spec, _FORMS)
    except Refused as why:
        place = f"spec.{why.path}" if why.path else "spec"
        facts = {"path": place, **({"allowed": list(why.allowed)} if why.allowed else {})}
        raise Malformed("ssh_malformed", f"{place} of the SSHKey: {why.detail}", "see docs/ssh.md", **facts) from None


def references(spec: SshSpec) -> dict[str, str]:
    """The secrets that it names, by the path of the field that names them, in the order of the fields."""
    one = spec.credential
    found: dict[str, str | None] = {}
    if isinstance(one, ByPassword):
        found["auth.spec.spec.password"] = one.password
    else:
        if isinstance(one, ByKeyReference):
            found["auth.spec.spec.key"] = one.key
        found["auth.spec.spec.encryptedPassphrase"] = one.encrypted_passphrase
    return {path: reference for path, reference in found.items() if reference is not None}


def check_host(host: str) -> str:
    """The name or address to dial, in lower case and without brackets. Raises Malformed: ssh_host_malformed.

    It is one name or address alone: no user, port, option, zone of an address, nor a number that stands for an address.
    """
    bare = host.lower()
    if bare.startswith("[") and bare.endswith("]") and ":" in bare:
        bare = bare[1:-1]
    try:
        # Zones are of one machine: what `%` begins is refused with what is no address.
        return str(ip_address(bare.replace("%", " ")))
    except ValueError:
        pass
    if not _HOST.match(bare) or _NUMBER.match(bare):
        raise Malformed(
            "ssh_host_malformed",
            "the host to log in at isn't a name or an address",
            "give db.example.com, 10.0.0.5 or 2001:db8::5; the user stands in the SSHKey's userName, the port in its port",
        )
    return bare


def pack(spec: Mapping[str, Any], values: Mapping[str, bytes]) -> bytes:
    """The bundle: canonical JSON {"spec": the spec, "values": {reference: the value in base64url}}.

    Raises Malformed for a spec that isn't valid, for values that aren't exactly those that it names, and for a bundle above 1 MiB.
    """
    _check_values(read_spec(spec), values)
    packed = encode(_Packed(spec=dict(spec), values={name: b64u(value) for name, value in values.items()}))
    if len(packed) > LARGEST_BUNDLE:
        raise Malformed("ssh_bundle_malformed", "the SSHKey with its values is larger than 1 MiB", "see docs/ssh.md")
    return packed


def unpack(packed: bytes) -> Bundle:
    """What `pack` made. Raises Malformed."""
    if len(packed) > LARGEST_BUNDLE:
        raise Malformed("ssh_bundle_malformed", "the SSHKey with its values is larger than 1 MiB", "see docs/ssh.md")
    found = decode(packed, _decoder, "ssh bundle")
    spec, values = read_spec(found.spec), {name: unb64u(value) for name, value in found.values.items()}
    _check_values(spec, values)
    return Bundle(spec=spec, values=values)


def is_bundle(raw: bytes) -> bool:
    """Whether it is what `pack` made."""
    try:
        unpack(raw)
    except Malformed:
        return False
    return True


def _check_values(spec: SshSpec, values: Mapping[str, bytes]) -> None:
    if set(values) != set(references(spec).values()):
        raise Malformed(
            "ssh_bundle_malformed",
            "the values aren't exactly those of the secrets that the SSHKey names",
            "see docs/ssh.md",
        )


class _Packed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    spec: dict[str, Any]
    values: dict[str, str]


_decoder = msgspec.json.Decoder(_Packed)
