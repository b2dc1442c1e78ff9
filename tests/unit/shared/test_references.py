"""References: a stored secret by its place, or a provider's own by a connector, and nothing that could mean two things."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Malformed
from shared.names import Reference, Scope
from shared.references import LONGEST, DirectReference, parse

HERE = Scope("sales", "shop")
ORG = Scope("sales")
ACCOUNT = Scope()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("account.x", Reference(ACCOUNT, "x")),
        ("org.x", Reference(ORG, "x")),
        ("x", Reference(HERE, "x")),
    ],
)
def test_a_plain_reference_is_a_stored_secrets_place(text: str, place: Reference) -> None:
    assert parse(text, HERE) == place


@pytest.mark.parametrize(
    ("text", "scope", "kind", "reference", "metadata"),
    [
        ("hashicorpvault://conn/path/secret#key", HERE, "Vault", "path/secret#key", {}),
        ("account.hashicorpvault://conn/path/secret#a.b", ACCOUNT, "Vault", "path/secret#a.b", {}),
        ("org.hashicorpvault://conn/path?version=3#key", ORG, "Vault", "path#key", {"version": "3"}),
        ("hashicorpvault://conn/a path/s=x@y+z", HERE, "Vault", "a path/s=x@y+z", {}),
        ("awssecretsmanager://conn/prod/db", HERE, "AwsSecretManager", "prod/db", {}),
        ("awssecretsmanager://conn/db?version=AWSPREVIOUS", HERE, "AwsSecretManager", "db", {"version": "AWSPREVIOUS"}),
        ("account.azurevault://conn/name", ACCOUNT, "AzureKeyVault", "name", {}),
        ("azurevault://conn/name#a#b", HERE, "AzureKeyVault", "name#a#b", {}),
        ("gcpsecretsmanager://conn/name", HERE, "GcpSecretManager", "name", {}),
        ("gcpsecretsmanager://conn/name/7", HERE, "GcpSecretManager", "name", {"version": "7"}),
        ("gcpsecretsmanager://conn/name/7#key", HERE, "GcpSecretManager", "name#key", {"version": "7"}),
        ("gcpsecretsmanager://conn/name/latest", HERE, "GcpSecretManager", "name", {"version": "latest"}),
        ("gcpsecretsmanager://conn/name?version=7", HERE, "GcpSecretManager", "name", {"version": "7"}),
        ("hashicorpvault://conn/a/b#key with/every:thing%20", HERE, "Vault", "a/b#key with/every:thing%20", {}),
    ],
)
def test_a_direct_reference_names_a_connector_and_what_it_reads(
    text: str, scope: Scope, kind: str, reference: str, metadata: dict[str, str]
) -> None:
    assert parse(text, HERE) == DirectReference(Reference(scope, "conn"), kind, reference, metadata)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("://conn/path", "no type"),
        ("account.://conn/path", "no type"),
        ("onepassword://conn/path", "type that isn't known"),
        ("HashicorpVault://conn/path", "type that isn't known"),
        ("project.hashicorpvault://conn/path", "type that isn't known"),
        ("account.org.hashicorpvault://conn/path", "type that isn't known"),
        ("hashicorpvault://", "no detail part"),
        ("hashicorpvault://conn", "no detail part"),
        ("hashicorpvault://conn/", "no detail part"),
        ("hashicorpvault:///path", "no detail part"),
        ("hashicorpvault:/conn/path", "no legal form"),
        ("hashicorpvault:conn", "no legal form"),
        ("conn/path", "no legal form"),
        ("/", "no legal form"),
        ("hashicorpvault://account.conn/path", "no connector"),
        ("hashicorpvault://con n/path", "no connector"),
        ("hashicorpvault://user@host/path", "no connector"),
        ("gcpsecretsmanager://conn/name/7/8", "more than a name and a version"),
        ("gcpsecretsmanager://conn/name/7?version=7", "more than a name and a version"),
        ("gcpsecretsmanager://conn/name/seven", "version that can't be one"),
        ("gcpsecretsmanager://conn/name/07", "version that can't be one"),
        ("gcpsecretsmanager://conn/name?version=AWSPREVIOUS", "version that can't be one"),
        ("hashicorpvault://conn/path?version=", "version that can't be one"),
        ("hashicorpvault://conn/path?version=a/b", "version that can't be one"),
        ("hashicorpvault://conn/path?version=1?version=2", "version that can't be one"),
        ("hashicorpvault://conn/path#", "# without a key"),
        ("hashicorpvault://conn/path#key?version=3", "key that can't be one"),
        ("hashicorpvault://conn/path#ke\ny", "key that can't be one"),
    ],
)
def test_what_is_no_reference_is_refused_with_what_is_wrong(text: str, what: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(text, HERE)
    assert caught.value.code == "reference_malformed" and what in caught.value.detail and caught.value.hint


@pytest.mark.parametrize(
    "path",
    [
        "../a",
        "a/../b",
        "a/..",
        "./a",
        "a/./b",
        "a//b",
        "/a",
        "a/",
        "a/ .. /b",
        "a/ /b",
        "a%2f..%2fb",
        "%2e%2e/a",
        "a\\..\\b",
        "a\0b",
        "a\nb",
        "a\x7fb",
        "a\x85b",
        "a\u202eb",
        "a\u2028b",
        "a?list=true",
        "a?version=1&x=2",
        "#key",
    ],
)
@pytest.mark.parametrize("scheme", ["hashicorpvault", "awssecretsmanager", "azurevault", "gcpsecretsmanager"])
def test_a_reference_that_climbs_out_of_its_path_is_refused(scheme: str, path: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(f"{scheme}://conn/{path}", HERE)
    assert caught.value.code == "reference_malformed"


def test_an_organisations_connector_is_refused_where_there_is_none() -> None:
    with pytest.raises(Malformed) as caught:
        parse("org.hashicorpvault://conn/path", ACCOUNT)
    assert caught.value.code == "reference_out_of_scope"


def test_a_reference_that_is_too_long_is_refused() -> None:
    assert isinstance(parse("hashicorpvault://conn/".ljust(LONGEST, "a"), HERE), DirectReference)
    with pytest.raises(Malformed, match="too long"):
        parse("hashicorpvault://conn/".ljust(LONGEST + 1, "a"), HERE)


PIECES = st.sampled_from(
    ["hashicorpvault", "gcpsecretsmanager", "://", "account.", "org.", "/", "..", "#", "?version=", "a", "1", "%2e"]
)


@given(st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join))
def test_garbage_is_a_reference_or_malformed(text: str) -> None:
    try:
        found = parse(text, HERE)
    except Malformed:
        return
    if isinstance(found, DirectReference):
        path = found.reference.partition("#")[0]
        assert path.isprintable() and not {"", ".", ".."} & set(path.split("/")) and "%" not in path
