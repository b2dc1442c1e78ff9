"""The directory: which documents a secret's place stands for, and which version is its newest.

Promises: what it gives was asked for by scope and identifier, is believed, and is no older than anything seen before.
Resolved secrets are kept in memory, so that a long-lived client asks only for what it doesn't know; a stale one is found
out by the pins of its next task. Must not hold values.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar, cast

import msgspec
from msgspec import Meta

from client.account import Account, Pages, following
from client.listed import Listed
from client.tasks import Subject, places_of
from shared.canonical import digest
from shared.documents.connector import BUILT_IN, BUILT_IN_ALIASES, CUSTOM, ConnectorDocument
from shared.documents.fields import Count, Revisioned
from shared.documents.jws import Verified, parse, parse_as
from shared.documents.scope import ScopeDocument
from shared.documents.secret import SSH_KEY, SecretDocument
from shared.errors import Malformed, NotFound, PrivySealError, Tampered
from shared.names import ACCOUNT_SCOPE, Reference, Scope
from shared.references import DirectReference

CAPACITY = 10_000
PAGE = 500
MOST_AT_ONCE = 1_000

D = TypeVar("D", bound=Revisioned)


class Latest(msgspec.Struct, frozen=True):
    """A secret's newest version, by the manager's word: its number (0: none) and its store task's digest."""

    n: Count
    digest: Annotated[str, Meta(max_length=43)]


_latest = dict[str, Latest]


@dataclass(frozen=True, slots=True)
class Known:
    """A secret with its documents; `n` is 0 before its first version."""

    secret: Verified[SecretDocument]
    connector: Verified[ConnectorDocument]
    n: int = 0
    version: str | None = None


