"""Vectors of tasks whose connectors name secrets (step (10) of the warrant), of platforms' keyrings, and of commands."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from shared.canonical import b64u
from shared.crypto.identity import Identity
from shared.documents.task import KnownStatus, Target, TaskDocument
from tests.vectors import actors as a
from tests.vectors.stories import Stories, admit, judge

ORG = "org/orders"
AWAY: dict[str, Any] = {"executeOnDelegate": False}
_VERSION = b64u(a.fixed("store task"))


def version(name: str, **changes: Any) -> Target:
    """The first version of the secret with the id of that name."""
    return structs.replace(Target(secret=a.opaque(f"secret {name}"), n=1, version=_VERSION), **changes)


def newest(name: str, **changes: Any) -> Target:
    """The same as a credential."""
    return version(name, **{"latest": True, **changes})


def task(s: Stories, names: tuple[str, ...], **changes: Any) -> TaskDocument:
    """A task that pins these."""
    plain = TaskDocument(
        v=1, acct=a.ACCOUNT, keyring=a.KEYRING, gen=1, op="reveal", repeat="any", targets=(version("password"),),
        pins=s.pins(*names), status=KnownStatus(1, s.digest("status")), reader=b64u(a.READER_KEY.public.raw),
        jti=a.opaque("task"), iat=a.NOW, exp=a.NOW + 86_400,
    )  # fmt: skip
    return structs.replace(plain, **changes)


def beginning() -> Stories:
    """An account with an owner of an organisation, an editor and a reader of one project in it, and the built-in connector."""
    s = Stories()
    s.sign("account", a.ROOT, a.ACCOUNT_1)
    s.sign("status", a.ADMINISTRATOR, a.status())
    s.sign("keyring", a.ADMINISTRATOR, a.KEYS_1.document(1, None, a.NOW))
    s.sign("owner", a.ADMINISTRATOR, a.grant("owner", a.OWNER, ("admin", "delete", "edit", "reveal", "use"), ORG))
    parent = a.opaque("grant owner")
    s.sign("editor", a.OWNER, a.grant("editor", a.EDITOR, ("delete", "edit", "use"), a.PROJECT, parent=parent))
    s.sign("reader", a.OWNER, a.grant("reader", a.READER, ("reveal",), a.PROJECT, parent=parent))
    s.sign("local", a.ADMINISTRATOR, a.connector(selectors=("linux",)))
    return s


def _secret(s: Stories, name: str, holder: str, signer: Identity = a.ADMINISTRATOR, **changes: Any) -> str:
    return s.sign(f"secret {name}", signer, a.secret(name, connector=a.opaque(f"connector {holder}"), **changes))


def _connector(
    s: Stories, name: str, *secrets: str, signer: Identity = a.ADMINISTRATOR, prefix: str = "account.", **changes: Any
) -> str:
    named = tuple(prefix + one for one in secrets)
    return s.sign(name, signer, a.connector(name, type="AwsKms", secrets=named, **changes))


def credentials() -> dict[str, Any]:
    """Credentials, and the platform's keyrings."""
    s = beginning()
    wide: dict[str, Any] = {"scope": "account"}
    _secret(s, "key", "local", **wide)
    _secret(s, "other", "local", **wide)
    s.sign("secret twin", a.ADMINISTRATOR, structs.replace(a.secret("key", **wide), id=a.opaque("secret twin")))
    s.sign("secret near", a.EDITOR, structs.replace(a.secret("key"), id=a.opaque("secret near")))
    s.sign("secret above", a.OWNER, structs.replace(a.secret("key", scope=ORG), id=a.opaque("secret above")))
    _connector(s, "kms", "key", selectors=("aws",))
    _secret(s, "password", "kms", a.EDITOR)
    _secret(s, "plain", "local", a.EDITOR)
    key = a.opaque("secret key")
    to_use = a.grant("use of key", a.EDITOR, ("use",), "account", resource=key)
    s.sign("use of key", a.ADMINISTRATOR, to_use)
    people = ("account", "keyring", "owner", "editor", "reader")
    pinned = (*people, "local", "kms", "secret password", "secret key")
    basis = [*s.compact]
    found = {a.opaque("connector kms"): {"account.key": key}}

    def told(
        name: str, expect: str = "accepted", pins: tuple[str, ...] = pinned, held: tuple[Target, ...] = (newest("key"),),
        more: tuple[str, ...] = (), resolved: dict[str, Any] | None = None, selectors: tuple[str, ...] = ("aws", "linux"),
        signer: Identity = a.READER, **changes: Any,
    ) -> None:  # fmt: skip
        made = s.sign(f"task: {name}", signer, task(s, pins, credentials=held, **changes))
        step = judge(made, expect, selectors=list(selectors), credentials=found if resolved is None else resolved)
        s.tell(name, basis, *(admit(one) for one in more), step)

    told("a credential")
    told("no credential for a connector that names none", pins=(*people, "local", "secret plain"),
         held=(), targets=(version("plain"),), resolved={}, selectors=("linux",))  # fmt: skip
    plain = (version("password"), version("plain"))
    told("one target's connector names it, the other's doesn't", pins=(*pinned, "secret plain"), targets=plain)
    check: dict[str, Any] = {"op": "check", "targets": (Target(connector=a.opaque("connector kms")),)}
    told("a check of the connector", signer=a.ADMINISTRATOR, pins=(*people, *pinned[5:7], "secret key"), **check)
    # What the task names.
    told("a credential that the task doesn't name", "malformed/pin_missing", held=())
    wrongs: dict[str, dict[str, Any]] = {
        "of no version": {"n": 0, "version": None},
        "without its version's task": {"version": None},
        "that isn't meant to be the newest": {"latest": False},
        "of an excluded generation": {"excluded": True},
        "that is also a connector": {"connector": a.opaque("connector kms")},
        "that is no secret": {"secret": None, "connector": a.opaque("connector kms")},
    }
    for name, wrong in wrongs.items():
        told(f"a credential {name}", "malformed/task_malformed", held=(newest("key", **wrong),))
    told("a credential twice", "malformed/task_malformed", held=(newest("key"), newest("key")))
    told("two credentials of one name", "malformed/task_malformed", pins=(*pinned, "secret twin"),
         held=(newest("key"), newest("twin")))  # fmt: skip
    told("a credential that nothing needs", "malformed/task_malformed", pins=(*pinned, "secret other"),
         held=(newest("key"), newest("other")))  # fmt: skip
    for name in ("other", "near"):
        told(f"another credential in its place: {name}", "malformed/pin_missing", pins=(*pinned[:8], f"secret {name}"),
             held=(newest(name),))  # fmt: skip
    told("another of the same name and place", pins=(*pinned[:8], "secret twin"), held=(newest("twin"),),
         resolved={a.opaque("connector kms"): {"account.key": a.opaque("secret twin")}})  # fmt: skip
    told("a credential that isn't pinned", "malformed/pin_missing", pins=pinned[:8])
    told("a credential whose connector isn't pinned", "malformed/pin_missing", pins=(*people, *pinned[6:]))
    # Who signed the connector.
    s.sign("kms by the editor", a.EDITOR, a.connector("kms_of_editor", scope=a.PROJECT, secrets=("account.key",)))
    _secret(s, "of_editor", "kms_of_editor", a.EDITOR)
    basis = [*s.compact]
    basis = [one for one in basis if not one.startswith("task: ")]
    his = (*people, "local", "kms by the editor", "secret of_editor", "secret key")
    theirs: dict[str, Any] = {"targets": (version("of_editor"),), "selectors": ("linux",),
                              "resolved": {a.opaque("connector kms_of_editor"): {"account.key": key}}}  # fmt: skip
    told("a connector whose signer may not use it", "denied/grant_missing", pins=his, **theirs)
    told("a connector whose signer may use it", pins=(*his, "use of key"), **theirs)
    s.sign("excludes his use", a.ADMINISTRATOR, a.after(a.status(), a.ADMINISTRATOR, grants=(to_use.id,)))
    told("a connector whose signer might have used it", "denied/grant_revoked", pins=(*his, "use of key"),
         more=("excludes his use",), **theirs)  # fmt: skip
    told("a connector whose signer may use the one before", "denied/grant_missing", held=(newest("twin"),),
         pins=(*his[:-1], "secret twin", "use of key"), **theirs)  # fmt: skip
    for at, (reference, name, expect) in enumerate(
        (("key", "near", "accepted"), ("org.key", "above", "denied/grant_missing"), ("key", "above", "malformed/pin_missing"))
    ):  # fmt: skip
        id = f"near_{at}"
        s.sign(f"kms {id}", a.EDITOR, a.connector(id, scope=a.PROJECT, secrets=(reference,)))
        _secret(s, id, id, a.EDITOR)
        told(
            f"{reference} in a project, for the one of {name}", expect, held=(newest(name),), targets=(version(id),),
            pins=(*people, "local", f"kms {id}", f"secret {id}", f"secret {name}"), selectors=("linux",),
            more=(f"kms {id}", f"secret {id}"), resolved={a.opaque(f"connector {id}"): {reference: a.opaque(f"secret {name}")}},
        )  # fmt: skip
    s.sign("kms revised", a.OWNER, a.after(s.payload("kms by the editor"), a.EDITOR, name="renamed"))
    told("a connector that somebody revised who may not use it", "denied/grant_missing", more=("kms revised",),
         pins=(*people, "local", "kms revised", "secret of_editor", "secret key", "use of key"), **theirs)  # fmt: skip
    # The secret and its holder.
    floor = s.sign("sets a floor", a.ADMINISTRATOR, a.after(a.status(), a.ADMINISTRATOR, secrets={key: 2}))
    told("a credential below the floor", "denied/version_excluded", more=(floor,))
    told("a credential at the floor", more=(floor,), held=(newest("key", n=2),))
    gone = s.sign("key deleted", a.ADMINISTRATOR, a.after(s.payload("secret key"), a.ADMINISTRATOR, deleted=True))
    told("a credential that is deleted", "conflict/secret_deleted", more=(gone,), pins=(*pinned[:8], gone))
    told("a credential that was deleted", "conflict/pin_stale", more=(gone,))
    away = s.sign("local deleted", a.ADMINISTRATOR, a.after(s.payload("local"), a.ADMINISTRATOR, deleted=True))
    told("a credential in a connector that is deleted", "conflict/connector_deleted", more=(away,),
         pins=(*people, away, *pinned[6:]))  # fmt: skip
    _connector(s, "elsewhere", keyring="other")
    s.sign("beside", a.OWNER, a.connector("beside", scope=f"{ORG}/project/other"))
    for holder, expect in (
        ("elsewhere", "denied/connector_of_other_keyring"), ("beside", "denied/connector_out_of_scope"),
    ):  # fmt: skip
        _secret(s, f"key_{holder}", holder, **wide)
        _connector(s, f"kms_{holder}", f"key_{holder}")
        _secret(s, f"in_{holder}", f"kms_{holder}", a.EDITOR)
        made = (holder, f"kms_{holder}", f"secret key_{holder}", f"secret in_{holder}")
        told(f"a credential in a connector: {holder}", expect, pins=(*people, *made), held=(newest(f"key_{holder}"),),
             targets=(version(f"in_{holder}"),), more=made)  # fmt: skip
    _chains(s, told, people)
    _platforms(s, told, pinned)
    return s.file("Credentials of connectors, and the platform's keyrings (formats, section 11, steps (7) and (10)).")


