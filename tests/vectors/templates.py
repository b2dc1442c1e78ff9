"""Vectors of templates: what a connector runs, by whom, with what secrets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from shared.crypto.identity import Identity
from shared.documents.connector import CUSTOM
from shared.documents.secret import SSH_KEY
from shared.documents.task import Target
from shared.documents.template import TemplateDocument
from tests.vectors import actors as a
from tests.vectors.credentials import ORG, beginning, newest, task, version
from tests.vectors.stories import Stories, admit, judge

PEOPLE = ("account", "keyring", "owner", "editor", "reader")
_CUSTOM = a.opaque("connector custom")


def check(name: str) -> dict[str, Any]:
    """What a task says that checks the connector of that name."""
    return {"op": "check", "targets": (Target(connector=a.opaque(f"connector {name}")),)}


def stage() -> Stories:
    """As for credentials, with an author of templates in the organisation."""
    s = beginning()
    s.sign("author", a.ADMINISTRATOR, a.grant("author", a.DEPUTY, ("edit", "exec"), ORG))
    return s


def custom(
    s: Stories, name: str, document: TemplateDocument, signer: Identity = a.ADMINISTRATOR, **changes: Any
) -> str:
    """A custom secret manager in the project, which runs that template as it is; the first of `secrets` is its connectorRef."""
    spec = {"connectorRef": changes["secrets"][0]} if changes.get("secrets") else {}
    plain = a.connector(name, type=CUSTOM, template=a.running(document), scope=a.PROJECT, spec=spec)
    return s.sign(name, signer, structs.replace(plain, **changes))


def templates() -> dict[str, Any]:
    """Step (7): the template of a connector in use, and step (10): what that names."""
    s = stage()
    script = a.template(scope=ORG)
    s.sign("script", a.DEPUTY, script)
    custom(s, "custom", script, selectors=("bash",))
    s.sign("secret in custom", a.EDITOR, a.secret("in_custom", connector=_CUSTOM))
    pinned = (*PEOPLE, "author", "custom", "script")
    basis = [*s.compact]
    bash = ("bash",)

    def told(
        name: str, expect: str = "accepted", pins: Sequence[str] = pinned, more: Sequence[str] = (),
        held: tuple[Target, ...] = (), resolved: dict[str, Any] | None = None, selectors: tuple[str, ...] = bash,
        setup: Sequence[str] = (), signer: Identity = a.ADMINISTRATOR, of: str = "custom", **changes: Any,
    ) -> None:  # fmt: skip
        about = {**check(of), **changes}
        made = s.sign(f"task: {name}", signer, task(s, tuple(pins), credentials=held, **about))
        step = judge(made, expect, selectors=list(selectors), credentials=resolved)
        s.tell(name, [*(setup or basis)], *(admit(one) for one in more), step)

    told("a check of what runs a template")
    in_custom: dict[str, Any] = {
        "op": "reveal",
        "pins": (*pinned, "secret in custom"),
        "targets": (version("in_custom"),),
    }
    told("a reveal of what one reads", signer=a.READER, **in_custom)
    told("a connector of that kind without a template", pins=(*PEOPLE, custom(s, "bare", script, template=None)),
         more=("bare",), selectors=(), of="bare")  # fmt: skip
    told("a template that isn't pinned", "malformed/pin_missing", pins=pinned[:-1])
    told("a reveal without its template pinned", "malformed/pin_missing", signer=a.READER,
         **{**in_custom, "pins": (*pinned[:-1], "secret in custom")})  # fmt: skip
    told("a template whose author isn't pinned", "denied/grant_missing", pins=(*PEOPLE, *pinned[6:]))
    # What is run.
    evil = a.template(scope=ORG, script="secret=evil")
    other = s.sign("another of that name", a.DEPUTY, structs.replace(script, id=a.opaque("another template")))
    swapped = s.sign("other content", a.DEPUTY, evil)
    without = [one for one in basis if one != "script"]
    told("another of the same name", "malformed/pin_missing", pins=(*pinned[:-1], other), more=(other,))
    told("other content under the same id, to a book without memory", "denied/template_changed",
         pins=(*pinned[:-1], swapped), setup=without, more=(swapped,))  # fmt: skip
    told("the same to a book that has seen the first", "not_ready/documents_missing", pins=(*pinned[:-1], swapped))
    s.sign("second author", a.ADMINISTRATOR, a.grant("second author", a.RENEWER, ("edit", "exec"), ORG))
    renamed = s.sign("renamed", a.RENEWER, a.after(script, a.DEPUTY, name="renamed"))
    told("a template that somebody renamed who may write it", pins=(*pinned[:-1], "second author", renamed),
         more=("second author", renamed))  # fmt: skip
    told("a template of which there is a newer revision", "conflict/pin_stale", more=("second author", renamed))
    deleted = s.sign("script deleted", a.ADMINISTRATOR, a.after(script, a.DEPUTY, deleted=True))
    told("a template that is deleted", "conflict/template_deleted", pins=(*pinned[:-1], deleted), more=(deleted,))
    gone = s.sign("script deleted by the owner", a.OWNER, a.after(script, a.DEPUTY, deleted=True))
    told("a template that is deleted by who may not write it", "denied/grant_missing", pins=(*pinned[:-1], gone),
         more=(gone,))  # fmt: skip
    second = s.sign("version 2", a.DEPUTY, a.template(version="2", scope=ORG, script="secret=y"))
    moved = s.sign("custom 2", a.ADMINISTRATOR, a.after(s.payload("custom"), a.ADMINISTRATOR,
                                                       template=a.running(s.payload(second))))  # fmt: skip
    told("another version that the connector names", pins=(*pinned[:6], moved, second), more=(second, moved))
    told("the older version for the newer", "malformed/pin_missing", pins=(*pinned[:6], moved, "script"), more=(moved,))
    # Who may have it run.
    for what, change in (("grant", {"grants": (a.opaque("grant author"),)}), ("key", {"keys": (a.DEPUTY.kid,)})):
        status = s.sign(f"revokes the author's {what}", a.ADMINISTRATOR, a.after(a.status(), a.ADMINISTRATOR, **change))
        told(f"an author whose {what} is revoked", f"denied/{what}_revoked", more=(status,))
    less = s.sign(
        "author without exec", a.ADMINISTRATOR, a.after(s.payload("author"), a.ADMINISTRATOR, permissions=("edit",))
    )
    told(
        "an author who may not run anything any more",
        "denied/grant_missing",
        pins=(*PEOPLE, less, *pinned[6:]),
        more=(less,),
    )
    # Where it lives, and the usage of its connector.
    for name, home, at in (
        ("beside", f"{ORG}/project/other", a.PROJECT), ("below", a.PROJECT, ORG), ("elsewhere", "org/other", a.PROJECT),
    ):  # fmt: skip
        away = a.template(f"script_{name}", scope=home)
        made = (s.sign(f"script {name}", a.ADMINISTRATOR, away), custom(s, f"custom_{name}", away, scope=at))
        told(f"a template {name} its connector", "denied/template_out_of_scope", pins=(*PEOPLE, *made), more=made,
             of=f"custom_{name}")  # fmt: skip
    near = s.sign("script near", a.ADMINISTRATOR, a.template("near"))
    custom(s, "custom_near", s.payload(near))
    told("a template of the same project", pins=(*PEOPLE, near, "custom_near"), more=(near, "custom_near"), selectors=(),
         of="custom_near")  # fmt: skip
    _named(s, told, basis)
    return s.file("Templates that connectors run (formats, section 11, steps (7) and (10)).")


def _named(s: Stories, told: Any, basis: list[str]) -> None:
    """What a template names: seen from its own scope, by its author, and among what the connector names."""
    key = s.sign("key", a.ADMINISTRATOR, a.secret("key", scope="account"))
    near = s.sign("key of the organisation", a.ADMINISTRATOR,
                  structs.replace(a.secret("key", scope=ORG), id=a.opaque("secret near")))  # fmt: skip
    use = s.sign("use of key", a.ADMINISTRATOR,
                 a.grant("use of key", a.DEPUTY, ("use",), "account", resource=a.opaque("secret key")))  # fmt: skip
    script = a.template("needy", scope=ORG, secrets=("account.key",))
    needy = s.sign("needy", a.DEPUTY, script)
    held = (newest("key"),)
    for name, named, more, expect in (
        ("that its author may use", ("account.key",), (use,), "accepted"),
        ("that its author may not use", ("account.key",), (), "denied/grant_missing"),
        ("that the connector doesn't name", (), (use,), "malformed/template_secret_unnamed"),
        ("of another place that the connector does", ("org.key",), (use,), "malformed/template_secret_unnamed"),
    ):
        id = f"runs_needy_{len(s.compact)}"
        runs = custom(s, id, script, secrets=named)
        documents = (key, near, *more, needy, runs)
        found = {a.opaque(f"connector {id}"): {"account.key": a.opaque("secret key")}}
        targets = () if not named else held if named[0] == "account.key" else (newest("near"), *held)
        told(f"a template names a secret {name}", expect, pins=(*PEOPLE, "author", "local", *documents), held=targets,
             more=documents, resolved=found, selectors=("linux",), of=id)  # fmt: skip
    own = a.template("own", scope=ORG, secrets=("key",))
    made = (near, s.sign("own", a.ADMINISTRATOR, own), custom(s, "runs_own", own, secrets=("org.key",)))
    told("a name that means another place to the connector", pins=(*PEOPLE, "local", *made), more=made,
         held=(newest("near"),), selectors=("linux",), of="runs_own",
         resolved={a.opaque("connector runs_own"): {"org.key": a.opaque("secret near")}})  # fmt: skip
    made = (near, "own", custom(s, "runs_own_as_key", own, secrets=("key",)))
    told("the same name of another place", "malformed/template_secret_unnamed", pins=(*PEOPLE, *made), more=made,
         held=(newest("near"),), of="runs_own_as_key")  # fmt: skip
    login = s.sign("login", a.ADMINISTRATOR, a.secret("login", scope="account", type=SSH_KEY))
    greedy = a.template("greedy", scope=ORG, secrets=("account.login",))
    made = (
        login,
        s.sign("greedy", a.ADMINISTRATOR, greedy),
        custom(s, "runs_greedy", greedy, secrets=("account.login",)),
    )
    told("a template that names an SSHKey", "malformed/credential_unfit", pins=(*PEOPLE, "local", *made), more=made,
         held=(Target(secret=a.opaque("secret login"), latest=True),), of="runs_greedy")  # fmt: skip