class Directory:
    """One account's secrets and connectors, as far as this process asked for them."""

    def __init__(self, account: Account, capacity: int = CAPACITY) -> None:
        self._account = account
        self._capacity = capacity
        self._known: OrderedDict[Reference, Known] = OrderedDict()
        self._places: dict[str, Reference] = {}

    async def find(self, references: Sequence[Reference], *, fresh: bool = False) -> list[Known | PrivySealError]:
        """What each reference stands for, or why it stands for nothing; `fresh` asks even for what is known."""
        wanted = list(dict.fromkeys(one for one in references if fresh or not self._is_known(one)))
        found: dict[Reference, Known | PrivySealError] = {}
        for at in range(0, len(wanted), MOST_AT_ONCE):
            found |= await self._resolve(wanted[at : at + MOST_AT_ONCE])
        for reference in references:
            if reference not in found:
                found[reference] = self._known[reference]
                self._known.move_to_end(reference)
        return [found[reference] for reference in references]

    def remembered(self, references: Sequence[Reference]) -> list[Known] | None:
        """What the references stand for where all of them are known: nobody need be asked."""
        found = [self._known.get(reference) for reference in references]
        return cast("list[Known]", found) if all(map(self._is_known, references)) else None

    def _is_known(self, reference: Reference) -> bool:
        """Whether nobody need be asked for it, nor for the credentials and the template of its connector."""
        first = self._known.get(reference)
        if first is None:
            return False
        if first.connector.document.type != CUSTOM and not (
            first.connector.document.secrets or first.secret.document.secrets
        ):
            return True
        seen: set[Reference] = set()
        waiting = [reference]
        while waiting:
            place = waiting.pop()
            if place in seen:
                continue
            known = self._known.get(place)
            if known is None or self._lacks_template(self.newest_revision(known.connector).document):
                return False
            seen.add(place)
            waiting += (*places_of(known.connector.document), *places_of(known.secret.document))
        return True

    async def one(self, reference: Reference, *, fresh: bool = False) -> Known:
        """Raises NotFound, or why its document isn't believed."""
        (found,) = await self.find([reference], fresh=fresh)
        if isinstance(found, PrivySealError):
            raise found
        return found

    async def connector(self, reference: Reference | None) -> Verified[ConnectorDocument]:
        """A connector, by default the built-in. Raises NotFound."""
        if reference is None or reference.identifier in BUILT_IN_ALIASES:
            reference = Reference(ACCOUNT_SCOPE, BUILT_IN)
        asked = [{"scope": str(reference.scope), "identifier": reference.identifier}]
        body = (
            await self._account.ask("POST", "resolve", json={"secrets": [], "connectors": asked}, repeatable=True)
        ).json()
        refused = self._account.believe_all(body.get("documents") or ())
        self._take(body, refused, ())
        for connector in self._believed(body, ConnectorDocument):
            if _place(connector.document) == reference and not connector.document.deleted:
                return connector
        for compact, why in refused.items():
            if _place(parse(compact).document) == reference:
                raise why
        raise NotFound(
            "connector_unknown",
            f"there is no connector {reference.identifier} in {reference.scope}",
            "check its name and scope",
        )

    async def read_by(self, wanted: DirectReference) -> Verified[ConnectorDocument]:
        """The connector that is to read what no secret stands for. Raises NotFound, Malformed for one of another type."""
        found = await self.connector(wanted.connector)
        if found.document.type != wanted.kind:
            raise Malformed(
                "connector_type_differs",
                f"the reference is for a connector of the type {wanted.kind}, and {wanted.connector} is a {found.document.type}",
                "write the type that it has, or name another connector",
            )
        return found

    async def connector_of_id(self, id: str) -> Verified[ConnectorDocument] | None:
        """The newest revision of that connector, which may be a deleted one; None where it isn't shown."""
        asked = {"secrets": [], "connectors": [{"id": id}]}
        body = (await self._account.ask("POST", "resolve", json=asked, repeatable=True)).json()
        self._take(body, self._account.believe_all(body.get("documents") or ()), ())
        return next((one for one in self._believed(body, ConnectorDocument) if one.document.id == id), None)

    async def must_exist(self, scope: Scope) -> None:
        """Raises NotFound for an organisation or project that isn't there, as far as this principal could see it.

        Who holds a grant in one place alone is shown nothing above it; he can't mistype his way out of it either.
        """
        if not scope.org or not self._account.book.authority.is_administrator(self._account.identity.kid):
            return
        for parent, identifier in ((ACCOUNT_SCOPE, scope.org), (Scope(scope.org), scope.project)):
            if not identifier:
                continue
            async for one in self.documents("scope", ScopeDocument, parent):
                if one.verified and one.document.identifier == identifier and not one.document.deleted:
                    break
            else:
                kind = "project" if parent.org else "organisation"
                raise NotFound("scope_unknown", f"there is no {kind} {identifier}", "list them, or make it first")

    async def _resolve(self, wanted: Sequence[Reference]) -> dict[Reference, Known | PrivySealError]:
        asked = [{"scope": str(one.scope), "identifier": one.identifier} for one in wanted]
        reply = await self._account.ask("POST", "resolve", json={"secrets": asked, "connectors": []}, repeatable=True)
        body = reply.json()
        return self._take(body, self._account.believe_all(body.get("documents") or ()), wanted)

    def _take(
        self, body: Mapping[str, Any], refused: Mapping[str, PrivySealError], wanted: Sequence[Reference]
    ) -> dict[Reference, Known | PrivySealError]:
        """Keeps what was asked for and the credentials that came with it."""
        latest = _read_latest(body.get("latest"))
        connectors = {one.document.id: one for one in self._believed(body, ConnectorDocument)}
        secrets = self._believed(body, SecretDocument)
        named = [place for one in connectors.values() for place in places_of(one.document)]
        places = {*wanted, *named, *(place for one in secrets for place in places_of(one.document))}
        found: dict[Reference, Known | PrivySealError] = {}
        for compact, why in refused.items():
            place = _place(parse(compact).document)
            if place is None:
                raise why
            found[place] = why
        for secret in secrets:
            place = _place(secret.document)
            if place is None or place not in places:
                raise Tampered("secret_unasked", "the manager answered with another secret than was asked for")
            if not secret.document.deleted and not isinstance(found.get(place), Known):
                found[place] = self._keep(place, secret, connectors, latest.get(secret.document.id))
        return {one: found.get(one) or self._unknown(one) for one in wanted}

    def _keep(
        self,
        place: Reference,
        secret: Verified[SecretDocument],
        connectors: Mapping[str, Verified[ConnectorDocument]],
        latest: Latest | None,
    ) -> Known | PrivySealError:
        connector = connectors.get(secret.document.connector)
        if connector is None:
            return NotFound(
                "connector_unknown", "the manager doesn't show the connector of the secret", "check the grants"
            )
        seen = self._account.state.seen.versions.get(secret.document.id)
        if latest is None and seen is not None:
            return Tampered(
                "version_rolled_back",
                f"the manager shows no version of a secret of which version {seen[0]} was seen before",
                "don't trust this manager until you know why",
            )
        if latest is not None:
            self._account.state.check_version(secret.document.id, latest.n, latest.digest)
        known = Known(secret, connector, latest.n if latest else 0, latest.digest if latest else None)
        self.remember(place, known)
        return known

    def remember(self, place: Reference, known: Known) -> None:
        """Keeps what a place stands for."""
        self._known[place] = known
        self._known.move_to_end(place)
        self._places[known.secret.document.id] = place
        if len(self._known) > self._capacity:
            _, forgotten = self._known.popitem(last=False)
            self._places.pop(forgotten.secret.document.id, None)

    def forget(self, references: Iterable[Reference]) -> None:
        """Asks anew next time."""
        for reference in references:
            known = self._known.pop(reference, None)
            if known is not None:
                self._places.pop(known.secret.document.id, None)

    async def learn(self, facts: Mapping[str, Any]) -> None:
        """Takes newer versions from a conflict's facts; its documents are in the book by now.

        Where a newer revision of a connector or SSHKey names other secrets, or a connector runs another template, those are asked
        for, and so are newer revisions of those.
        """
        for secret, latest in _read_latest(facts.get("latest")).items():
            self._account.state.check_version(secret, latest.n, latest.digest)
            place = self._places.get(secret)
            if place is not None:
                self._known[place] = replace(self._known[place], n=latest.n, version=latest.digest or None)
        users = {known.connector.document.id: place for place, known in self._known.items()}
        logins = (one for one in self._known.items() if one[1].secret.document.type == SSH_KEY)
        for place in [*users.values(), *(place for place, _ in logins)]:
            if (known := self._known.get(place)) is None:
                continue  # forgotten for want of room
            connector = self.newest_revision(known.connector).document
            below = [*places_of(connector), *places_of(self.newest_revision(known.secret).document)]
            below += [
                deep for one in below if one in self._known for deep in places_of(self._known[one].secret.document)
            ]
            if self._lacks_template(connector) or any(
                one not in self._known or self._is_stale(one, facts) for one in below
            ):
                await self._resolve([place])

    def _lacks_template(self, connector: ConnectorDocument) -> bool:
        """Whether it runs a template that nobody has shown yet: a conflict tells of the connector alone."""
        return connector.template is not None and self._account.book.head("template", connector.template.id) is None

    def _is_stale(self, place: Reference, facts: Mapping[str, Any]) -> bool:
        """Whether a conflict says that there is a newer revision of that secret: it comes only with who uses it."""
        stale = facts.get("stale")
        id = self._known[place].secret.document.id
        return isinstance(stale, list) and ["secret", id] in stale

    def credentials(
        self, connectors: Iterable[Verified[ConnectorDocument]], logins: Iterable[SecretDocument] = ()
    ) -> list[Subject]:
        """The newest versions of the secrets that connectors and SSHKeys name, and of those that their holders name, each once.

        Raises NotFound for one that isn't there or has no value.
        """
        found: dict[Reference, Subject] = {}
        waiting: list[ConnectorDocument | SecretDocument] = [
            *{one.digest: one.document for one in connectors}.values(),
            *logins,
        ]
        while waiting:
            holder = waiting.pop()
            for place in places_of(holder):
                if place in found:
                    continue
                try:
                    known = self.current(place)
                except NotFound:
                    raise _lacking(holder, place, "isn't there or may not be used by who signed that") from None
                secret = known.secret.document
                if not known.n and secret.type != SSH_KEY:
                    raise _lacking(holder, place, "has no value yet")
                found[place] = Subject(known.secret, known.connector, known.n, known.version, latest=True)
                # Who holds an SSHKey keeps nothing of it.
                waiting.append(secret if secret.type == SSH_KEY else known.connector.document)
        return list(found.values())

    def newest(self, reference: Reference, *, excluded: bool = False) -> Subject:
        """The newest version of a secret as a task's target; `excluded` is as in `Target`. Raises NotFound where there is none."""
        known = self.current(reference)
        if known.secret.document.type == SSH_KEY:
            raise Malformed(
                "secret_is_login",
                f"{reference} is an SSHKey: it has no value of its own",
                "try it at a host: privyseal secret test; or name one of the secrets that it refers to",
            )
        if not known.n:
            raise NotFound("version_unknown", f"the secret {reference} has no version yet", "privyseal secret set")
        return Subject(known.secret, known.connector, known.n, known.version, latest=True, excluded=excluded)

    def current(self, reference: Reference) -> Known:
        """What is known of a place, in the newest revisions that the book holds. Raises NotFound when it was deleted."""
        known = self._known.get(reference)
        if known is None:
            raise self._unknown(reference)
        secret, connector = self.newest_revision(known.secret), self.newest_revision(known.connector)
        if secret.document.deleted:
            self.forget([reference])
            raise self._unknown(reference)
        if secret is not known.secret or connector is not known.connector:
            known = self._known[reference] = replace(known, secret=secret, connector=connector)
        return known

    def newest_revision(self, one: Verified[D]) -> Verified[D]:
        """The newest one of it in the book."""
        newest = self._account.book.newest(one.document)
        if newest is None or newest[1] == one.digest:
            return one
        return cast("Verified[D] | None", self._account.book.find(newest[1])) or one

    def _unknown(self, reference: Reference) -> NotFound:
        place = f"{reference.scope}:{reference.identifier}"
        hint = "check its name and scope: privyseal secret list --all"
        if self._account.state.seen.places.get(place, ("", 0))[0]:
            hint = "it was seen before: it was deleted, it lies outside of your grants, or the manager withholds it"
        return NotFound("secret_unknown", f"there is no secret {reference.identifier} in {reference.scope}", hint)

    def _believed(self, body: Mapping[str, Any], cls: type[D]) -> list[Verified[D]]:
        """The documents of one kind in a reply that are the newest of their kind in the book."""
        book, found = self._account.book, []
        for compact in body.get("documents") or ():
            known = book.find(digest(compact))
            document = parse(compact).document if known is None else known.document
            if isinstance(document, cls):
                newest = book.newest(document)
                one = book.find(newest[1]) if newest else None
                if one is not None and isinstance(one.document, cls):
                    found.append(cast(Verified[D], one))
        return found

    async def documents(self, kind: str, cls: type[D], scope: Scope, *, below: bool = True) -> AsyncIterator[Listed[D]]:
        """Every document of a kind in `scope` (and below), newest revisions, also those that aren't believed."""
        after: str | None = ""
        pages = Pages()
        while after is not None:
            query: dict[str, str | int] = {"scope": str(scope), "limit": PAGE, **({"below": 1} if below else {})}
            if after:
                query["after"] = after
            reply = await self._account.ask("GET", f"documents/{kind}", query=query)
            body = reply.json()
            compacts = body.get("documents") or ()
            for compact, why in self._account.believe_all(compacts).items():
                if isinstance(why, Tampered | Malformed):
                    raise why
                yield Listed(parse_as(cls, compact), why)
            for one in self._believed({"documents": compacts}, cls):
                yield Listed(one)
            after = pages.go_on(following(body))


def _read_latest(told: object) -> dict[str, Latest]:
    try:
        return msgspec.convert(told or {}, _latest)
    except msgspec.ValidationError:
        raise Malformed(
            "manager_faulty", "the manager names a newest version in a form that is none", "update one of both"
        ) from None


def _lacking(holder: ConnectorDocument | SecretDocument, place: Reference, what: str) -> NotFound:
    kind = "connector" if isinstance(holder, ConnectorDocument) else "SSHKey"
    return NotFound(
        "credential_unknown",
        f"the {kind} {holder.identifier} needs the secret {place.identifier} in {place.scope}, which {what}",
        f"store it: privyseal secret set {place}",
    )


def _place(document: object) -> Reference | None:
    scope, identifier = getattr(document, "scope", None), getattr(document, "identifier", None)
    return Reference(Scope.parse(scope), identifier) if isinstance(scope, str) and isinstance(identifier, str) else None