def _chains(s: Stories, told: Any, people: tuple[str, ...]) -> None:
    """Connectors that stand on each other's secrets."""
    below, names = "local", ["local"]
    resolved: dict[str, Any] = {}
    for depth in range(1, 5):
        _secret(s, f"key{depth}", below, scope="account")
        _connector(s, f"stacked{depth}", f"key{depth}")
        _secret(s, f"in{depth}", f"stacked{depth}", a.EDITOR)
        below = f"stacked{depth}"
        names += [f"secret key{depth}", below, f"secret in{depth}"]
        resolved[a.opaque(f"connector {below}")] = {f"account.key{depth}": a.opaque(f"secret key{depth}")}
        if depth >= 3:
            held = tuple(newest(f"key{one}") for one in range(1, depth + 1))
            expect = "accepted" if depth == 3 else "malformed/credential_chain_long"
            for turn in (1, -1):
                targets = tuple(version(f"in{one}") for one in (depth, depth - 1, 1)[::turn])
                told(f"{depth + 1} connectors, one upon the other, by turn {turn}", expect, pins=(*people, *names), held=held,
                     targets=targets, more=tuple(names[1:]), resolved=dict(resolved), selectors=("linux",))  # fmt: skip
    for length in (1, 2, 3):
        made = []
        for at in range(length):
            made.append(_connector(s, f"ring{length}{at}", f"round{length}{at}"))
            made.append(_secret(s, f"round{length}{at}", f"ring{length}{(at + 1) % length}", scope="account"))
        made.append(_secret(s, f"in_ring{length}", f"ring{length}0", a.EDITOR))
        told(
            f"a ring of {length}", "malformed/credential_cycle", pins=(*people, *made), more=tuple(made),
            held=tuple(newest(f"round{length}{at}") for at in range(length)), targets=(version(f"in_ring{length}"),),
        )  # fmt: skip


