"""Vectors of direct fetches: what a connector reads that no secret document names, and by whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from shared.canonical import b64u
from shared.crypto.identity import Identity
from shared.documents.connector import CUSTOM
from shared.documents.task import Target
from shared.documents.usage import TaskUsage, Usage
from tests.vectors import actors as a
from tests.vectors.credentials import ORG, beginning, newest, task, version
from tests.vectors.stories import admit, judge

_PEOPLE = ("account", "keyring", "owner", "editor", "reader")
_VAULT = a.opaque("connector vault")
_COMMAND: dict[str, Any] = {"op": "exec", "repeat": "never", "to": a.DELEGATE.kid, "exp": a.NOW + 120, "seconds": 60,
                            "input": (b64u(a.fixed("command")),)}  # fmt: skip

_READ = ("a/b", "a/b#key", "a/b#k.e#y", "a/b/c", "a/b/c d/é#/../x", "a/b/%2e%2e/c", "a/b/...", "a/b/..c", "a/b/\\/x?y")
_ELSEWHERE = (
    "a",
    "a/bc",
    "a/b ",
    "a/b%2fc",
    "a/c",
    "A/b",
    "x/a/b",
    "a\u2215b",
    "a\uff0fb",
    "%61/b",
    "a/b\\c",
    "a/\uff42",
    "connector/a/b",
)
_NOWHERE = (
    "/", "/a/b", "a/b/", "a//b", "a/b//c", ".", "..", "./a/b", "a/./b", "a/b/.", "a/b/..", "a/b/../c", "../a/b", "#", "#a/b",
    "a/b\n", "a/b\n#key", "a/b/\x00", "a/b\x7f", "a/b\x1f/c", "a/b/../../x#key",
)  # fmt: skip


def fetches() -> dict[str, Any]:
    """Steps (5) and (8) for targets without a secret."""
    s = beginning()
    vault = a.connector("vault", type="Vault", scope=ORG, selectors=("eu",))
    s.sign("vault", a.OWNER, vault)
    below = f"connector/{_VAULT}/a/b"
    s.sign("fetcher", a.ADMINISTRATOR, a.grant("fetcher", a.DEPUTY, ("exec", "fetch", "reveal"), ORG, resource=below))
    basis = [*s.compact]
    pinned = (*_PEOPLE, "fetcher", "vault")
    one = Target(connector=_VAULT, reference="a/b")

    def told(
        name: str, expect: str = "accepted", pins: Sequence[str] = pinned, more: Sequence[str] = (),
        signer: Identity = a.DEPUTY, selectors: tuple[str, ...] = ("eu",), resolved: dict[str, Any] | None = None,
        **changes: Any,
    ) -> None:  # fmt: skip
        made = s.sign(f"task: {name}", signer, task(s, tuple(pins), **{"targets": (one,), **changes}))
        step = judge(made, expect, selectors=list(selectors), credentials=resolved)
        s.tell(name, basis, *(admit(each) for each in more), step)

    def at(reference: str, **members: Any) -> dict[str, Any]:
        return {"targets": (structs.replace(one, reference=reference, **members),)}

    for reference in _READ:
        told(f"read: {reference}", **at(reference))
    for reference in _ELSEWHERE:
        told(f"elsewhere: {reference}", "denied/grant_missing", **at(reference))
        told(f"elsewhere, by an administrator: {reference}", signer=a.ADMINISTRATOR, **at(reference))
    for number, reference in enumerate(_NOWHERE, 1):
        told(f"nowhere, {number}", "malformed/path_malformed", signer=a.ADMINISTRATOR, **at(reference))
    told("a version", **at("a/b", metadata={"version": "3"}))
    told("two paths", targets=(one, structs.replace(one, reference="a/b/c")))
    told("two paths, one elsewhere", "denied/grant_missing", targets=(one, structs.replace(one, reference="a")))
    told("in a command", **_COMMAND)
    secret = s.sign("secret password", a.EDITOR, a.secret())
    told("in a command beside a secret", pins=(*pinned, "local", secret), more=(secret,), signer=a.ADMINISTRATOR,
         selectors=("eu", "linux"), **{**_COMMAND, "targets": (one, version("password"))})  # fmt: skip
    # The form.
    wrongs: dict[str, dict[str, Any]] = {
        "without a path": {"reference": ""},
        "without a path, but with metadata": {"reference": "", "metadata": {"version": "1"}},
        "with other metadata": {"metadata": {"regions": "eu"}},
        "with more metadata": {"metadata": {"version": "1", "gcp_project_id": "x"}},
        "of a version of ours": {"n": 1},
        "of a version's task": {"version": b64u(a.fixed("store task"))},
        "that is meant to be the newest": {"latest": True},
        "of an excluded generation": {"excluded": True},
        "of a secret": {"secret": a.opaque("secret password")},
        "of a secret alone": {"secret": a.opaque("secret password"), "connector": None},
        "of nothing": {"connector": None},
    }
    for name, wrong in wrongs.items():
        for op, changes in (("reveal", {}), ("exec", _COMMAND)):
            told(f"a {op} {name}", "malformed/task_malformed", signer=a.ADMINISTRATOR,
                 **{**changes, "targets": (structs.replace(one, **wrong),)})  # fmt: skip
    digest = (b64u(a.fixed("input")),)
    never: dict[str, Any] = {"repeat": "never", "to": a.DELEGATE.kid, "exp": a.NOW + 120}
    others: dict[str, dict[str, Any]] = {"check": {}, "store": {"input": digest}, "delete": never}
    for op, changes in others.items():
        told(f"a {op} of a path", "malformed/task_malformed", signer=a.ADMINISTRATOR, op=op, **changes)
    there: dict[str, Any] = {"pins": (*pinned, "local", secret), "more": (secret,), "signer": a.ADMINISTRATOR}
    besides: dict[str, dict[str, Any]] = {"reference": {"reference": "a/b"}, "metadata": {"metadata": {"version": "1"}}}
    for name, more in besides.items():
        told(f"a secret with a {name}", "malformed/task_malformed", **there,
             targets=(structs.replace(version("password"), **more),))  # fmt: skip
    told("a connector that isn't pinned", "malformed/pin_missing", pins=pinned[:-1])
    # Who may.
    held: dict[str, tuple[tuple[str, ...], str, str | None, str]] = {
        "with all": (("exec", "fetch", "reveal"), ORG, None, "accepted"),
        "for the connector": (("exec", "fetch", "reveal"), "account", f"connector/{_VAULT}", "accepted"),
        "for a longer path": (("exec", "fetch", "reveal"), ORG, f"connector/{_VAULT}/a/b/c", "denied/grant_missing"),
        "for a like path": (("exec", "fetch", "reveal"), ORG, f"connector/{_VAULT}/a/bc", "denied/grant_missing"),
        "without fetch": (
            ("admin", "delete", "edit", "exec", "reveal", "use"),
            "account",
            None,
            "denied/grant_missing",
        ),
        "without reveal": (
            ("admin", "delete", "edit", "exec", "fetch", "use"),
            "account",
            None,
            "denied/grant_missing",
        ),
        "of a project": (("exec", "fetch", "reveal"), a.PROJECT, None, "denied/grant_missing"),
        "of another organisation": (("exec", "fetch", "reveal"), "org/other", None, "denied/grant_missing"),
        "for a secret of that id": (("exec", "fetch", "reveal"), ORG, _VAULT, "denied/grant_missing"),
    }
    for name, (permissions, scope, resource, expect) in held.items():
        grant = s.sign(
            f"grant {name}", a.ADMINISTRATOR, a.grant(name, a.RENEWER, permissions, scope, resource=resource)
        )
        told(f"by one {name}", expect, pins=(*pinned, grant), more=(grant,), signer=a.RENEWER)
    told("in a command by one without exec", "denied/grant_missing", signer=a.READER, **_COMMAND)
    both = (
        s.sign("reveals", a.ADMINISTRATOR, a.grant("reveals", a.RENEWER, ("reveal",), ORG)),
        s.sign(
            "fetches", a.ADMINISTRATOR, a.grant("fetches", a.RENEWER, ("fetch",), ORG, resource=f"connector/{_VAULT}/a")
        ),
    )
    told("by two grants", pins=(*pinned, *both), more=both, signer=a.RENEWER)
    told(
        "by two grants of which one isn't pinned",
        "denied/grant_missing",
        pins=(*pinned, both[0]),
        more=both,
        signer=a.RENEWER,
    )
    # The connector.
    for name, member, expect, stated in (
        ("of another keyring", {"keyring": "other"}, "denied/connector_of_other_keyring", None),
        ("for the platform", {"spec": {"executeOnDelegate": False}}, "denied/connector_for_platform", None),
        ("for tests", {"usage": Usage(environments=("test",))}, "denied/usage_missing", None),
        (
            "for tests that is stated",
            {"usage": Usage(environments=("test",))},
            "accepted",
            TaskUsage(environment="test"),
        ),
    ):
        other = a.connector(f"other_{len(s.compact)}", type="Vault", scope=ORG, **member)
        signed = s.sign(f"vault {name}", a.ADMINISTRATOR, other)
        told(f"a connector {name}", expect, pins=(*pinned, signed), more=(signed,), signer=a.ADMINISTRATOR, usage=stated,
             targets=(structs.replace(one, connector=other.id),), selectors=())  # fmt: skip
    gone = s.sign("vault deleted", a.OWNER, a.after(vault, a.OWNER, deleted=True))
    told("a connector that is deleted", "conflict/connector_deleted", pins=(*pinned[:-1], gone), more=(gone,))
    key = s.sign("secret key", a.ADMINISTRATOR, a.secret("key", scope="account"))
    naming = s.sign("vault that names a key", a.ADMINISTRATOR, a.after(vault, a.OWNER, secrets=("account.key",)))
    named: dict[str, Any] = {"pins": (*pinned[:-1], "local", key, naming), "more": (key, naming)}
    told("a connector's credentials", credentials=(newest("key"),), selectors=("eu", "linux"),
         resolved={_VAULT: {"account.key": a.opaque("secret key")}}, **named)  # fmt: skip
    told("a connector without its credentials", "malformed/pin_missing", **named)
    # Inputs of a script are no path.
    script = a.template(scope=ORG)
    custom = a.connector("custom", type=CUSTOM, scope=ORG, template=a.running(script))
    whole = a.grant("whole", a.RENEWER, ("fetch", "reveal"), ORG, resource=f"connector/{custom.id}")
    made = (
        s.sign("script", a.ADMINISTRATOR, script), s.sign("custom", a.ADMINISTRATOR, custom),
        s.sign("whole", a.ADMINISTRATOR, whole),
    )  # fmt: skip
    part = s.sign(
        "part", a.ADMINISTRATOR, structs.replace(whole, id=a.opaque("grant part"), resource=f"{whole.resource}/a")
    )
    for number, inputs in enumerate(('{"path":"a/../b"}', "a", "/", "#", "a\n"), 1):
        about: dict[str, Any] = {"targets": (Target(connector=custom.id, reference=inputs),), "signer": a.RENEWER}
        told(f"inputs, {number}", pins=(*pinned, *made), more=made, selectors=(), **about)
        told(f"inputs by a grant of a path, {number}", "denied/grant_missing", pins=(*pinned, *made[:2], part),
             more=(*made[:2], part), **about)  # fmt: skip
    return s.file("Direct fetches (formats, section 11, steps (5) and (8)).")
