"""Vectors of orders: which of their documents counts, what a run is called, and which run may be acted on when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from msgspec import structs

from shared.canonical import b64u
from shared.documents.jws import Verified, parse_as
from shared.documents.order import OrderDocument
from shared.documents.task import KnownStatus, Target
from shared.orders import due, run_id
from shared.trust.book import Book
from shared.trust.warrant import standing
from tests.vectors import actors as a
from tests.vectors.limits import Edit, put
from tests.vectors.stories import Step, Stories, admit

HOUR = 3_600
_DIGEST = b64u(a.fixed("digest of an order"))


LIMITS: Mapping[str, Edit] = {
    "longer than 90 days": put(exp=a.NOW + 90 * 86_400 + 1),
    "an end at its beginning": put(exp=a.NOW),
    "an end before its beginning": put(exp=a.NOW - 1),
    "an interval of 59 seconds": put(interval=59),
    "an interval of a second": put(interval=1),
    "a negative interval": put(interval=-1),
    "an interval of more than 90 days": put(interval=90 * 86_400 + 1),
    "two runs without an interval": put(interval=0, runs=2),
    "no runs": put(runs=0),
    "more runs than 90 days have minutes": put(runs=129_601),
    "two inputs": put(input=[_DIGEST, _DIGEST]),
    "no time limit at all": put(seconds=0),
    "a time limit of more than a day": put(seconds=86_401),
    "a reveal": put(op="reveal"),
    "a store": put(op="store"),
    "a delete": put(op="delete"),
    "a repeat": put(repeat="any"),
    "one delegate": put(to=_DIGEST),
    "a condition in another form": put(where="a  and b"),
    "no targets": put(targets=[]),
    "no pins": put(pins=[]),
    "an owner that is a key of another length": put(owner=_DIGEST[:-1]),
    "a name that begins with a blank": put(name=" nightly"),
    "a pin of an order": put(pins=[["order", a.opaque("order nightly"), 1, _DIGEST]]),
}
"""Edits that each cross one limit of an order."""


def orders() -> dict[str, Any]:
    """Orders of an editor and of an administrator."""
    s = Stories()
    parent = a.opaque("grant owner")
    first = a.status()
    s.sign("account", a.ROOT, a.ACCOUNT_1)
    s.sign("status", a.ADMINISTRATOR, first)
    s.sign("keyring", a.ADMINISTRATOR, a.KEYS_1.document(1, None, a.NOW))
    s.sign("owner", a.ADMINISTRATOR, a.grant("owner", a.OWNER, ("admin", "edit", "use"), "org/orders"))
    s.sign("editor", a.OWNER, a.grant("editor", a.EDITOR, ("edit", "use"), a.PROJECT, parent=parent))
    s.sign("connector", a.EDITOR, a.connector("below", scope=a.PROJECT, selectors=("linux",)))
    basis, pinned = [*s.compact], ("account", "keyring", "owner", "editor", "connector")
    below = (Target(connector=a.opaque("connector below")),)
    plain = a.order(s.pins(*pinned), KnownStatus(1, s.digest("status")), targets=below, runs=5)
    s.sign("order", a.EDITOR, plain)
    second = a.after(plain, a.EDITOR, runs=4)
    s.sign("order 2", a.EDITOR, second)
    s.sign("another 2", a.EDITOR, a.after(plain, a.EDITOR, runs=3))
    s.sign("9", a.EDITOR, structs.replace(second, rev=9, prev=b64u(bytes(32))))
    s.sign("1 with prev", a.EDITOR, structs.replace(plain, prev=b64u(bytes(32))))
    s.sign("deleted", a.EDITOR, a.after(plain, a.EDITOR, deleted=True))
    s.sign("deleted by the administrator", a.ADMINISTRATOR, structs.replace(s.payload("deleted"), owner=plain.owner))
    s.sign("changed by the administrator", a.ADMINISTRATOR, second)
    s.sign("deleted by the owner of the scope", a.OWNER, s.payload("deleted"))
    s.sign("after its end", a.EDITOR, a.after(s.payload("deleted"), a.EDITOR, deleted=False))
    s.sign("taken over", a.OWNER, structs.replace(second, owner=a.OWNER.kid))
    s.sign("in the editor's name", a.OWNER, plain)
    s.sign("by a stranger", a.STRANGER, structs.replace(plain, owner=a.STRANGER.kid))
    s.sign("of another account", a.EDITOR, structs.replace(plain, acct="a" * 52))

    s.tell("an order", basis, admit("order"))
    s.tell("its next revision", basis, admit("order"), admit("order 2"))
    s.tell("an older one", basis, admit("order 2"), admit("order", "conflict/revision_stale"))
    s.tell("a fork", basis, admit("order"), admit("order 2"), admit("another 2", "tampered/revision_forked"))
    s.tell("a gap", basis, admit("order"), admit("9"))
    s.tell("a first one with prev", basis, admit("1 with prev", "malformed/revision_malformed"))
    s.tell(
        "a cancelled one", basis, admit("order"), admit("deleted"), admit("after its end", "conflict/document_deleted")
    )
    s.tell("one that an administrator cancels", basis, admit("order"), admit("deleted by the administrator"))
    for name in ("changed by the administrator", "deleted by the owner of the scope", "in the editor's name"):
        s.tell(name, basis, admit(name, "denied/order_of_another"))
    s.tell("one that is taken over", basis, admit("order"), admit("taken over", "conflict/field_immutable"))
    s.tell("one by a stranger", basis, admit("by a stranger", "unauthenticated/signer_unknown"))
    s.tell("one of another account", basis, admit("of another account", "tampered/account_foreign"))

    def runs(name: str, *told: tuple[int, int, str]) -> None:
        """Cases of run n at so many seconds after the beginning."""
        for n, at, expect in told:
            s.tell(f"{name}: run {n} after {at} s", [*basis, name], run(s, name, n, expect, a.NOW + at))

    runs(
        "order",
        (0, 0, "accepted"),
        (0, -120, "accepted"),
        (0, -121, "denied/run_early"),
        (0, HOUR + 119, "accepted"),
        (0, HOUR + 120, "expired/run_late"),
        (1, HOUR - 120, "accepted"),
        (1, HOUR - 121, "denied/run_early"),
        (4, 4 * HOUR, "accepted"),
        (5, 5 * HOUR, "denied/run_beyond_budget"),
        (4, 24 * HOUR, "expired/order_expired"),
    )
    s.sign("long", a.EDITOR, structs.replace(plain, exp=a.NOW + 2 * HOUR + 1, runs=100))
    runs(
        "long",
        (2, 2 * HOUR, "accepted"),
        (2, 2 * HOUR + 1, "expired/order_expired"),
        (3, 2 * HOUR, "denied/run_beyond_budget"),
    )
    s.sign("once", a.EDITOR, structs.replace(plain, interval=0, runs=1))
    runs(
        "once",
        (0, 24 * HOUR - 1, "accepted"),
        (0, 24 * HOUR, "expired/order_expired"),
        (1, 0, "denied/run_beyond_budget"),
    )
    s.sign("by the administrator", a.ADMINISTRATOR, structs.replace(plain, owner=a.ADMINISTRATOR.kid))
    runs("by the administrator", (0, 0, "accepted"))
    unpinned = structs.replace(plain, pins=s.pins("account", "keyring", "connector"))
    s.sign("by grants that aren't pinned", a.EDITOR, unpinned)
    runs("by grants that aren't pinned", (0, 0, "denied/grant_missing"))
    s.sign("with a time limit", a.EDITOR, structs.replace(plain, seconds=60))
    runs("with a time limit", (0, 0, "malformed/task_malformed"))
    s.sign("with an input", a.EDITOR, structs.replace(plain, input=(b64u(bytes(32)),)))
    runs("with an input", (0, 0, "malformed/task_malformed"))
    s.sign("status 2", a.ADMINISTRATOR, a.after(first, a.ADMINISTRATOR, grants=(a.opaque("grant editor"),)))
    s.sign("connector 2", a.EDITOR, a.after(s.payload("connector"), a.EDITOR, name="renamed"))
    now = a.NOW
    s.tell(
        "of a signer whose grant fell", basis,
        admit("order"), run(s, "order", 0), admit("status 2"), run(s, "order", 0, "denied/grant_revoked"),
    )  # fmt: skip
    s.tell(
        "about what was revised", basis,
        admit("order"), admit("connector 2"), run(s, "order", 0, "conflict/pin_stale", now),
    )  # fmt: skip
    s.tell(
        "of an older revision", basis,
        admit("order"), admit("order 2"), run(s, "order", 0, "conflict/order_superseded"), run(s, "order 2", 0),
    )  # fmt: skip
    s.tell(
        "of a cancelled order", basis,
        admit("order"), admit("deleted"), run(s, "deleted", 0, "conflict/order_deleted"),
    )  # fmt: skip
    s.tell("of one that was never taken in", basis, run(s, "order", 0, "conflict/order_superseded"))
    return s.file("Orders and their runs (formats, section 23).")


def run(s: Stories, name: str, n: int, expect: str = "accepted", now: int = a.NOW) -> Step:
    """Whether run `n` of an order may be acted on; its id, and the effective selectors."""
    told = s.payload(name)
    step: Step = {"do": "run", "order": name, "n": n, "id": run_id(s.digest(name), n), "now": now, "expect": expect}
    step["due"] = due(told, now)
    return {**step, "selectors": ["linux"]} if expect == "accepted" else step


def check(book: Book, documents: dict[str, str], step: Step) -> None:
    """A step of a run through the Python code."""
    order = cast("Verified[OrderDocument]", book.verify(parse_as(OrderDocument, documents[step["order"]])))
    assert run_id(order.digest, step["n"]) == step["id"]
    assert due(order.document, step["now"]) == step["due"]
    granted = standing(book, order, step["n"], step["now"])
    assert (granted.task.digest, sorted(granted.selectors)) == (step["id"], step["selectors"])
