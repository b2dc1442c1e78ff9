"""The model of an SSHKey: every field, its errors by their paths, its references, and the bundle that carries its values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.canonical import encode
from shared.errors import Malformed
from shared.ssh import (
    CREDENTIAL_TYPES,
    LARGEST_BUNDLE,
    ByKeyPath,
    ByKeyReference,
    ByPassword,
    check_host,
    is_bundle,
    pack,
    read_spec,
    references,
    unpack,
)
from tests.unit.shared.test_known_hosts import KEY

KINDS: dict[str, dict[str, Any]] = {
    "KeyReference": {"userName": "deploy", "key": "account.pem", "encryptedPassphrase": "org.pp"},
    "KeyPath": {"userName": "deploy", "keyPath": "/etc/privyseal/id", "encryptedPassphrase": "pp"},
    "Password": {"userName": "deploy", "password": "account.pw"},
}


def spec(kind: str = "KeyReference", *, without: str = "", **others: Any) -> dict[str, Any]:
    fields = {name: value for name, value in {**KINDS[kind], **others}.items() if name != without}
    return {"auth": {"type": "SSH", "spec": {"credentialType": kind, "spec": fields}}}


def test_the_yaml_that_users_have_is_read() -> None:
    read = read_spec({"port": 2222, **spec(), "knownHosts": [f"db {KEY}"]})
    assert (read.port, read.known_hosts) == (2222, (f"db {KEY}",))
    assert read.credential == ByKeyReference(user_name="deploy", key="account.pem", encrypted_passphrase="org.pp")


def test_the_port_is_22_and_a_passphrase_may_be_absent_or_null() -> None:
    assert read_spec(spec()).port == 22
    assert read_spec(spec(encryptedPassphrase=None)) == read_spec(spec(without="encryptedPassphrase"))


def test_every_credential_type_names_its_secrets_by_their_fields() -> None:
    assert set(KINDS) == set(CREDENTIAL_TYPES)
    assert references(read_spec(spec())) == {
        "auth.spec.spec.key": "account.pem",
        "auth.spec.spec.encryptedPassphrase": "org.pp",
    }
    assert references(read_spec(spec("KeyPath"))) == {"auth.spec.spec.encryptedPassphrase": "pp"}
    assert references(read_spec(spec("KeyPath", without="encryptedPassphrase"))) == {}
    assert references(read_spec(spec("Password"))) == {"auth.spec.spec.password": "account.pw"}
    assert isinstance(read_spec(spec("KeyPath")).credential, ByKeyPath)
    assert isinstance(read_spec(spec("Password")).credential, ByPassword)


@pytest.mark.parametrize(
    ("wrong", "path", "why"),
    [
        ({}, "spec.auth", "it isn't told who logs in"),
        ({"auth": {"type": "Kerberos", "spec": {"principal": "p"}}}, "spec.auth.type", "Kerberos isn't offered"),
        ({"auth": {"type": "Ntlm"}}, "spec.auth.type", "Invalid authentication type: give one of SSH"),
        ({"auth": {"type": "SSH"}}, "spec.auth.spec", "it isn't told who logs in"),
        ({"auth": {"type": "SSH", "spec": {"spec": {}}}}, "spec.auth.spec.credentialType", "Invalid credential type"),
        (
            {"auth": {"type": "SSH", "spec": {"credentialType": "Agent", "spec": {}}}},
            "spec.auth.spec.credentialType",
            "give one of KeyReference, KeyPath, Password",
        ),
        (
            {"auth": {"type": "SSH", "spec": {"credentialType": "Password"}}},
            "spec.auth.spec.spec",
            "user and the credential are missing",
        ),
        (spec(without="userName"), "spec.auth.spec.spec.userName", "must provide a user name"),
        (spec(userName=""), "spec.auth.spec.spec.userName", "visible characters"),
        (spec(userName="a\nb"), "spec.auth.spec.spec.userName", "visible characters"),
        (spec(without="key"), "spec.auth.spec.spec.key", "must provide the private key"),
        (spec(key="-----BEGIN KEY"), "spec.auth.spec.spec.key", "the private key itself goes into that secret"),
        (spec("KeyPath", without="keyPath"), "spec.auth.spec.spec.keyPath", "path of the private key on the delegate"),
        (spec("KeyPath", keyPath="~/.ssh/id"), "spec.auth.spec.spec.keyPath", "absolute path on the delegate"),
        (spec("KeyPath", keyPath="/a/../b"), "spec.auth.spec.spec.keyPath", "absolute path on the delegate"),
        (spec("KeyPath", keyPath="/a\n"), "spec.auth.spec.spec.keyPath", "absolute path on the delegate"),
        (spec("KeyPath", keyPath=7), "spec.auth.spec.spec.keyPath", "the path of a private key on the delegate"),
        (spec("Password", without="password"), "spec.auth.spec.spec.password", "must provide the password"),
        (spec("Password", password="p w"), "spec.auth.spec.spec.password", "the password itself goes into that secret"),
        (
            spec("Password", key="k"),
            "spec.auth.spec.spec.key",
            "there is no such field: give one of userName, password",
        ),
        ({**spec(), "port": 0}, "spec.port", "a port, 1 to 65535"),
        ({**spec(), "port": 65_536}, "spec.port", "a port, 1 to 65535"),
        ({**spec(), "port": "22"}, "spec.port", "a port, 1 to 65535"),
        ({**spec(), "host": "db"}, "spec.host", "there is no such field: give one of port, auth, knownHosts"),
        ({**spec(), "knownHosts": "db"}, "spec.knownHosts", "at most 64 lines"),
        ({**spec(), "knownHosts": [f"db {KEY}"] * 65}, "spec.knownHosts", "at most 64 lines"),
        ({**spec(), "knownHosts": [f"db {KEY}", "db"]}, "spec.knownHosts[1]", "hosts, a type and a key"),
    ],
)
def test_what_is_wrong_is_told_by_its_path_and_without_its_value(wrong: dict[str, Any], path: str, why: str) -> None:
    with pytest.raises(Malformed, match=why) as refused:
        read_spec(wrong)
    assert refused.value.code == "ssh_malformed"
    assert refused.value.facts["path"] == path
    for value in ("BEGIN KEY", "p w", "Agent", "Ntlm", "~/.ssh"):
        assert value not in str(refused.value.problem())


def test_a_spec_that_is_empty_as_a_whole_is_told_at_its_own_place() -> None:
    with pytest.raises(Malformed) as refused:
        read_spec({"auth": []})
    assert refused.value.facts == {"path": "spec.auth"}


@pytest.mark.parametrize(
    ("host", "dialled"),
    [
        ("DB.example.com", "db.example.com"),
        ("db_1", "db_1"),
        ("10.0.0.5", "10.0.0.5"),
        ("2001:DB8:0::5", "2001:db8::5"),
        ("[::1]", "::1"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_a_host_is_one_name_or_address(host: str, dialled: str) -> None:
    assert check_host(host) == dialled


@pytest.mark.parametrize(
    "host",
    [
        "", "root@db", "-oProxyCommand=x", "db:22", "[db]:22", "[db]", "db db", "db\n", "db/x", "fe80::1%eth0", "2130706433",
        "0x7f000001", "127.1", "10.0.0.5.", "a" * 254, "*.example.com", "db;id", "$(id)", "[::1", "bücher.example",
    ],
)  # fmt: skip
def test_what_is_more_or_less_than_a_host_is_refused(host: str) -> None:
    with pytest.raises(Malformed) as refused:
        check_host(host)
    assert refused.value.code == "ssh_host_malformed"


VALUES = {"account.pem": b"a private key", "org.pp": b"\x00\xff"}


def test_a_bundle_comes_back_as_it_was_packed_in_one_form() -> None:
    packed = pack(spec(), VALUES)
    assert packed == encode({"spec": spec(), "values": {"account.pem": "YSBwcml2YXRlIGtleQ", "org.pp": "AP8"}})
    bundle = unpack(packed)
    assert bundle.spec == read_spec(spec())
    assert bundle.values == VALUES
    assert repr(bundle) == "Bundle(***)"
    assert is_bundle(packed) and not is_bundle(packed + b" ")


@pytest.mark.parametrize("values", [{}, {"account.pem": b""}, {**VALUES, "account.more": b""}])
def test_a_bundle_has_exactly_the_values_that_its_spec_names(values: dict[str, bytes]) -> None:
    with pytest.raises(Malformed, match=r"aren't exactly those") as refused:
        pack(spec(), values)
    assert refused.value.code == "ssh_bundle_malformed"
    with pytest.raises(Malformed, match=r"aren't exactly those"):
        unpack(encode({"spec": spec(), "values": dict.fromkeys(values, "")}))


def test_a_bundle_larger_than_a_mebibyte_is_neither_packed_nor_unpacked() -> None:
    with pytest.raises(Malformed, match=r"larger than 1 MiB"):
        pack(spec(), {**VALUES, "account.pem": bytes(LARGEST_BUNDLE)})
    with pytest.raises(Malformed, match=r"larger than 1 MiB"):
        unpack(bytes(LARGEST_BUNDLE + 1))


@pytest.mark.parametrize(
    "packed",
    [
        b"", b"{}", b'{"spec":{},"values":{}}', b' {"spec":{},"values":{}}',
        encode({"spec": spec(), "values": {"account.pem": "YQ==", "org.pp": ""}}),
        encode({"spec": spec(), "values": {"account.pem": "", "org.pp": ""}, "more": 1}),
    ],
)  # fmt: skip
def test_what_nobody_packed_is_malformed(packed: bytes) -> None:
    with pytest.raises(Malformed):
        unpack(packed)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda one: st.lists(one) | st.dictionaries(st.text(), one)))
def test_garbage_is_refused_in_one_way(value: Any) -> None:
    given_spec = value if isinstance(value, dict) else {"auth": value}
    with pytest.raises(Malformed):
        read_spec(given_spec)
