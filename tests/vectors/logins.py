"""Vectors of SSHKeys: among credentials, where only custom secret managers name them, and tried at a host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from shared.canonical import b64u
from shared.crypto.identity import Identity
from shared.documents.secret import SSH_KEY
from shared.documents.task import Target
from shared.documents.template import TemplateDocument
from shared.documents.usage import Usage
from tests.vectors import actors as a
from tests.vectors.credentials import newest, task
from tests.vectors.stories import Stories, admit, judge
from tests.vectors.templates import PEOPLE, check, custom, stage

_CUSTOM = a.opaque("connector custom")


def logins() -> dict[str, Any]:
    """SSHKeys: among credentials, and tried at a host."""
    s = stage()
    wide: dict[str, Any] = {"scope": "account"}
    s.sign("key", a.ADMINISTRATOR, a.secret("key", **wide))
    s.sign("login", a.ADMINISTRATOR, a.secret("login", type=SSH_KEY, secrets=("key",), **wide))
    s.sign("outer", a.ADMINISTRATOR, a.secret("outer", type=SSH_KEY, secrets=("login",), **wide))
    s.sign("theirs", a.EDITOR, a.secret("theirs", type=SSH_KEY, secrets=("account.key",)))
    script = a.template(scope="account")
    s.sign("script", a.ADMINISTRATOR, script)
    custom(s, "custom", script, secrets=("account.login",), selectors=("bash",))
    basis = [*s.compact]
    login = Target(secret=a.opaque("secret login"), latest=True)
    pinned = (*PEOPLE, "local", "custom", "script", "login", "key")
    found: dict[str, Any] = {
        _CUSTOM: {"account.login": login.secret},
        a.opaque("secret login"): {"key": a.opaque("secret key")},
    }
    both = (login, newest("key"))

    def told(
        name: str, expect: str = "accepted", pins: Sequence[str] = pinned, held: tuple[Target, ...] = both,
        more: Sequence[str] = (), resolved: dict[str, Any] | None = None, selectors: tuple[str, ...] = ("bash", "linux"),
        signer: Identity = a.ADMINISTRATOR, **changes: Any,
    ) -> None:  # fmt: skip
        about = {**check("custom"), **changes}
        made = s.sign(f"task: {name}", signer, task(s, tuple(pins), credentials=held, **about))
        step = judge(made, expect, selectors=list(selectors), credentials=found if resolved is None else resolved)
        s.tell(name, basis, *(admit(one) for one in more), step)

    told("an SSHKey of a custom secret manager")
    malformed: dict[str, dict[str, Any]] = {
        "of a version": {"n": 1},
        "with a version's task": {"version": b64u(a.fixed("store task"))},
        "of a version with its task": {"n": 1, "version": b64u(a.fixed("store task"))},
        "that isn't meant to be the newest": {"latest": False},
        "of an excluded generation": {"excluded": True},
        "with a host": {"reference": "host"},
        "with metadata": {"metadata": {"version": "1"}},
    }
    for name, wrong in malformed.items():
        told(f"an SSHKey {name}", "malformed/task_malformed", held=(structs.replace(login, **wrong), both[1]))
    for name in ("with a host", "with metadata"):
        wrong = malformed[name]
        told(f"its key {name}", "malformed/task_malformed", held=(login, structs.replace(both[1], **wrong)))
    told("its key of no version", "malformed/task_malformed", held=(login, newest("key", n=0, version=None)))
    told("an SSHKey without what it names", "malformed/pin_missing", held=(login,))
    told("what it names without the SSHKey", "malformed/pin_missing", held=both[1:])
    told("an SSHKey that isn't pinned", "malformed/pin_missing", pins=(*pinned[:-2], "key"))
    home = s.sign("home", a.ADMINISTRATOR, a.connector("home", selectors=("gpu",)))
    keyless = s.sign(
        "keyless", a.ADMINISTRATOR, a.secret("keyless", type=SSH_KEY, connector=a.opaque("connector home"), **wide)
    )
    alone, user = (
        Target(secret=a.opaque("secret keyless"), latest=True),
        custom(s, "user", script, secrets=("account.keyless",)),
    )
    told("an SSHKey whose connector has selectors", pins=(*pinned, home, keyless, user), more=(home, keyless, user),
         held=(alone,), selectors=(), resolved={a.opaque("connector user"): {"account.keyless": alone.secret}},
         **check("user"))  # fmt: skip
    # Where an SSHKey belongs.
    for kind in ("AwsKms", "Vault"):
        made = s.sign(kind, a.ADMINISTRATOR, a.connector(kind, type=kind, secrets=("account.login",)))
        told(f"an SSHKey for {kind}", "malformed/credential_unfit", pins=(*pinned, made), more=(made,), **check(kind))
    for what, spec in (
        ("a variable", {}),
        ("a host", {"host": "account.login"}),
        ("another name", {"connectorRef": "login"}),
    ):
        made = custom(s, f"with_{len(s.compact)}", script, secrets=("account.login",), spec=spec)
        told(f"an SSHKey for {what} of a custom secret manager", "malformed/credential_unfit", pins=(*pinned, made), more=(made,),
             **check(made))  # fmt: skip
    made = custom(s, "outermost", script, secrets=("account.outer",))
    outer = Target(secret=a.opaque("secret outer"), latest=True)
    told("an SSHKey in an SSHKey", "malformed/credential_unfit", pins=(*pinned, "outer", made), more=(made,),
         held=(outer, *both), **check("outermost"))  # fmt: skip
    # Who signed it.
    made = custom(s, "with_theirs", script, secrets=("theirs",))
    theirs = Target(secret=a.opaque("secret theirs"), latest=True)
    others: dict[str, Any] = {"held": (theirs, both[1]), "more": (made,), **check("with_theirs")}
    told(
        "an SSHKey whose signer may not use its key",
        "denied/grant_missing",
        pins=(*pinned[:-2], "key", "theirs", made),
        **others,
    )
    use = s.sign("use of key", a.ADMINISTRATOR,
                 a.grant("use of key", a.EDITOR, ("use",), "account", resource=a.opaque("secret key")))  # fmt: skip
    told(
        "an SSHKey whose signer may use its key", pins=(*pinned[:-2], "key", "theirs", made, use), selectors=("linux",),
        resolved={a.opaque("connector with_theirs"): {"theirs": theirs.secret},
                  a.opaque("secret theirs"): {"account.key": a.opaque("secret key")}},
        **{**others, "more": (made, use)},
    )  # fmt: skip
    his = custom(s, "of_editor", script, a.EDITOR, secrets=("account.login",))
    told("a connector whose signer may not use the SSHKey", "denied/grant_missing", pins=(*pinned, his), more=(his,),
         **check("of_editor"))  # fmt: skip
    enough = s.sign("use of login", a.ADMINISTRATOR,
                    a.grant("use of login", a.EDITOR, ("use",), "account", resource=a.opaque("secret login")))  # fmt: skip
    told("a connector whose signer may use the SSHKey alone", pins=(*pinned, his, enough), more=(his, enough), selectors=("linux",),
         resolved={a.opaque("connector of_editor"): found[_CUSTOM], a.opaque("secret login"): found[a.opaque("secret login")]},
         **check("of_editor"))  # fmt: skip
    # Whether it counts.
    floor = s.sign(
        "floors", a.ADMINISTRATOR, a.after(a.status(), a.ADMINISTRATOR, secrets={a.opaque("secret login"): 9})
    )
    told("an SSHKey has no floor", more=(floor,))
    gone = s.sign("login deleted", a.ADMINISTRATOR, a.after(s.payload("login"), a.ADMINISTRATOR, deleted=True))
    told("an SSHKey that is deleted", "conflict/secret_deleted", pins=(*pinned[:-2], gone, "key"), more=(gone,))
    test = s.sign("login for tests", a.ADMINISTRATOR,
                  a.after(s.payload("login"), a.ADMINISTRATOR, usage=Usage(environments=("test",))))  # fmt: skip
    told("an SSHKey for another usage", "denied/usage_missing", pins=(*pinned[:-2], test, "key"), more=(test,))
    _tried(s, told, pinned, found)
    _deep(s, told, script)
    same = s.sign("of the same id", a.ADMINISTRATOR, structs.replace(a.connector("same"), id=a.opaque("secret login")))
    for turn in (1, -1):
        targets = (Target(connector=_CUSTOM), Target(connector=a.opaque("secret login")))[::turn]
        told(f"a connector of an SSHKey's id, by turn {turn}", "malformed/task_malformed", pins=(*pinned, same),
             more=(same,), targets=targets)  # fmt: skip
    return s.file("SSHKeys (formats, section 11, steps (8) and (10)).")


def _tried(s: Stories, told: Any, pinned: tuple[str, ...], found: dict[str, Any]) -> None:
    """Checks at a host, and what else a task may not do with an SSHKey."""
    id = a.opaque("secret login")
    at = Target(secret=id, reference="db.internal:22")
    key = (newest("key"),)
    names = (*PEOPLE, "local", "login", "key")
    plain: dict[str, Any] = {"pins": names, "held": key, "selectors": ("linux",), "resolved": {id: found[id]}}
    told("a check at a host", targets=(at,), **plain)
    told("checks at two hosts", targets=(at, structs.replace(at, reference="x")), **plain)
    told("a check at a host, beside that of a connector", targets=(at, Target(connector=_CUSTOM)))
    told("a check at a host without its key", "malformed/pin_missing", targets=(at,), **{**plain, "held": ()})
    told("a check at a host that names itself a credential", "malformed/task_malformed", targets=(at,),
         **{**plain, "held": (Target(secret=id, latest=True), *key)})  # fmt: skip
    tester = s.sign("tester", a.ADMINISTRATOR, a.grant("tester", a.RENEWER, ("use",), "account", resource=id))
    told(
        "a check by who may use it",
        targets=(at,),
        signer=a.RENEWER,
        more=(tester,),
        **{**plain, "pins": (*names, tester)},
    )
    told("a check by who may not", "denied/grant_missing", targets=(at,), signer=a.RENEWER, more=(tester,), **plain)
    wrongs: dict[str, dict[str, Any]] = {
        "nowhere": {"reference": ""},
        "that is also a connector": {"connector": a.opaque("connector local")},
        "of a version": {"n": 1},
        "of a version's task": {"version": b64u(a.fixed("store task"))},
        "with metadata": {"metadata": {"version": "1"}},
        "of an excluded generation": {"excluded": True},
        "of a value": {"secret": a.opaque("secret key")},
    }
    for name, wrong in wrongs.items():
        told(f"a check {name}", "malformed/task_malformed", targets=(structs.replace(at, **wrong),), **plain)
    local = Target(connector=a.opaque("connector local"), reference="host")
    told("a check of a connector at a host", "malformed/task_malformed", targets=(local,), **plain)
    one = Target(secret=id, n=1, version=b64u(a.fixed("store task")))
    never: dict[str, Any] = {"repeat": "never", "to": a.DELEGATE.kid, "exp": a.NOW + 120}
    digest = (b64u(a.fixed("input")),)
    for op, changes in (
        ("reveal", {}), ("store", {"input": digest, "targets": (Target(secret=id, n=1),)}),
        ("delete", {**never, "targets": (Target(secret=id),)}), ("exec", {**never, "input": digest, "seconds": 60}),
    ):  # fmt: skip
        told(f"a {op} of an SSHKey", "malformed/task_malformed", **{**plain, "op": op, "targets": (one,), **changes})


def _deep(s: Stories, told: Any, script: TemplateDocument) -> None:
    """Connectors that stand on each other by way of SSHKeys."""
    below, names = "local", ["script"]
    resolved: dict[str, Any] = {}
    held: tuple[Target, ...] = ()
    for depth in range(1, 5):
        s.sign(
            f"key{depth}",
            a.ADMINISTRATOR,
            a.secret(f"key{depth}", scope="account", connector=a.opaque(f"connector {below}")),
        )
        s.sign(
            f"login{depth}",
            a.ADMINISTRATOR,
            a.secret(f"login{depth}", scope="account", type=SSH_KEY, secrets=(f"key{depth}",)),
        )
        below = custom(s, f"stacked{depth}", script, scope="account", secrets=(f"account.login{depth}",))
        names += [f"key{depth}", f"login{depth}", below]
        held = (*held, newest(f"key{depth}"), Target(secret=a.opaque(f"secret login{depth}"), latest=True))
        resolved[a.opaque(f"connector {below}")] = {f"account.login{depth}": a.opaque(f"secret login{depth}")}
        resolved[a.opaque(f"secret login{depth}")] = {f"key{depth}": a.opaque(f"secret key{depth}")}
        if depth >= 3:
            expect = "accepted" if depth == 3 else "malformed/credential_chain_long"
            targets = tuple(Target(connector=a.opaque(f"connector stacked{one}")) for one in (1, depth))
            for turn in (1, -1):
                told(f"{depth + 1} connectors by way of SSHKeys, by turn {turn}", expect, pins=(*PEOPLE, "local", *names),
                     held=held, more=tuple(names[1:]), resolved=dict(resolved), targets=targets[::turn], selectors=("linux",))  # fmt: skip
    ring = custom(s, "ring", script, scope="account", secrets=("account.round",))
    made = (
        ring,
        s.sign("round", a.ADMINISTRATOR, a.secret("round", scope="account", type=SSH_KEY, secrets=("key0",))),
        s.sign("key0", a.ADMINISTRATOR, a.secret("key0", scope="account", connector=a.opaque("connector ring"))),
    )
    told("a ring by way of an SSHKey", "malformed/credential_cycle", pins=(*PEOPLE, "local", "script", *made), more=made,
         held=(Target(secret=a.opaque("secret round"), latest=True), newest("key0")), **check("ring"))  # fmt: skip
