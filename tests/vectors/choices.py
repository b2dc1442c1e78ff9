"""Vectors of who may take a task: selectors by their origins, conditions, and the scopes in a delegate's certificate."""

from __future__ import annotations

from typing import Any

from shared.documents.certificate import CertificateDocument
from shared.documents.jws import parse_as
from shared.documents.task import Target, TaskDocument, WantedSelector
from shared.errors import Denied
from shared.names import Scope
from shared.selectors import missing
from shared.trust.book import Book
from shared.trust.warrant import warrant
from tests.vectors import actors as a
from tests.vectors.credentials import beginning, newest, task, version
from tests.vectors.stories import Step, Stories, admit, delegated, judge, takes

_EU, _NOT_TEST = "region=eu", "not tier=test"


def choices() -> dict[str, Any]:
    """The steps of the warrant and of the delegate (section 11), and certificates' scopes (section 5)."""
    s = beginning()
    _tasks(s)
    _certificates(s)
    return s.file("Selectors' origins, conditions, and certificates' scopes (formats, sections 5 and 11).")


def _tasks(s: Stories) -> None:
    s.sign("kms", a.ADMINISTRATOR, a.connector("kms", type="AwsKms", selectors=("aws",), where=_EU, secrets=("key",)))
    s.sign("strict", a.ADMINISTRATOR, a.connector("strict", where=_NOT_TEST))
    s.sign("secret key", a.ADMINISTRATOR, a.secret("key", scope="account", connector=a.opaque("connector strict")))
    s.sign("secret wrapped", a.EDITOR, a.secret("wrapped", connector=a.opaque("connector kms")))
    s.sign("secret plain", a.EDITOR, a.secret("plain"))
    s.sign("secret apart", a.EDITOR, a.secret("apart", connector=a.opaque("connector strict")))
    s.sign("login", a.EDITOR, a.secret("login", type="SSHKey", connector=a.opaque("connector strict")))
    s.sign("strict for none", a.ADMINISTRATOR, a.after(s.payload("strict"), a.ADMINISTRATOR, where=""))
    basis = [name for name in s.compact if name != "strict for none"]
    people = ("account", "keyring", "owner", "editor", "reader")
    held = {a.opaque("connector kms"): {"key": a.opaque("secret key")}}

    def told(
        name: str, *tries: tuple[str, str], pins: tuple[str, ...] = ("local", "secret plain"), about: str = "plain",
        selectors: tuple[str, ...] = ("linux",), conditions: tuple[str, ...] = (), expect: str = "accepted",
        more: tuple[str, ...] = (), wanted: tuple[WantedSelector, ...] = (), **changes: Any,
    ) -> None:  # fmt: skip
        """`tries` are the tags of delegates, with a space between, and what each comes to."""
        fields = {"targets": (version(about),), "selectors": wanted, **changes}
        made = s.sign(f"task: {name}", a.ADMINISTRATOR, task(s, (*people, *pins), **fields))
        found = held if "credentials" in changes else None
        steps = [judge(made, expect, selectors=list(selectors), credentials=found, conditions=list(conditions))]
        steps += [delegated(made, tags.split(), outcome) for tags, outcome in tries]
        s.tell(name, basis, *(admit(one) for one in more), *steps)

    unmet, lacking = "denied/condition_unmet", "denied/selectors_missing"
    told("no condition", ("linux", "accepted"), ("linux gpu", "accepted"), ("gpu", lacking))
    told("a task's condition", ("linux region=eu", "accepted"), ("linux", unmet), where=_EU, conditions=(_EU,))
    told(
        "a task's condition besides the connector's selectors",
        ("region=eu", lacking),
        ("linux", unmet),
        ("linux region=eu", "accepted"),
        where=_EU,
        conditions=(_EU,),
    )
    for origin in ("step", "stepGroup", "stage", "pipeline"):
        told(
            f"selectors of a {origin}, which set the connector's aside, and its condition, which they don't",
            ("gpu", "accepted"),
            ("linux", lacking),
            ("gpu tier=test", unmet),
            pins=("local", "strict", "secret plain", "secret apart"),
            targets=(version("plain"), version("apart")),
            wanted=(WantedSelector("gpu", origin),),
            selectors=("gpu",),
            conditions=(_NOT_TEST,),
        )
    strict: dict[str, Any] = {"pins": ("strict", "secret apart"), "about": "apart", "selectors": ()}
    told("a connector's condition", ("x", "accepted"), ("tier=test", unmet), **strict, conditions=(_NOT_TEST,))
    told(
        "a connector's condition and the task's",
        ("region=eu", "accepted"),
        ("region=eu tier=test", unmet),
        ("x", unmet),
        **strict,
        where=_EU,
        conditions=(_NOT_TEST, _EU),
    )
    told("one condition twice", ("tier=test", unmet), **strict, where=_NOT_TEST, conditions=(_NOT_TEST,))
    told("conditions that exclude each other", ("tier=test", unmet), ("x", unmet), **strict, where="tier=test",
         conditions=(_NOT_TEST, "tier=test"))  # fmt: skip
    told(
        "the connector's condition after its revision",
        ("tier=test", "accepted"),
        pins=("strict for none", "secret apart"),
        about="apart",
        selectors=(),
        more=("strict for none",),
    )
    told(
        "the connector's condition before its revision",
        **strict,
        more=("strict for none",),
        expect="conflict/pin_stale",
    )
    wrapped: dict[str, Any] = {"pins": ("kms", "strict", "secret wrapped", "secret key"), "about": "wrapped"}
    told(
        "the condition of who holds a credential",
        ("aws region=eu", "accepted"),
        ("aws region=eu tier=test", unmet),
        ("aws", unmet),
        ("region=eu", lacking),
        **wrapped,
        selectors=("aws",),
        credentials=(newest("key"),),
        conditions=(_NOT_TEST, _EU),
    )
    both: dict[str, Any] = {"pins": ("local", "strict", "secret plain", "secret apart")}
    told(
        "the conditions of two targets",
        ("linux", "accepted"),
        ("linux tier=test", unmet),
        **both,
        targets=(version("plain"), version("apart")),
        conditions=(_NOT_TEST,),
    )
    told(
        "an SSHKey's connector has none that counts",
        ("tier=test", "accepted"),
        pins=("strict", "login"),
        op="check",
        targets=(Target(secret=a.opaque("secret login"), reference="a.example"),),
        selectors=(),
    )