def _platforms(s: Stories, told: Any, pinned: tuple[str, ...]) -> None:
    """Whose delegates serve a keyring, and which connectors ask for them."""
    administrator = a.ADMINISTRATOR
    platform = s.sign(
        "keyring of a platform", administrator, a.after(s.payload("keyring"), administrator, platform=True)
    )
    kms = s.sign("kms away", administrator, a.after(s.payload("kms"), administrator, spec=AWAY))
    local = s.sign("local away", administrator, a.after(s.payload("local"), administrator, spec=AWAY))
    odd = s.sign(
        "kms that says 0", administrator, a.after(s.payload("kms"), administrator, spec={"executeOnDelegate": 0})
    )
    for name, more, expect in (
        ("(7) a connector for the platform on another keyring", (kms,), "denied/connector_for_platform"),
        ("(7) a connector that doesn't say so on the platform's", (platform, local), "denied/connector_not_for_platform"),
        ("(7) a holder for the platform on another keyring", (local,), "denied/connector_for_platform"),
        ("(7) a holder that doesn't say so on the platform's", (platform, kms), "denied/connector_not_for_platform"),
        ("(7) both for the platform on its keyring", (platform, kms, local), "accepted"),
        ("(7) only false asks for the platform", (odd,), "accepted"),
    ):  # fmt: skip
        replaced = {"keyring": platform, "kms": kms, "local": local} | ({"kms": odd} if odd in more else {})
        pins = tuple(replaced[one] if replaced.get(one) in more else one for one in pinned)
        told(name, expect, pins=pins, more=more)


