"""Vectors of revisions: what one revision may change in the one before, and who may sign it."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from shared.canonical import b64u
from shared.crypto.identity import Identity
from shared.documents.answer import AnswerDocument
from shared.documents.checked import CheckedDocument
from shared.documents.output import OutputDocument
from shared.documents.template import TemplateInput
from shared.documents.usage import Usage
from tests.vectors import actors as a
from tests.vectors.stories import Stories, admit


def revisions() -> dict[str, Any]:
    """Secrets, connectors, scopes and keyrings."""
    s = Stories()
    project = a.opaque("grant owner")
    s.sign("account", a.ROOT, a.ACCOUNT_1)
    s.sign("status", a.ADMINISTRATOR, a.status())
    s.sign("owner", a.ADMINISTRATOR, a.grant("owner", a.OWNER, ("admin", "delete", "edit", "use"), "org/orders"))
    s.sign("editor", a.OWNER, a.grant("editor", a.EDITOR, ("edit",), a.PROJECT, parent=project))
    s.sign("reader", a.ADMINISTRATOR, a.grant("reader", a.READER, ("reveal", "use", "view"), "account"))
    basis = ["account", "status", "owner", "editor", "reader"]

    first = a.secret()
    s.sign("secret", a.EDITOR, first)
    second = a.after(first, a.EDITOR, name="renamed")
    s.sign("secret 2", a.EDITOR, second)
    s.sign("another secret 2", a.EDITOR, a.after(first, a.EDITOR, name="other"))
    s.sign("secret 2 after another", a.EDITOR, structs.replace(second, prev=b64u(bytes(32))))
    s.sign("secret 2 without prev", a.EDITOR, structs.replace(second, prev=None))
    s.sign("secret 1 with prev", a.EDITOR, structs.replace(first, prev=b64u(bytes(32))))
    s.sign("another secret 1", a.EDITOR, structs.replace(first, name="other"))
    s.sign("secret 9", a.EDITOR, structs.replace(second, rev=9, prev=b64u(bytes(32))))
    s.sign("secret by the reader", a.READER, first)
    s.sign("secret by a stranger", a.STRANGER, first)
    s.sign("secret of another account", a.EDITOR, structs.replace(first, acct="a" * 52))
    s.sign("secret elsewhere", a.ADMINISTRATOR, structs.replace(first, scope="account"))
    s.sign("secret above", a.EDITOR, a.secret("above", scope="org/orders"))
    s.sign("secret deleted by the editor", a.EDITOR, a.after(first, a.EDITOR, deleted=True))
    s.sign("secret deleted", a.OWNER, a.after(first, a.EDITOR, deleted=True))
    s.sign("secret deleted, then alive", a.OWNER, a.after(s.payload("secret deleted"), a.OWNER, deleted=False))
    broken = s.compact["secret"]
    s.put("secret changed", broken[:-8] + ("A" if broken[-8] != "A" else "B") + broken[-7:])

    s.tell("a secret", basis, admit("secret"))
    s.tell("its next revision", [*basis, "secret"], admit("secret 2"))
    s.tell("its first again", [*basis, "secret", "secret 2"], admit("secret"))
    s.tell("a gap", [*basis, "secret"], admit("secret 9"))
    s.tell("a later revision alone", basis, admit("secret 2"))
    s.tell("an older one", [*basis, "secret 9"], admit("secret 2", "conflict/revision_stale"))
    s.tell(
        "two second revisions", [*basis, "secret", "secret 2"], admit("another secret 2", "tampered/revision_forked")
    )
    s.tell("two first revisions", [*basis, "secret"], admit("another secret 1", "tampered/revision_forked"))
    s.tell(
        "one that continues another", [*basis, "secret"], admit("secret 2 after another", "tampered/revision_forked")
    )
    s.tell("a second without prev", [*basis, "secret"], admit("secret 2 without prev", "malformed/revision_malformed"))
    s.tell("a first with prev", basis, admit("secret 1 with prev", "malformed/revision_malformed"))
    s.tell("one by who may only read", basis, admit("secret by the reader", "denied/grant_missing"))
    s.tell("one by a stranger", basis, admit("secret by a stranger", "unauthenticated/signer_unknown"))
    s.tell("one of another account", basis, admit("secret of another account", "tampered/account_foreign"))
    s.tell("one whose signature is changed", basis, admit("secret changed", "tampered/signature_invalid"))
    s.tell("one above the signer's scope", basis, admit("secret above", "denied/grant_missing"))
    s.tell("an id stays in its scope", [*basis, "secret"], admit("secret elsewhere", "conflict/field_immutable"))
    s.tell(
        "deleted by who may only edit",
        [*basis, "secret"],
        admit("secret deleted by the editor", "denied/grant_missing"),
    )
    s.tell("deleted", [*basis, "secret"], admit("secret deleted"))
    s.tell(
        "alive again",
        [*basis, "secret", "secret deleted"],
        admit("secret deleted, then alive", "conflict/document_deleted"),
    )
    s.tell("one before any account document", [], admit("secret", "unauthenticated/signer_unknown"))

    s.sign("connector", a.ADMINISTRATOR, a.connector())
    s.sign("connector below", a.EDITOR, a.connector("below", scope=a.PROJECT))
    s.sign("connector by the owner", a.OWNER, a.connector("higher"))
    s.tell("a connector", basis, admit("connector"))
    s.tell("a connector in a project", basis, admit("connector below"))
    s.tell("a connector above the signer's scope", basis, admit("connector by the owner", "denied/grant_missing"))

    s.sign("organisation", a.ADMINISTRATOR, a.scope_document("orders"))
    s.sign("project", a.OWNER, a.scope_document("backend", scope="org/orders"))
    s.sign("organisation by the owner", a.OWNER, a.scope_document("other"))
    s.sign("project by the editor", a.EDITOR, a.scope_document("third", scope="org/orders"))
    s.tell("an organisation", basis, admit("organisation"))
    s.tell("a project", basis, admit("project"))
    s.tell(
        "an organisation by who administers another", basis, admit("organisation by the owner", "denied/grant_missing")
    )
    s.tell("a project by who may only edit", basis, admit("project by the editor", "denied/grant_missing"))

    changes: list[tuple[str, Identity, dict[str, Any]]] = [
        ("secret", a.EDITOR, {"identifier": "other"}),
        ("secret", a.EDITOR, {"type": "SecretFile"}),
        ("secret", a.EDITOR, {"connector": a.opaque("connector other")}),
        ("connector", a.ADMINISTRATOR, {"identifier": "other"}),
        ("connector", a.ADMINISTRATOR, {"type": "Other"}),
        ("connector", a.ADMINISTRATOR, {"keyring": "other"}),
        ("organisation", a.ADMINISTRATOR, {"identifier": "other"}),
    ]
    for name, signer, change in changes:
        field = next(iter(change))
        made = s.sign(f"{name} with another {field}", signer, a.after(s.payload(name), signer, **change))
        s.tell(f"a {name}'s {field} can't change", [*basis, name], admit(made, "conflict/field_immutable"))
    for name, signer, change in (
        ("secret", a.EDITOR, {"description": "x", "tags": {"a": "b"}, "filename": "x"}),
        ("connector", a.ADMINISTRATOR, {"spec": {"a": 1}, "selectors": ("linux",), "description": "x"}),
        ("organisation", a.ADMINISTRATOR, {"name": "x", "description": "x"}),
    ):
        made = s.sign(f"{name} with other members", signer, a.after(s.payload(name), signer, **change))
        s.tell(f"the rest of a {name} can change", [*basis, name], admit(made))

    _templates(s, basis)

    keyring = a.KEYS_1.document(1, None, a.NOW)
    s.sign("keyring", a.ADMINISTRATOR, keyring)
    s.sign("keyring by the owner", a.OWNER, keyring)
    s.sign("keyring 2", a.ADMINISTRATOR, a.KEYS.document(2, s.digest("keyring"), a.NOW))
    s.sign("keyring 3 back", a.ADMINISTRATOR, a.KEYS_1.document(3, s.digest("keyring 2"), a.NOW))
    s.tell("a keyring", basis, admit("keyring"))
    s.tell("a keyring by no administrator", basis, admit("keyring by the owner", "denied/keyring_unfounded"))
    s.tell("a keyring's next generation", [*basis, "keyring"], admit("keyring 2"))
    s.tell(
        "a keyring's generation can't go back",
        [*basis, "keyring", "keyring 2"],
        admit("keyring 3 back", "conflict/field_immutable"),
    )

    s.sign("answer", a.DELEGATE, AnswerDocument(v=1, acct=a.ACCOUNT, task=s.digest("secret"), code="ok", iat=a.NOW))
    s.sign("certificate", a.KEYS.generation(1).certifying, a.certificate())
    s.put("garbage", "a.b.c")
    s.sign(
        "output", a.DELEGATE, OutputDocument(v=1, acct=a.ACCOUNT, task=s.digest("secret"), sealed="A" * 43, iat=a.NOW)
    )
    tested = CheckedDocument(
        v=1, acct=a.ACCOUNT, connector=a.opaque("connector local"), revision="A" * 43, code="ok", iat=a.NOW
    )
    s.sign("checked", a.DELEGATE, tested)
    for name in ("answer", "certificate", "checked", "output"):
        s.tell(f"a {name} isn't kept", basis, admit(name, "malformed/document_unexpected"))
    s.tell("garbage", basis, admit("garbage", "malformed"))
    return s.file("Revisions of documents (formats, section 9).")


def _templates(s: Stories, basis: list[str]) -> None:
    """A template: by whom, and what of it stays."""
    script = a.template(scope="org/orders", inputs=(TemplateInput(name="path"),))
    authors: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
        ("author", ("edit", "exec"), {}),
        ("one who edits", ("admin", "delete", "edit", "reveal", "use"), {}),
        ("one who runs", ("exec", "reveal"), {}),
        ("one for one thing", ("edit", "exec"), {"resource": script.id}),
        ("one for tests", ("edit", "exec"), {"usage": Usage(environments=("test",))}),
        ("one of a project", ("edit", "exec"), {"scope": a.PROJECT}),
    ]
    for name, permissions, changes in authors:
        scope = changes.pop("scope", "org/orders")
        grant = s.sign(name, a.ADMINISTRATOR, a.grant(name, a.DEPUTY, permissions, scope, **changes))
        expect = {"author": "accepted", "one for tests": "denied/usage_not_granted"}.get(name, "denied/grant_missing")
        made = s.sign(f"template by {name}", a.DEPUTY, structs.replace(script, iat=a.NOW))
        s.tell(f"a template by {name}", [*basis, grant], admit(made, expect))
        if name != "author":
            s.tell(f"a template by {name}, who is also an author", [*basis, "author", grant], admit(made))
    first = s.sign("template", a.ADMINISTRATOR, script)
    known = [*basis, "author", first]
    for name, signer, change, expect in (
        ("another name", a.DEPUTY, {"name": "x", "description": "x", "tags": {"a": "b"}}, "accepted"),
        ("another identifier", a.ADMINISTRATOR, {"identifier": "other"}, "conflict/field_immutable"),
        ("another label", a.ADMINISTRATOR, {"version": "2"}, "conflict/field_immutable"),
        ("another content", a.ADMINISTRATOR, {"content": structs.replace(script.content, write="x")}, "conflict/field_immutable"),
        ("another input", a.ADMINISTRATOR, {"content": structs.replace(script.content, inputs=())}, "conflict/field_immutable"),
        ("another scope", a.ADMINISTRATOR, {"scope": "account"}, "conflict/field_immutable"),
        ("its end by an author", a.DEPUTY, {"deleted": True}, "denied/grant_missing"),
        ("its end", a.OWNER, {"deleted": True}, "accepted"),
        ("its end with another content", a.OWNER, {"deleted": True, "version": "2"}, "conflict/field_immutable"),
        ("another name by who may only delete", a.OWNER, {"name": "x"}, "denied/grant_missing"),
    ):  # fmt: skip
        made = s.sign(f"template with {name}", signer, a.after(script, a.ADMINISTRATOR, **change))
        s.tell(f"a template, then {name}", known, admit(made, expect))
    ended = s.payload("template with its end")
    again = s.sign("template, alive again", a.ADMINISTRATOR, a.after(ended, a.OWNER, deleted=False))
    s.tell(
        "a template that is alive again", [*known, "template with its end"], admit(again, "conflict/document_deleted")
    )
    later = s.sign("template after a gap", a.ADMINISTRATOR, structs.replace(ended, rev=9, deleted=False))
    s.tell(
        "a template after a gap, when it has ended",
        [*known, "template with its end"],
        admit(later, "conflict/document_deleted"),
    )
    s.tell("a later revision alone of a template", [*basis, "author"], admit(later))
