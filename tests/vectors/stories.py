"""Stories: what a book, given documents in order, says of each. One registry of documents, and steps that name them.

    setup    documents that are admitted first, at the time `now`, all accepted
    steps    admit a document, check a certificate, judge a task or whether a delegate may take it, ask whether a certificate
             takes scopes, which tags its delegate owns, or whether a key may do something; each with `expect`

The outcome of a case is that of its last step. Pure; times are in the steps.
"""

from __future__ import annotations

import json
from typing import Any

from shared.canonical import digest, encode
from shared.crypto.identity import Identity
from shared.documents.fields import Payload
from shared.documents.jws import kind_of
from shared.documents.task import Pin
from shared.documents.usage import TaskUsage
from tests.vectors import actors as a

Step = dict[str, Any]


class Stories:
    """The cases of one file, and the documents that they name."""

    def __init__(self) -> None:
        self.compact: dict[str, str] = {}
        self._payloads: dict[str, Any] = {}
        self.cases: list[dict[str, Any]] = []

    def sign(self, name: str, signer: Identity, payload: Payload) -> str:
        """Put a signed document in the registry; gives its name."""
        return self.put(name, signer.sign_document(payload), payload)

    def put(self, name: str, compact: str, payload: Any = None) -> str:
        """Put any text in the registry; gives its name."""
        if name in self.compact:
            raise ValueError(f"two documents are called {name}")
        self.compact[name] = compact
        self._payloads[name] = payload
        return name

    def payload(self, name: str) -> Any:
        """What a document of the registry says."""
        return self._payloads[name]

    def digest(self, name: str) -> str:
        """Its digest."""
        return digest(self.compact[name])

    def pins(self, *names: str) -> tuple[Pin, ...]:
        """Pins of documents of the registry."""
        return tuple(
            Pin(kind_of(one), one.id, one.rev, self.digest(name))  # type: ignore[arg-type]
            for name in names
            for one in (self._payloads[name],)
        )

    def tell(self, name: str, setup: list[str], *steps: Step) -> None:
        """Add a case."""
        for step in steps:
            outcome, _, code = step["expect"].partition("/")
            step["expect"] = outcome
            if code:
                step["code"] = code
        self.cases.append(a.case(name, steps[-1]["expect"], setup=setup, steps=list(steps)))

    def file(self, about: str) -> dict[str, Any]:
        """The file of vectors, with the documents that its cases name."""
        kids = {name: one.kid for name, one in a.IDENTITIES.items()}
        return a.file(about, self.cases, now=a.NOW, account=a.ACCOUNT, kids=kids, documents=self.compact)


def admit(document: str, expect: str = "accepted", now: int = a.NOW) -> Step:
    """The book is shown a document."""
    return {"do": "admit", "document": document, "now": now, "expect": expect}


def may(
    who: str,
    permission: str,
    scope: str,
    expect: str = "accepted",
    resource: str | None = None,
    now: int = a.NOW,
    usage: TaskUsage | None = None,
) -> Step:
    """Whether that key may do that, for what is stated as `usage`."""
    step: Step = {"do": "may", "who": who, "permission": permission, "scope": scope, "now": now, "expect": expect}
    step |= {"usage": json.loads(encode(usage))} if usage else {}
    return {**step, "resource": resource} if resource else step


def certify(certificate: str, expect: str = "accepted", now: int = a.NOW) -> Step:
    """Whether a delegate's certificate holds."""
    return {"do": "certificate", "certificate": certificate, "keyring": a.KEYRING, "now": now, "expect": expect}


def judge(
    task: str,
    expect: str = "accepted",
    now: int = a.NOW,
    selectors: list[str] | None = None,
    credentials: dict[str, dict[str, str]] | None = None,
    conditions: list[str] | None = None,
) -> Step:
    """Whether a task may be acted on: with which selectors and conditions, and what its connectors get: id, reference, id."""
    step = {"do": "task", "task": task, "now": now, "expect": expect}
    granted: Step = {"selectors": selectors or []}
    granted |= {"credentials": credentials} if credentials else {}
    granted |= {"conditions": conditions} if conditions else {}
    return step if expect != "accepted" else {**step, **granted}


def delegated(task: str, tags: list[str], expect: str = "accepted", now: int = a.NOW) -> Step:
    """Whether a delegate with those tags may take a task that may be acted on."""
    return {"do": "delegate", "task": task, "tags": tags, "now": now, "expect": expect}


def takes(certificate: str, scopes: list[str], whether: bool) -> Step:
    """Whether the delegate of a certificate says that it takes tasks about those scopes."""
    step = {"do": "takes", "certificate": certificate, "scopes": scopes, "takes": whether}
    return {**step, "now": a.NOW, "expect": "accepted"}
