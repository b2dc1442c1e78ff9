"""Templates and SSHKeys as documents: what they may say, what a version label is, and what older parties see of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import structs

from shared.canonical import blob_digest, encode
from shared.crypto.identity import Identity
from shared.documents.connector import CUSTOM, ConnectorDocument
from shared.documents.fields import Payload
from shared.documents.grant import PERMISSIONS, GrantDocument
from shared.documents.jws import parse
from shared.documents.secret import SSH_KEY
from shared.documents.task import Pin, Target
from shared.documents.template import TemplateContent, TemplateDocument, TemplateInput, TemplateUse, content_digest
from shared.errors import Malformed
from shared.names import check_version_label, has_path_form
from tests.fakes.world import World

WORLD = World()
DIGEST = "A" * 43
PYTHON = {"shell": "Python"}


def again(payload: Payload, **changes: Any) -> Payload:
    """What a reader makes of `payload` with these members. Raises Malformed."""
    signer: Identity = WORLD.administrator
    return parse(signer.sign_document(structs.replace(payload, **changes))).document


def template(**content: Any) -> TemplateDocument:
    return WORLD.template_document("script", "org/acme", content=content)


def test_a_template_goes_there_and_back_with_all_that_it_says() -> None:
    full = template(
        **PYTHON,
        write="write",
        remove="remove",
        inputs=(TemplateInput(name="path"), TemplateInput(name="empty", value=""), TemplateInput(name="_", value="x")),
        selectors=("linux",),
        secrets=("account.key", "key", "org.key"),
    )
    full = structs.replace(full, description="x", tags={"a": "b"}, deleted=True)
    assert again(full) == full
    assert full.place_name == "script@1"


@pytest.mark.parametrize(
    "content",
    [
        {"type": "Script"},
        {"shell": "Zsh"},
        {"shell": "bash"},
        {"script": ""},
        {"script": "x" * 65_537},
        {"write": "x" * 65_537},
        {"remove": "x" * 65_537},
        {"inputs": (TemplateInput(name="a"), TemplateInput(name="a", value="x"))},
        {"inputs": (TemplateInput(name="a-b"),)},
        {"inputs": (TemplateInput(name="a", value="x" * 4_097),)},
        {"inputs": tuple(TemplateInput(name=f"a{at}") for at in range(65))},
        {"selectors": ("Linux",)},
        {"selectors": ("a",) * 65},
        {"secrets": ("b", "a")},
        {"secrets": ("a", "a")},
        {"secrets": ("project.a",)},
        {"secrets": tuple(f"a{at:02}" for at in range(65))},
    ],
)
def test_another_content_is_malformed(content: dict[str, Any]) -> None:
    plain = template()
    raw = msgspec.to_builtins(plain.content)
    with pytest.raises((Malformed, ValueError)):
        # What a constructor refuses too is made past it, as an attacker does.
        again(structs.replace(plain, content=TemplateContent(**{**raw, **content})))


def test_the_account_s_template_names_no_organisation_s_secret() -> None:
    assert again(WORLD.template_document("script", content={"secrets": ("a", "account.a")}))
    organisations = template(secrets=("account.a", "org.a"))
    with pytest.raises(ValueError, match=r"content\.secrets"):
        again(organisations, scope="account")


@pytest.mark.parametrize("label", ["1", "v1.0.3", "0", "a" * 64, "1-β_é", "1,2", "1+b", "v1@x"])
def test_a_version_label_is_short_and_has_no_white_space(label: str) -> None:
    assert check_version_label(label) == label
    document = again(template(), version=label)
    assert isinstance(document, TemplateDocument) and document.version == label


# What only one of Python and ECMAScript calls white space is among them.
@pytest.mark.parametrize(
    "label",
    [
        "",
        "-1",
        ".1",
        "_1",
        "é",
        "a" * 65,
        "1 2",
        "1\n",
        "1\t2",
        "1/2",
        "1&2",
        "1\x00",
        "1\x1f",
        "1\x7f",
        "1\x85",
        "1\ufeff",
        "1\xa0",
        "1\u2028",
        "1\u2029",
        "1\u3000",
        "1\u2003",
    ],
)
def test_another_version_label_is_malformed(label: str) -> None:
    with pytest.raises(Malformed) as caught:
        check_version_label(label)
    assert caught.value.code == "version_label_malformed"
    with pytest.raises(Malformed):
        again(template(), version=label)


def test_the_digest_of_a_content_is_that_of_its_canonical_text() -> None:
    plain = template(script="x", secrets=("a",))
    assert encode(plain.content) == b'{"script":"x","secrets":["a"],"shell":"Bash","type":"SecretManager"}'
    assert content_digest(plain) == blob_digest(encode(plain.content))


# Connectors and secrets.


def test_only_a_custom_secret_manager_runs_a_template() -> None:
    use = TemplateUse(id="a" * 26, content=DIGEST)
    custom = again(WORLD.connector_document("custom", type=CUSTOM, template=use))
    assert isinstance(custom, ConnectorDocument) and custom.template == use
    for kind in ("Local", "Vault", "CustomSecretManagers"):
        with pytest.raises(ValueError, match="no template"):
            WORLD.connector_document("other", type=kind, template=use)
    for wrong in ({"id": "x"}, {"content": "x"}):
        with pytest.raises(Malformed):
            again(WORLD.connector_document("custom", type=CUSTOM, template=structs.replace(use, **wrong)))


def test_an_sshkey_is_its_settings_and_the_secrets_that_it_names() -> None:
    login = WORLD.secret_document(
        "login", type=SSH_KEY, spec={"auth": {"type": "SSH", "port": 22}}, secrets=("account.a", "b")
    )
    assert again(login) == login


@pytest.mark.parametrize(
    ("changes", "member"),
    [
        ({"reference": "a/b"}, "no reference"),
        ({"metadata": {"version": "1"}}, "no reference"),
        ({"filename": "id_rsa"}, "no reference"),
        ({"secrets": ("b", "a")}, "secrets"),
        ({"secrets": ("a", "a")}, "secrets"),
        ({"secrets": ("org.a",)}, "secrets"),
        ({"spec": {"port": 1.5}}, "spec"),
        ({"spec": {"é": 1}}, "spec"),
    ],
)
def test_an_sshkey_says_nothing_else(changes: dict[str, Any], member: str) -> None:
    with pytest.raises(ValueError, match=member):
        WORLD.secret_document("login", **{"type": SSH_KEY, **changes})


def test_an_sshkey_names_at_most_eight_secrets() -> None:
    names = tuple(f"a{at}" for at in range(9))
    with pytest.raises(Malformed):
        again(WORLD.secret_document("login", type=SSH_KEY, secrets=names))
    assert again(WORLD.secret_document("login", type=SSH_KEY, secrets=names[:8]))


@pytest.mark.parametrize("kind", ["SecretText", "SecretFile"])
@pytest.mark.parametrize("changes", [{"spec": {"a": 1}}, {"secrets": ("a",)}])
def test_a_value_has_neither_settings_nor_secrets(kind: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="but in an SSHKey"):
        WORLD.secret_document("password", type=kind, **changes)


# What older parties know.


def test_documents_that_use_nothing_new_are_what_they_were() -> None:
    """Byte for byte: an older party refuses members that it doesn't know, even at their default."""
    new = {"template", "spec", "secrets", "reference", "metadata"}
    secret, connector = WORLD.secret_document("password"), WORLD.connector_document("kms")
    for document in (secret, connector, Target(secret="a" * 26, n=1)):
        assert not new & msgspec.json.decode(encode(document), type=dict[str, Any]).keys()
    assert encode(Target(secret="a" * 26, n=1)) == b'{"n":1,"secret":"' + b"a" * 26 + b'"}'