def commands() -> dict[str, Any]:
    """Commands: both permissions, one input, a time limit, one delegate."""
    s = beginning()
    s.sign("runner", a.ADMINISTRATOR, a.grant("runner", a.DEPUTY, ("exec", "reveal"), a.PROJECT))
    s.sign("half a runner", a.ADMINISTRATOR, a.grant("half a runner", a.RENEWER, ("exec",), a.PROJECT))
    _secret(s, "password", "local", a.EDITOR)
    _secret(s, "above", "local", scope=ORG)
    basis = [*s.compact]
    pinned = ("account", "keyring", "owner", "editor", "reader", "runner", "half a runner", "local", "secret password")
    right: dict[str, Any] = {
        "op": "exec", "repeat": "never", "to": a.DELEGATE.kid, "exp": a.NOW + 120, "seconds": 60,
        "input": (b64u(a.fixed("command")),),
    }  # fmt: skip
    one = version("password")

    def told(name: str, expect: str = "accepted", signer: Identity = a.DEPUTY, **changes: Any) -> None:
        names = (*pinned, "secret above") if changes.pop("above", False) else pinned
        made = s.sign(f"task: {name}", signer, task(s, names, **{**right, **changes}))
        s.tell(name, basis, judge(made, expect, selectors=["linux"]))

    told("a command")
    told("a command of a day", seconds=86_400)
    told("one version twice", targets=(one, one))
    told("a version of an excluded generation", targets=(structs.replace(one, excluded=True),))
    malformed: dict[str, dict[str, Any]] = {
        "(1) a command that may repeat": {"repeat": "any", "to": None},
        "(1) a command for nobody": {"to": None},
        "(8) a command about a whole secret": {"targets": (Target(secret=one.secret),)},
        "(8) a command about a connector": {"targets": (Target(connector=a.opaque("connector local")),)},
        "(8) a command without its version's task": {"targets": (structs.replace(one, version=None),)},
        "(9) a command without input": {"input": ()},
        "(9) a command with two inputs": {"input": right["input"] * 2},
        "(9) a command without a time limit": {"seconds": None},
        "(9) a reveal with a time limit": {"op": "reveal", "repeat": "any", "to": None, "input": ()},
        "(9) a delete with a time limit": {"op": "delete", "input": ()},
    }
    for name, changes in malformed.items():
        told(name, "malformed/task_malformed", a.ADMINISTRATOR, **changes)
    told("(1) a command of two minutes and a second", "denied/task_too_long", exp=a.NOW + 121)
    told("(5) by who may only reveal", "denied/grant_missing", a.READER)
    told("(5) by who may only run", "denied/grant_missing", a.RENEWER)
    told("(5) by who may do neither", "denied/grant_missing", a.EDITOR)
    told("(5) about one more than may be revealed", "denied/grant_missing", above=True, targets=(one, version("above")))
    return s.file("Tasks that run a command (formats, section 11).")
