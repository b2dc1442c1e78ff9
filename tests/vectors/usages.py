"""Vectors of usage: grants that are for some applications and environments, and tasks that state one."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from shared.canonical import b64u
from shared.crypto.identity import Identity
from shared.documents.task import Target
from shared.documents.usage import TaskUsage, Usage
from tests.vectors import actors as a
from tests.vectors.credentials import newest, task, version
from tests.vectors.stories import Stories, admit, judge, may

ORDERS, STOCK = TaskUsage(application="orders"), TaskUsage(application="stock")
LIVE, TEST = TaskUsage(environment="live"), TaskUsage(environment="test")
BOTH = TaskUsage(application="orders", environment="live")
LIVE_OR_TEST = Usage(environments=("live", "test"))
ONLY_TEST = Usage(environments=("test",))
ORDERS_TEST = Usage(applications=("orders",), environments=("test",))


def usages() -> dict[str, Any]:
    """Chains, and the steps (5) to (7) and (10) of the warrant."""
    s = Stories()
    s.sign("account", a.ROOT, a.ACCOUNT_1)
    s.sign("status", a.ADMINISTRATOR, a.status())
    s.sign("owner", a.ADMINISTRATOR, a.grant("owner", a.OWNER, ("admin", "edit", "reveal", "use"), "org/orders"))
    s.sign("reader", a.OWNER, a.grant("reader", a.READER, ("reveal",), a.PROJECT, parent=a.opaque("grant owner")))
    basis = [*s.compact]
    _chains(s, basis)
    _tasks(s, basis)
    return s.file("Usage (formats, sections 5, 7 and 11).")


def _chains(s: Stories, basis: list[str]) -> None:
    above = s.sign(
        "deputy",
        a.ADMINISTRATOR,
        a.grant("deputy", a.DEPUTY, ("admin", "edit", "reveal"), "org/orders", usage=LIVE_OR_TEST),
    )
    for name, stated, expect in (
        ("the one", LIVE, "accepted"),
        ("the other", TEST, "accepted"),
        ("another", TaskUsage(environment="dev"), "denied/usage_not_granted"),
        ("an application only", ORDERS, "denied/usage_not_granted"),
        ("an application too", BOTH, "accepted"),
        ("nothing", None, "denied/usage_not_granted"),
    ):
        s.tell(
            f"a grant for two environments: {name}",
            [*basis, above],
            may("deputy", "reveal", a.PROJECT, expect, usage=stated),
        )
    s.tell("a grant for anything: stated", basis, may("reader", "reveal", a.PROJECT, usage=BOTH))
    s.tell("an administrator: stated", basis, may("administrator", "reveal", a.PROJECT, usage=BOTH))
    s.tell("what is stated gives nothing", basis, may("reader", "edit", a.PROJECT, "denied/grant_missing", usage=BOTH))
    for name, usage, expect in (
        ("the same", LIVE_OR_TEST, "accepted"),
        ("less", ONLY_TEST, "accepted"),
        ("less, and an application", ORDERS_TEST, "accepted"),
        ("more", Usage(environments=("dev", "live", "test")), "denied/grant_exceeds"),
        ("another", Usage(environments=("dev",)), "denied/grant_exceeds"),
        ("an application instead", Usage(applications=("orders",)), "denied/grant_exceeds"),
        ("anything", None, "denied/grant_exceeds"),
    ):
        document = a.grant("below", a.EDITOR, ("reveal",), a.PROJECT, parent=a.opaque("grant deputy"), usage=usage)
        made = s.sign(f"handed on for {name}", a.DEPUTY, document)
        s.tell(f"handed on: {name}", [*basis, above], admit(made, expect))
    s.tell(
        "handed on: what was handed on counts for that alone",
        [*basis, above, "handed on for less"],
        may("editor", "reveal", a.PROJECT, usage=TEST),
        may("editor", "reveal", a.PROJECT, "denied/usage_not_granted", usage=LIVE),
    )
    narrower = s.sign("deputy for less", a.ADMINISTRATOR, a.after(s.payload(above), a.ADMINISTRATOR, usage=ONLY_TEST))
    s.tell(
        "handed on: more than is left",
        [*basis, above, "handed on for the same"],
        may("editor", "reveal", a.PROJECT, usage=LIVE),
        admit(narrower),
        may("editor", "reveal", a.PROJECT, "denied/grant_exceeds", usage=LIVE),
        may("editor", "reveal", a.PROJECT, "denied/grant_exceeds", usage=TEST),
    )
    # A document is for everybody, whatever its signer's grant is for.
    for name, changes in {"none": {}, "the same": {"usage": LIVE_OR_TEST}}.items():
        made = s.sign(f"a secret with {name}", a.DEPUTY, a.secret("odd", **changes))
        s.tell(f"a document by who is limited: {name}", [*basis, above], admit(made, "denied/usage_not_granted"))


def _tasks(s: Stories, basis: list[str]) -> None:
    s.sign("keyring", a.ADMINISTRATOR, a.KEYS_1.document(1, None, a.NOW))
    s.sign(
        "editor for live",
        a.ADMINISTRATOR,
        a.grant("editor for live", a.EDITOR, ("edit", "reveal", "use"), a.PROJECT, usage=Usage(environments=("live",))),
    )
    s.sign("local", a.ADMINISTRATOR, a.connector())
    s.sign("secret key", a.ADMINISTRATOR, a.secret("key", scope="account"))
    s.sign("kms", a.ADMINISTRATOR, a.connector("kms", type="AwsKms", secrets=("account.key",)))
    s.sign("secret plain", a.ADMINISTRATOR, a.secret("plain"))
    s.sign("secret password", a.ADMINISTRATOR, a.secret(usage=LIVE_OR_TEST))
    s.sign("secret wrapped", a.ADMINISTRATOR, a.secret("wrapped", connector=a.opaque("connector kms")))
    after = {
        "key": {"usage": ONLY_TEST},
        "local": {"usage": Usage(applications=("orders",))},
        "kms": {"usage": ORDERS_TEST},
    }
    for name, change in after.items():
        old = "secret key" if name == "key" else name
        s.sign(f"{name} for some", a.ADMINISTRATOR, a.after(s.payload(old), a.ADMINISTRATOR, **change))
    people = ("account", "keyring", "owner", "reader", "editor for live")
    setup = [*basis, "keyring", "editor for live"]
    setup += ["local", "secret key", "kms", "secret plain", "secret password", "secret wrapped"]

    def told(
        name: str,
        stated: TaskUsage | None,
        expect: str = "accepted",
        about: str = "password",
        signer: Identity = a.READER,
        pins: tuple[str, ...] = ("local",),
        more: tuple[str, ...] = (),
        **changes: Any,
    ) -> None:
        thing = (f"secret {about}",) if about else ()
        fields = {"targets": (version(about),), "usage": stated, **changes}
        made = s.sign(f"task: {name}", signer, task(s, (*people, *pins, *thing), **fields))
        found = (
            {a.opaque("connector kms"): {"account.key": a.opaque("secret key")}} if "kms" in " ".join(pins) else None
        )
        s.tell(name, setup, *(admit(one) for one in more), judge(made, expect, credentials=found))

    told("(6) what the secret is for", LIVE)
    told("(6) what the secret is for, and an application", BOTH)
    told("(6) something else", TaskUsage(environment="dev"), "denied/usage_other")
    told("(6) nothing", None, "denied/usage_missing")
    told("(6) an application alone", ORDERS, "denied/usage_missing")
    told("(6) something of a secret for anything", LIVE, about="plain")
    told("(6) by an administrator: nothing", None, "denied/usage_missing", signer=a.ADMINISTRATOR)
    for op in ("store", "delete", "exec"):
        changes: dict[str, Any] = {"op": op}
        changes |= {"input": (b64u(a.fixed("input")),)} if op != "delete" else {}
        changes |= {"targets": (Target(secret=a.opaque("secret password"), n=1),)} if op == "store" else {}
        changes |= {"repeat": "never", "to": a.DELEGATE.kid, "exp": a.NOW + 120} if op != "store" else {}
        changes |= {"seconds": 1} if op == "exec" else {}
        for stated, expect in ((LIVE, "accepted"), (None, "denied/usage_missing")):
            told(
                f"(6) {op}: {'nothing' if stated is None else 'stated'}",
                stated,
                expect,
                signer=a.ADMINISTRATOR,
                **changes,
            )
    two: dict[str, Any] = {"targets": (version("plain"), version("password")), "pins": ("local", "secret plain")}
    told("(6) of one of two secrets: nothing", None, "denied/usage_missing", **two)
    told("(6) of one of two secrets: stated", TEST, **two)
    # (5)
    told("(5) what the grant is for", LIVE, signer=a.EDITOR)
    told("(5) what the secret is for, and the grant isn't", TEST, "denied/usage_not_granted", signer=a.EDITOR)
    told("(5) nothing, of a secret for anything", None, "denied/usage_not_granted", about="plain", signer=a.EDITOR)
    told("(5) something, of a secret for anything", LIVE, about="plain", signer=a.EDITOR)
    # (7)
    some: dict[str, Any] = {"about": "plain", "pins": ("local for some",), "more": ("local for some",)}
    told("(7) what the connector is for", ORDERS, **some)
    told("(7) something else than the connector is for", STOCK, "denied/usage_other", **some)
    told("(7) nothing, through a connector for some", None, "denied/usage_missing", **some)
    told("(7) before the connector was for some", None, "conflict/pin_stale", about="plain", more=("local for some",))
    check: dict[str, Any] = {
        "op": "check",
        "targets": (Target(connector=a.opaque("connector local")),),
        "signer": a.ADMINISTRATOR,
    }
    told("(7) check: what the connector is for", ORDERS, **{**some, "about": "", **check})
    told("(7) check: nothing", None, "denied/usage_missing", **{**some, "about": "", **check})
    # (10)
    held: dict[str, Any] = {"about": "wrapped", "credentials": (newest("key"),)}
    plain = ("local", "kms", "secret key")
    told("(10) a credential for anything", None, pins=plain, **held)
    of_key: dict[str, Any] = {**held, "pins": ("local", "kms", "key for some"), "more": ("key for some",)}
    told("(10) what the credential is for", TEST, **of_key)
    told("(10) something else than the credential is for", LIVE, "denied/usage_other", **of_key)
    told("(10) nothing, where a credential is for some", None, "denied/usage_missing", **of_key)
    below: dict[str, Any] = {**held, "pins": ("local for some", "kms", "secret key"), "more": ("local for some",)}
    told("(10) what the credential's connector is for", ORDERS, **below)
    told("(10) something else than the credential's connector is for", STOCK, "denied/usage_other", **below)
    every = ("local for some", "kms for some", "key for some")
    stated = TaskUsage(application="orders", environment="test")
    told("(10) what all of them are for", stated, pins=every, more=every, **held)
    told("(10) what not all of them are for", BOTH, "denied/usage_other", pins=every, more=every, **held)
    # Whoever signs a connector signs for every task that goes through it.
    own = s.sign(
        "use for live", a.ADMINISTRATOR, structs.replace(a.grant("use", a.OWNER, ("use",), "account"), usage=ONLY_TEST)
    )
    s.sign("kms of the owner", a.OWNER, a.connector("kms_of_owner", scope="org/orders", secrets=("account.key",)))
    s.sign("secret owned", a.ADMINISTRATOR, a.secret("owned", connector=a.opaque("connector kms_of_owner")))
    told(
        "(10) a connector whose signer may use the credential for some",
        TEST,
        "denied/usage_not_granted",
        about="owned",
        pins=("local", "kms of the owner", "secret key", own),
        more=(own, "kms of the owner", "secret owned"),
        credentials=(newest("key"),),
    )