def test_every_permission_can_be_granted_at_once_in_their_order() -> None:
    assert list(PERMISSIONS) == sorted(PERMISSIONS) and "fetch" in PERMISSIONS
    grant = again(WORLD.grant_document(WORLD.delegate, PERMISSIONS))
    assert isinstance(grant, GrantDocument) and grant.permissions == PERMISSIONS
    with pytest.raises(Malformed):
        again(WORLD.grant_document(WORLD.delegate, (*PERMISSIONS, "view")))


@pytest.mark.parametrize("resource", ["a" * 26, "connector/" + "a" * 26, "connector/" + "a" * 26 + "/x/y z/é/..."])
def test_a_grant_is_of_a_secret_a_connector_or_a_path(resource: str) -> None:
    grant = again(WORLD.grant_document(WORLD.delegate, resource=resource))
    assert isinstance(grant, GrantDocument) and grant.resource == resource


def test_a_template_can_be_pinned() -> None:
    assert Pin("template", "a" * 26, 1, DIGEST).kind == "template"
    world = World()
    custom = world.custom("custom", world.template("script"))
    kinds = {pin.kind for pin in world.check(custom).document.pins}
    assert "template" in kinds


@pytest.mark.parametrize("path", ["a", "a/b", "a b/c", "...", "a/..b", "é", "a\\b", "%2e%2e", "arn:aws:x"])
def test_a_path_is_parts_joined_by_slashes(path: str) -> None:
    assert has_path_form(path)


@pytest.mark.parametrize(
    "path", ["", "/", "/a", "a/", "a//b", ".", "..", "a/.", "a/../b", "a#b", "a\nb", "a\n", "\x7f"]
)
def test_no_part_of_a_path_is_empty_or_a_step(path: str) -> None:
    assert not has_path_form(path)
