"""Vectors of certificates and tasks: everything that has to be true before a delegate is believed, or acts."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from shared.canonical import b64u
from shared.crypto.identity import Identity
from shared.documents.account import Administrator
from shared.documents.grant import DAY
from shared.documents.task import KnownStatus, Pin, Target, TaskDocument, WantedSelector
from tests.vectors import actors as a
from tests.vectors.stories import Stories, admit, certify, judge

_ID = a.opaque("secret password")


def certificates() -> dict[str, Any]:
    """Certificates against the newest keyring document and status."""
    s = Stories()
    s.sign("account", a.ROOT, a.ACCOUNT_1)
    first = a.status()
    s.sign("status", a.ADMINISTRATOR, first)
    s.sign("keyring", a.ADMINISTRATOR, a.KEYS_1.document(1, None, a.NOW))
    s.sign("keyring 2", a.ADMINISTRATOR, a.KEYS.document(2, s.digest("keyring"), a.NOW))
    s.sign("keyring 3", a.ADMINISTRATOR, a.KEYS.document(3, s.digest("keyring 2"), a.NOW, floor=2))
    old, new = (a.KEYS.generation(number).certifying for number in (1, 2))
    told: dict[str, dict[str, Any]] = {
        "excludes generation 1": {"keyrings": {a.KEYRING: 2}},
        "excludes another keyring's": {"keyrings": {"other": 2}},
        "revokes the identity": {"keys": (a.DELEGATE.kid,)},
        "revokes the certifying key": {"keys": (old.kid,)},
    }
    for name, changes in told.items():
        s.sign(name, a.ADMINISTRATOR, a.after(first, a.ADMINISTRATOR, **changes))
    plain = a.certificate()
    s.sign("certificate", old, plain)
    s.sign("of generation 2", new, a.certificate(gen=2))
    basis = ["account", "status", "keyring"]

    s.tell("a certificate", basis, certify("certificate"))
    s.tell("before any status", ["account", "keyring"], certify("certificate"))
    s.tell("until its last second", basis, certify("certificate", now=plain.exp - 1))
    s.tell("from its end on", basis, certify("certificate", "denied/certificate_expired", now=plain.exp))
    s.tell("with a clock that is a little behind", basis, certify("certificate", now=plain.iat - 120))
    s.tell(
        "with a clock that is behind", basis, certify("certificate", "denied/certificate_expired", now=plain.iat - 121)
    )
    s.tell("of a generation to come", basis, certify("of generation 2", "unauthenticated/certifier_unknown"))
    s.tell(
        "of a generation that is still accepted",
        [*basis, "keyring 2"],
        certify("certificate"),
        certify("of generation 2"),
    )
    s.tell(
        "of a generation that isn't accepted any more", [*basis, "keyring 2", "keyring 3"],
        certify("of generation 2"), certify("certificate", "unauthenticated/certifier_unknown"),
    )  # fmt: skip
    s.tell(
        "of an excluded generation",
        basis,
        admit("excludes generation 1"),
        certify("certificate", "denied/generation_excluded"),
    )
    s.tell(
        "of a generation that another keyring excludes",
        basis,
        admit("excludes another keyring's"),
        certify("certificate"),
    )
    s.tell(
        "of a revoked identity", basis, admit("revokes the identity"), certify("certificate", "denied/delegate_revoked")
    )
    s.tell(
        "by a revoked key",
        basis,
        admit("revokes the certifying key"),
        certify("certificate", "denied/delegate_revoked"),
    )
    for name, signer, changes, expect in (
        ("that lasts too long", old, {"exp": plain.iat + 7 * DAY + 1}, "denied/certificate_expired"),
        ("that claims another generation", old, {"gen": 2}, "tampered/certificate_forged"),
        ("of another keyring", old, {"keyring": "other"}, "unauthenticated/certifier_unknown"),
        ("of another account", old, {"acct": "a" * 52}, "unauthenticated/certifier_unknown"),
        ("by the delegate itself", a.DELEGATE, {}, "unauthenticated/certifier_unknown"),
        ("by an administrator", a.ADMINISTRATOR, {}, "unauthenticated/certifier_unknown"),
    ):
        s.tell(name, basis, certify(s.sign(name, signer, structs.replace(plain, **changes)), expect))
    whole = s.compact["certificate"]
    s.put("changed", whole[:-8] + ("A" if whole[-8] != "A" else "B") + whole[-7:])
    s.tell("that is changed", basis, certify("changed", "tampered/signature_invalid"))
    second = Administrator("second administrator", a.SECOND_ADMINISTRATOR.key)
    s.sign("account with another administrator", a.ROOT, a.after(a.ACCOUNT_1, a.ROOT, administrators=(second,)))
    s.tell("without a keyring", basis[:2], certify("certificate", "not_ready"))
    s.tell(
        "of a keyring whose administrator has left", basis,
        admit("account with another administrator"), certify("certificate", "not_ready"),
    )  # fmt: skip
    s.tell("that is a keyring", basis, certify("keyring", "malformed"))
    return s.file("Delegates' certificates (formats, section 10).")


def tasks() -> dict[str, Any]:
    """Tasks, by the steps of the warrant."""
    s = Stories()
    first, keyring = a.status(), a.KEYS_1.document(1, None, a.NOW)
    parent = a.opaque("grant owner")
    s.sign("account", a.ROOT, a.ACCOUNT_1)
    s.sign("status", a.ADMINISTRATOR, first)
    s.sign("keyring", a.ADMINISTRATOR, keyring)
    s.sign(
        "owner", a.ADMINISTRATOR, a.grant("owner", a.OWNER, ("admin", "delete", "edit", "reveal", "use"), "org/orders")
    )
    s.sign("editor", a.OWNER, a.grant("editor", a.EDITOR, ("delete", "edit", "use"), a.PROJECT, parent=parent))
    s.sign("reader", a.OWNER, a.grant("reader", a.READER, ("reveal",), a.PROJECT, parent=parent))
    s.sign("connector", a.ADMINISTRATOR, a.connector(selectors=("linux",)))
    s.sign("connector below", a.EDITOR, a.connector("below", scope=a.PROJECT, selectors=("eu", "linux")))
    s.sign("connector of another keyring", a.ADMINISTRATOR, a.connector("foreign", keyring="other"))
    s.sign("connector beside", a.OWNER, a.connector("beside", scope="org/orders/project/other"))
    s.sign("secret", a.EDITOR, a.secret())
    for name in ("below", "foreign", "beside"):
        s.sign(f"secret {name}", a.EDITOR, a.secret(name, connector=a.opaque(f"connector {name}")))
    basis = [*s.compact]
    pinned = ("account", "keyring", "owner", "editor", "reader", "connector", "secret")
    one = Target(secret=_ID, n=1, version=b64u(a.fixed("store task")))
    plain = TaskDocument(
        v=1, acct=a.ACCOUNT, keyring=a.KEYRING, gen=1, op="reveal", repeat="any", targets=(one,), pins=s.pins(*pinned),
        status=KnownStatus(1, s.digest("status")), reader=b64u(a.READER_KEY.public.raw), jti=a.opaque("task"),
        iat=a.NOW, exp=a.NOW + 86_400,
    )  # fmt: skip
    store: dict[str, Any] = {"op": "store", "targets": (Target(secret=_ID, n=1),), "input": (b64u(a.fixed("input")),)}
    never: dict[str, Any] = {"op": "delete", "repeat": "never", "to": a.DELEGATE.kid, "exp": a.NOW + 120}
    check: dict[str, Any] = {"op": "check", "targets": (Target(connector=a.opaque("connector below")),),
                             "pins": s.pins("account", "keyring", "owner", "editor", "connector below")}  # fmt: skip
    linux = ["linux"]

    def told(
        name: str, expect: str = "accepted", signer: Identity = a.READER, now: int = a.NOW,
        setup: list[str] | None = None, selectors: list[str] | None = None, more: tuple[str, ...] = (), **changes: Any,
    ) -> None:  # fmt: skip
        task = s.sign(f"task: {name}", signer, structs.replace(plain, **changes))
        steps = [*(admit(one) for one in more), judge(task, expect, now, linux if selectors is None else selectors)]
        s.tell(name, basis if setup is None else setup, *steps)

    told("reveal")
    told("store", signer=a.EDITOR, **store)
    told("store of the second version", signer=a.EDITOR, **{**store, "targets": (structs.replace(one, n=2),)})
    told("delete of a version", signer=a.EDITOR, **never)
    told("delete of the whole secret", signer=a.EDITOR, **{**never, "targets": (Target(secret=_ID),)})
    told("check", signer=a.EDITOR, selectors=["eu", "linux"], **check)
    told("reveal by an administrator, who needs no grant", signer=a.ADMINISTRATOR)
    told("signed by a stranger", "unauthenticated/signer_unknown", a.STRANGER)
    told("of another account", "tampered/account_foreign", acct="a" * 52)
    whole = s.compact["task: reveal"]
    s.put("task: changed", whole[:-8] + ("A" if whole[-8] != "A" else "B") + whole[-7:])
    s.tell("changed", basis, judge("task: changed", "tampered/signature_invalid"))

    # (1)
    told("(1) a reveal that never repeats", "malformed/task_malformed", repeat="never", to=a.DELEGATE.kid)
    told("(1) a reveal for one delegate", "malformed/task_malformed", to=a.DELEGATE.kid)
    told("(1) a delete that may repeat", "malformed/task_malformed", a.EDITOR, **{**never, "repeat": "any", "to": None})
    told("(1) a delete for nobody", "malformed/task_malformed", a.EDITOR, **{**never, "to": None})
    told("(1) a task of a day and a second", "denied/task_too_long", exp=a.NOW + 86_401)
    told("(1) a delete of two minutes and a second", "denied/task_too_long", a.EDITOR, **{**never, "exp": a.NOW + 121})
    told("(1) a task that ends before it begins", "denied/task_too_long", exp=a.NOW - 1)
    told("(1) a task from the near future", now=a.NOW - 120)
    told("(1) a task from the future", "denied/clock_skew", now=a.NOW - 121)
    told("(1) a task in its last second", now=a.NOW + 86_399)
    told("(1) a task that has ended", "expired/task_expired", now=a.NOW + 86_400)
    # (2)
    s.sign("status 2", a.ADMINISTRATOR, a.after(first, a.ADMINISTRATOR, iat=a.NOW))
    s.sign("status that has ended", a.ADMINISTRATOR, structs.replace(first, exp=a.NOW))
    told("(2) without a status", "not_ready/status_missing", setup=[one for one in basis if one != "status"])
    told("(2) with an expired status", "not_ready/status_expired",
         setup=["status that has ended" if one == "status" else one for one in basis])  # fmt: skip
    told("(2) a newer status than the signer knew", more=("status 2",))
    told(
        "(2) an older status than the signer knew",
        "not_ready/status_behind",
        status=KnownStatus(2, s.digest("status 2")),
    )
    told(
        "(2) another status with the same serial", "tampered/status_forked", status=KnownStatus(1, s.digest("status 2"))
    )
    # (3)
    s.sign("secret 2", a.EDITOR, a.after(s.payload("secret"), a.EDITOR, name="renamed"))
    s.sign("reader 2", a.OWNER, a.after(s.payload("reader"), a.OWNER, exp=a.NOW + DAY))
    s.sign("account 2", a.ROOT, a.after(a.ACCOUNT_1, a.ROOT))
    pins = s.pins(*pinned)
    told(
        "(3) a pinned document that hasn't come",
        "not_ready/documents_missing",
        setup=[one for one in basis if one != "secret"],
    )
    for name, changed in {
        "id": structs.replace(pins[-1], id=a.opaque("secret x")),
        "revision": structs.replace(pins[-1], rev=2),
        "kind": structs.replace(pins[-1], kind="connector"),
    }.items():
        told(f"(3) a pin with another {name}", "malformed/pin_malformed", pins=(*pins[:-1], changed))
    account = Pin("account", a.ACCOUNT, 1, s.digest("account"))
    told("(3) a pin of the account by its long id", "malformed/pin_malformed", pins=(account, *pins[1:]))
    for name in ("secret 2", "reader 2", "account 2"):
        told(f"(3) a stale pin: {name}", "conflict/pin_stale", more=(name,))
    newest = s.pins("account", "keyring", "owner", "editor", "reader", "connector", "secret 2")
    told("(3) the newest revision pinned", more=("secret 2",), pins=newest)
    for at, name in enumerate(pinned):
        expect = "denied/grant_missing" if name in {"editor", "reader"} else "malformed/pin_missing"
        expect = "denied/grant_unfounded" if name == "owner" else expect
        told(f"(3) without a pin: {name}", expect, pins=pins[:at] + pins[at + 1 :])
    second = Administrator("second administrator", a.SECOND_ADMINISTRATOR.key)
    both = a.after(a.ACCOUNT_1, a.ROOT, administrators=(*a.ACCOUNT_1.administrators, second))
    left = a.after(both, a.ROOT, administrators=(second,))
    s.sign("account with both", a.ROOT, both)
    s.sign("account without the first", a.ROOT, left)
    s.sign("status by the second", a.SECOND_ADMINISTRATOR, a.after(first, a.ADMINISTRATOR, iat=a.NOW))
    pins_left = s.pins("account without the first", "keyring", "owner", "editor", "reader", "connector", "secret")
    leaves = ("account with both", "account without the first")
    told("(2) a status whose administrator has left", "not_ready/status_missing", more=leaves, pins=pins_left)
    told("(3) a keyring whose administrator has left", "denied/keyring_unfounded",
         more=(*leaves, "status by the second"), pins=pins_left)  # fmt: skip
    # (4)
    s.sign("keyring 2", a.ADMINISTRATOR, a.KEYS.document(2, s.digest("keyring"), a.NOW))
    s.sign("excludes generation 1", a.ADMINISTRATOR, a.after(first, a.ADMINISTRATOR, keyrings={a.KEYRING: 2}))
    pinned_2 = s.pins("account", "keyring 2", "owner", "editor", "reader", "connector", "secret")
    told("(4) another generation", "stale_recipient/generation_stale", gen=2)
    told("(4) an older generation", "stale_recipient/generation_stale", more=("keyring 2",), pins=pinned_2)
    told("(4) the next generation", more=("keyring 2",), pins=pinned_2, gen=2)
    told("(4) an excluded generation", "stale_recipient/generation_excluded", more=("excludes generation 1",))
    told("(4) another keyring", "malformed/pin_missing", keyring="other")
    # (5)
    told("(5) a store by who may only reveal", "denied/grant_missing", **store)
    told("(5) a reveal by who may only edit", "denied/grant_missing", a.EDITOR)
    told("(5) a delete by who may only reveal", "denied/grant_missing", **never)
    told("(5) a check by who may only reveal", "denied/grant_missing", **check)
    for name, change in {
        "the reader's grant": {"grants": (a.opaque("grant reader"),)},
        "the owner's key": {"keys": (a.OWNER.kid,)},
        "the editor's grant": {"grants": (a.opaque("grant editor"),)},
    }.items():
        made = s.sign(f"revokes {name}", a.ADMINISTRATOR, a.after(first, a.ADMINISTRATOR, **change))
        told(f"(5), (6) when the status revokes {name}", "denied/grant_revoked", more=(made,))
    revoked = s.sign("revokes the reader's key", a.ADMINISTRATOR, a.after(first, a.ADMINISTRATOR, keys=(a.READER.kid,)))
    told("(5) a signer whose key is revoked", "denied/key_revoked", more=(revoked,))
    # (6)
    s.sign("secret deleted", a.EDITOR, a.after(s.payload("secret"), a.EDITOR, deleted=True))
    gone = s.pins("account", "keyring", "owner", "editor", "reader", "connector", "secret deleted")
    told("(6) a secret that is deleted", "conflict/secret_deleted", more=("secret deleted",), pins=gone)
    beside = s.pins(*pinned[:5], "connector beside", "secret beside")
    target = structs.replace(one, secret=a.opaque("secret beside"))
    told("(6) a connector of another project", "denied/connector_out_of_scope", targets=(target,), pins=beside)
    floor = s.sign("sets a floor", a.ADMINISTRATOR, a.after(first, a.ADMINISTRATOR, secrets={_ID: 2}))
    told("(6) a version below the floor", "denied/version_excluded", more=(floor,))
    told("(6) a version at the floor", more=(floor,), targets=(structs.replace(one, n=2),))
    told("(6) a version below the floor, to delete", signer=a.EDITOR, more=(floor,), **never)
    # (7)
    s.sign("connector deleted", a.ADMINISTRATOR, a.after(s.payload("connector"), a.ADMINISTRATOR, deleted=True))
    gone = s.pins("account", "keyring", "owner", "editor", "reader", "connector deleted", "secret")
    told(
        "(7) a connector that is deleted",
        "conflict/connector_deleted",
        signer=a.ADMINISTRATOR,
        more=("connector deleted",),
        pins=gone,
    )
    foreign = s.pins(*pinned[:5], "connector of another keyring", "secret foreign")
    target = structs.replace(one, secret=a.opaque("secret foreign"))
    told("(7) a connector of another keyring", "denied/connector_of_other_keyring", targets=(target,), pins=foreign)
    # (8)
    key: dict[str, Any] = {"version": one.version}
    connector = a.opaque("connector below")
    for name, op, changes, signer, target in (
        ("a check of a secret", "check", check, a.EDITOR, Target(secret=_ID)),
        ("a check of both", "check", check, a.EDITOR, Target(secret=_ID, connector=connector)),
        ("a check of nothing", "check", check, a.EDITOR, Target()),
        ("a check of a version", "check", check, a.EDITOR, Target(connector=connector, n=1)),
        ("a check of a version's task", "check", check, a.EDITOR, Target(connector=connector, **key)),
        ("a reveal of a connector", "reveal", {}, a.READER, Target(connector=connector)),
        ("a reveal of both", "reveal", {}, a.READER, structs.replace(one, connector=connector)),
        ("a reveal of no version", "reveal", {}, a.READER, Target(secret=_ID)),
        ("a reveal without the version's task", "reveal", {}, a.READER, Target(secret=_ID, n=1)),
        ("a store of version 0", "store", store, a.EDITOR, Target(secret=_ID)),
        ("a first version after another", "store", store, a.EDITOR, Target(secret=_ID, n=1, **key)),
        ("a second version after none", "store", store, a.EDITOR, Target(secret=_ID, n=2)),
        ("a delete of the whole with a task", "delete", never, a.EDITOR, Target(secret=_ID, **key)),
        ("a delete without the version's task", "delete", never, a.EDITOR, Target(secret=_ID, n=1)),
        ("a store that accepts excluded generations", "store", store, a.EDITOR, Target(secret=_ID, n=1, excluded=True)),
        ("a delete that does", "delete", never, a.EDITOR, structs.replace(one, excluded=True)),
        ("a check that does", "check", check, a.EDITOR, Target(connector=connector, excluded=True)),
    ):
        assert changes.get("op", "reveal") == op
        told(f"(8) {name}", "malformed/task_malformed", signer, **{**changes, "targets": (target,)})
    told("(8) a reveal that accepts excluded generations", targets=(structs.replace(one, excluded=True),))
    # (9)
    told("(9) a store without input", "malformed/task_malformed", a.EDITOR, **{**store, "input": ()})
    told("(9) a store with two inputs", "malformed/task_malformed", a.EDITOR, **{**store, "input": store["input"] * 2})
    told("(9) a reveal with an input", "malformed/task_malformed", input=store["input"])
    twice = {"targets": store["targets"] * 2, "input": store["input"] * 2}
    told("(9) one secret stored twice", "malformed/task_malformed", a.EDITOR, **{**store, **twice})
    # More than one target; selectors.
    below = s.pins(*pinned, "connector below", "secret below")
    both = (one, structs.replace(one, secret=a.opaque("secret below")))
    told("two targets", targets=both, pins=below, selectors=["eu", "linux"])
    told("two targets, one that isn't pinned", "malformed/pin_missing", targets=both)
    for name, wanted, effective in (
        ("a step's before all", [("gpu", "step"), ("x", "stage"), ("y", "pipeline")], ["gpu"]),
        (
            "a step group's before a stage's",
            [("gpu", "stepGroup"), ("big", "stepGroup"), ("x", "stage")],
            ["big", "gpu"],
        ),
        ("a stage's before a pipeline's", [("gpu", "stage"), ("y", "pipeline")], ["gpu"]),
        ("a pipeline's before a connector's", [("gpu", "pipeline")], ["gpu"]),
    ):
        chosen = tuple(WantedSelector(selector, origin) for selector, origin in wanted)  # type: ignore[arg-type]
        task = s.sign(f"task: selectors: {name}", a.READER, structs.replace(plain, selectors=chosen))
        s.tell(f"selectors: {name}", basis, judge(task, selectors=effective))
    return s.file("Tasks, by the steps of the warrant (formats, section 11).")