def _certificates(s: Stories) -> None:
    certifying = a.KEYS.generation(1).certifying
    project, beside = a.PROJECT, "org/orders/project/other"
    told: dict[str, tuple[str, ...]] = {
        "for the whole account": (),
        "for the account, spelt out": ("account",),
        "for an organisation": ("org/orders",),
        "for a project": (project,),
        "for two projects": (project, beside),
    }
    for name, scopes in told.items():
        s.sign(name, certifying, a.certificate(scopes=scopes))
    basis = ["account", "status", "keyring"]
    asked: tuple[tuple[str, list[str], bool], ...] = (
        ("for the whole account", ["account"], True),
        ("for the whole account", ["account", "org/a", project], True),
        ("for the account, spelt out", ["account", project], True),
        ("for an organisation", ["org/orders"], True),
        ("for an organisation", [project, beside], True),
        ("for an organisation", ["account"], False),
        ("for an organisation", ["org/orders2"], False),
        ("for an organisation", ["org/order"], False),
        ("for an organisation", [project, "org/other"], False),
        ("for a project", [project], True),
        ("for a project", ["org/orders"], False),
        ("for a project", [beside], False),
        ("for a project", [], True),
        ("for two projects", [project, beside], True),
        ("for two projects", ["org/orders"], False),
    )
    for name, about, expect in asked:
        s.tell(f"{name}: {' '.join(about)}", basis, takes(name, about, expect))


def check(book: Book, documents: dict[str, str], step: Step) -> None:
    """The steps `delegate` and `takes` through the Python code."""
    if step["do"] == "takes":
        certificate = parse_as(CertificateDocument, documents[step["certificate"]]).document
        assert certificate.takes(map(Scope.parse, step["scopes"])) == step["takes"]
        return
    granted = warrant(book, book.verify(parse_as(TaskDocument, documents[step["task"]])), step["now"])
    if missing(granted.selectors, step["tags"]):
        raise Denied("selectors_missing", "it lacks selectors")
    if not all(one.holds(step["tags"]) for one in granted.conditions):
        raise Denied("condition_unmet", "it doesn't meet a condition")
