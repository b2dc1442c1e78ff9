"""The book: what one party knows of one account. Verified documents by digest, and the newest revision of each.

Manager, delegate and client keep the same book by the same rules, which is why a manager can't show two of them
different things for long. A document is taken in when its signer may sign it now; a lower revision than seen, or two with
one number, is refused. No I/O; time is an argument.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from typing import NamedTuple, TypeVar, cast

from shared.canonical import digest
from shared.documents.account import AccountDocument
from shared.documents.connector import ConnectorDocument
from shared.documents.fields import Payload, Permission, Revisioned
from shared.documents.grant import GrantDocument
from shared.documents.group import GroupDocument
from shared.documents.jws import Unverified, Verified, VerifyingKey, kind_of, parse, thumbprint
from shared.documents.keyring import KeyringDocument
from shared.documents.order import OrderDocument
from shared.documents.scope import ScopeDocument
from shared.documents.secret import SecretDocument
from shared.documents.status import StatusDocument
from shared.documents.template import TemplateDocument
from shared.errors import Conflict, Denied, Malformed, NotReady, PrivySealError, Tampered, Unauthenticated
from shared.names import Scope
from shared.trust.account import accept_account
from shared.trust.authority import LONGEST_CHAIN, Authority
from shared.trust.revision import check_change, check_first, check_order, id_of, scope_of
from shared.trust.status import accept_status

P = TypeVar("P", bound=Payload)

CAPACITY = 100_000
"""Secrets, connectors, templates and scopes that a book remembers; what the account stands on it never forgets."""

MOST_ORDERS = 1_000
"""Orders of one owner that a book remembers. Anybody with a grant may sign them: they crowd out nobody else's, and nothing else."""

_PASSES = 8
"""Rounds of `admit_all`: a grant chain has four links, and a status may wait for its base and signer."""

_FIRM = frozenset({"account", "grant", "group", "keyring", "status"})


class _Entry(NamedTuple):
    rev: int
    digest: str
    scope: str


class Book:
    """One account's documents, as far as this party knows and believes them.

    `keyrings`, `groups` (deleted ones too) and `status` are those behind which an administrator stands now; one that is
    removed or revoked takes what he signed with him, until another signs a next revision.
    """

    def __init__(self, account: str, capacity: int = CAPACITY) -> None:
        self.id = account
        self.account: Verified[AccountDocument] | None = None
        self.status: Verified[StatusDocument] | None = None
        self.grants: dict[str, Verified[GrantDocument]] = {}
        self.keyrings: dict[str, Verified[KeyringDocument]] = {}
        self.groups: dict[str, Verified[GroupDocument]] = {}
        self._last_status: Verified[StatusDocument] | None = None
        self._documents: OrderedDict[str, Verified[Revisioned]] = OrderedDict()
        self._newest: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._firm_documents: dict[str, Verified[Revisioned]] = {}
        self._firm_newest: dict[tuple[str, str], _Entry] = {}
        self._orders: dict[str, OrderedDict[tuple[str, str], _Entry]] = {}
        self._keys: dict[str, VerifyingKey] = {}
        self._capacity = capacity
        self._authority: Authority | None = None
        self._authorities: dict[frozenset[str], Authority] = {}
        self._below: Book | None = None

    @property
    def authority(self) -> Authority:
        """Decides by all grants known. Raises NotReady before the first account document."""
        if self._authority is None:
            self._authority = self.authority_of(self.grants.values())
        return self._authority

    def authority_of(self, grants: Collection[Verified[GrantDocument]]) -> Authority:
        """Decides by these grants alone. Raises NotReady before the first account document."""
        if self.account is None:
            raise NotReady("account_documents_missing", "no account document is known yet")
        name = frozenset(grant.digest for grant in grants)
        known = self._authorities.get(name)
        if known is None:
            # The last status revokes even when nobody stands behind it any more: that only ever takes away.
            status = self._last_status.document if self._last_status else None
            known = Authority(self.account.document, status, grants)
            if len(self._authorities) > 1_000:
                self._authorities.clear()
            self._authorities[name] = known
        return known

    def draft(self) -> Book:
        """A book to try documents in: it knows what this one knows, and what it takes in doesn't reach this one."""
        draft = Book(self.id, self._capacity)
        draft.account, draft.status, draft._last_status = self.account, self.status, self._last_status
        draft.grants, draft.keyrings, draft.groups = dict(self.grants), dict(self.keyrings), dict(self.groups)
        draft._firm_documents, draft._firm_newest = dict(self._firm_documents), dict(self._firm_newest)
        draft._orders = {owner: OrderedDict(theirs) for owner, theirs in self._orders.items()}
        draft._keys, draft._below = dict(self._keys), self
        return draft

    def find(self, sha256: str) -> Verified[Revisioned] | None:
        """The document with that digest, if it is known."""
        found = self._documents.get(sha256) or self._firm_documents.get(sha256)
        return self._below.find(sha256) if found is None and self._below is not None else found

    def head(self, kind: str, id: str) -> Verified[Revisioned] | None:
        """The newest revision seen of a secret, connector, template, scope or order, if it is known."""
        found = self._newest.get((kind, id))
        if found is None:
            return self._below.head(kind, id) if self._below is not None else None
        return self.find(found.digest)

    def newest(self, document: Revisioned) -> tuple[int, str] | None:
        """(revision, digest) of the newest revision seen of the thing that `document` is a revision of."""
        found = self._seen(kind_of(document), document)
        return None if found is None or found.scope != scope_of(document) else (found.rev, found.digest)

    def _seen(self, kind: str, document: Revisioned) -> _Entry | None:
        name = (kind, id_of(document))
        found = self._firm_newest.get(name) if kind in _FIRM or kind == "order" else self._newest.get(name)
        return self._below._seen(kind, document) if found is None and self._below is not None else found

    def key(self, kid: str) -> VerifyingKey | None:
        """The key of that thumbprint, if an administrator or a principal of a known grant has it."""
        return self._keys.get(kid)

    def verify(self, unverified: Unverified[P]) -> Verified[P]:
        """A document (a task, say) with its signature checked. Raises Unauthenticated for an unknown signer, Tampered."""
        if unverified.document.acct != self.id:
            raise Tampered("account_foreign", f"the {unverified.kind} document belongs to another account")
        key = self.key(unverified.kid)
        if key is None:
            raise Unauthenticated(
                "signer_unknown",
                f"the {unverified.kind} document is signed by a key that holds no grant in this account",
                "ask an administrator for a grant: privyseal grant add",
            )
        return unverified.verified_by(key)

    def admit_all(self, compacts: Iterable[str], now: int) -> dict[str, PrivySealError]:
        """Take in documents in whatever order makes sense of them; gives the refusals by digest."""
        waiting = list(dict.fromkeys(compacts))
        refused: dict[str, PrivySealError] = {}
        for _ in range(_PASSES):
            again = []
            for compact in waiting:
                name = digest(compact) if compact.isascii() else ""
                refused.pop(name, None)
                try:
                    self.admit(compact, now)
                except PrivySealError as why:
                    refused[name] = why
                    # What may pass once another has been taken in.
                    if isinstance(why, NotReady | Unauthenticated | Denied):
                        again.append(compact)
            if len(again) == len(waiting) or not again:
                break
            waiting = again
        return refused

    def admit(self, compact: str, now: int) -> Verified[Revisioned]:
        """Take in one document. Raises what is wrong with it; the book is then as before."""
        known = self.find(digest(compact))
        return self.admit_parsed(parse(compact), now) if known is None else known

    def admit_parsed(self, unverified: Unverified[Payload], now: int) -> Verified[Revisioned]:
        """`admit` for a document that isn't in the book and that its caller has parsed."""
        if isinstance(unverified.document, AccountDocument):
            account = accept_account(cast(Unverified[AccountDocument], unverified), self.account, self.id)
            self._take(account)
            self.account = account
            self._drop_unfounded()
            return account
        if not isinstance(unverified.document, Revisioned):
            raise Malformed("document_unexpected", f"a {unverified.kind} document isn't kept")
        new = cast(Verified[Revisioned], self.verify(unverified))
        check_first(new.kind, new.document)
        if isinstance(new.document, StatusDocument):
            self._accept_status(cast(Verified[StatusDocument], new), now)
            self._take(new)
            self._drop_unfounded()
            return new
        self._check_order(new)
        self._check_signer(new, now)
        return self._take(new)

    def recall(self, compact: str) -> Verified[Revisioned]:
        """Take back a secret, connector or scope that this party verified before it stored it itself.

        Neither its signature nor its signer is judged again: a warrant judges every signer anyway. Must not be called with
        what somebody else says. Raises Conflict for a lower revision than the newest known.
        """
        known = self.find(digest(compact))
        if known is not None:
            return known
        parsed = parse(compact)
        if not isinstance(parsed.document, Revisioned) or parsed.kind in _FIRM or parsed.document.acct != self.id:
            raise Malformed("document_unexpected", f"a {parsed.kind} document can't be taken back unverified")
        stored = Verified(parsed.kind, parsed.kid, parsed.document, compact, digest(compact))
        self._check_order(stored)
        return self._take(stored)

    def _check_order(self, new: Verified[Revisioned]) -> None:
        seen = self._seen(new.kind, new.document)
        # A document that was forgotten for want of room comes back as what it was.
        if seen is None or seen.digest == new.digest:
            return
        if seen.scope != scope_of(new.document):
            raise Conflict(
                "field_immutable", f"the {new.kind}'s id belongs to another scope", "ids are made anew, at random"
            )
        check_order(new.kind, new.document, (seen.rev, seen.digest))
        old = self.find(seen.digest)
        if old is not None:
            check_change(new, old)

    def _check_signer(self, new: Verified[Revisioned], now: int) -> None:
        match new.document:
            case KeyringDocument() | GroupDocument():
                if not self.authority.is_administrator(new.kid):
                    raise Denied(
                        f"{new.kind}_unfounded", f"the {new.kind} is signed by nobody who is an administrator now"
                    )
            case GrantDocument():
                self._check_grant(cast(Verified[GrantDocument], new), now)
            case ConnectorDocument() | SecretDocument() as thing:
                permission: Permission = "delete" if thing.deleted else "edit"
                resource = thing.resource if isinstance(thing, ConnectorDocument) else thing.id
                self.authority.chain(new.kid, permission, Scope.parse(thing.scope), resource, now)
            case TemplateDocument() as template:
                needed: tuple[Permission, ...] = ("delete",) if template.deleted else ("edit", "exec")
                for one in needed:
                    self.authority.chain(new.kid, one, Scope.parse(template.scope), None, now)
            case ScopeDocument() as scope:
                self.authority.chain(new.kid, "admin", Scope.parse(scope.scope), None, now)
            case OrderDocument() as order:
                # What it asks for is judged for each run: an order may be ended by whoever may not begin one any more.
                if new.kid != order.owner and not (order.deleted and self.authority.is_administrator(new.kid)):
                    raise Denied(
                        "order_of_another", "the order belongs to another key, and isn't an administrator's end of it"
                    )
            case _:
                # A kind that has no rule yet has no signer.
                raise Malformed("document_unexpected", f"a {new.kind} document isn't kept")

    def _check_grant(self, grant: Verified[GrantDocument], now: int) -> None:
        """Whether the grant was ever founded. One that has ended or is revoked is kept: it explains refusals."""
        links, parent = [grant], grant.document.parent
        while parent is not None and len(links) <= LONGEST_CHAIN:
            above = self.grants.get(parent)
            if above is None:
                raise NotReady("grant_parent_missing", "the grant stands on another that isn't known")
            links.append(above)
            parent = above.document.parent
        assert self.account is not None
        founded = Authority(self.account.document, None, links)
        founded.found(grant, min(now, *(link.document.exp - 1 for link in links)))

    def _accept_status(self, new: Verified[StatusDocument], now: int) -> None:
        base = self.find(new.document.base) if new.document.base is not None else None
        if base is not None and not isinstance(base.document, StatusDocument):
            base = None
        accept_status(new, self._last_status, cast("Verified[StatusDocument] | None", base), self.authority, now)
        self._last_status = new

    def _drop_unfounded(self) -> None:
        """Keyrings, groups and status stand on administrators: what one signed who is none any more would be refused now."""
        assert self.account is not None
        administrators = {thumbprint(person.key) for person in self.account.document.administrators}
        last = self._last_status
        # A status is judged without itself, so that an administrator can revoke his own lost key.
        self.status = last if last is not None and self._founder(last) in administrators else None
        self.keyrings = {
            one.document.id: one for one in cast("Iterable[Verified[KeyringDocument]]", self._founded("keyring"))
        }
        self.groups = {
            one.document.id: one for one in cast("Iterable[Verified[GroupDocument]]", self._founded("group"))
        }

    def _founded(self, kind: str) -> Iterable[Verified[Revisioned]]:
        """The newest revision of each, where an administrator signed it."""
        newest = (self._firm_documents[seen.digest] for name, seen in self._firm_newest.items() if name[0] == kind)
        return [one for one in newest if self.authority.is_administrator(one.kid)]

    def _founder(self, status: Verified[StatusDocument]) -> str:
        """Who signed it as an administrator."""
        base = self.find(status.document.base) if status.document.base is not None else status
        assert base is not None
        return base.kid

    def _take(self, new: Verified[Revisioned]) -> Verified[Revisioned]:
        name = (new.kind, id_of(new.document))
        entry = _Entry(new.document.rev, new.digest, scope_of(new.document))
        match new.document:
            case AccountDocument() as account:
                self._keys |= {thumbprint(person.key): VerifyingKey.of(person.key) for person in account.administrators}
            case GrantDocument() as grant:
                # The key first: a weak one raises, and the book is then as before.
                self._keys[thumbprint(grant.principal.key)] = VerifyingKey.of(grant.principal.key)
                self.grants[grant.id] = cast(Verified[GrantDocument], new)
            case KeyringDocument() as keyring:
                self.keyrings[keyring.id] = cast(Verified[KeyringDocument], new)
            case GroupDocument() as group:
                self.groups[group.id] = cast(Verified[GroupDocument], new)
            case _:
                pass
        if new.kind in _FIRM:
            self._firm_newest[name] = entry
            self._firm_documents[new.digest] = new
            self._authority = None
            self._authorities.clear()
            return new
        if isinstance(new.document, OrderDocument):
            return self._take_order(new, name, entry)
        self._newest[name] = entry
        self._newest.move_to_end(name)
        self._documents[new.digest] = new
        if len(self._documents) > self._capacity:
            self._documents.popitem(last=False)
        if len(self._newest) > self._capacity:
            self._newest.popitem(last=False)
        return new

    def _take_order(self, new: Verified[Revisioned], name: tuple[str, str], entry: _Entry) -> Verified[Revisioned]:
        """Apart from the others, each owner's for themselves; only the newest revision of each."""
        before = self._firm_newest.get(name)
        if before is not None:
            self._firm_documents.pop(before.digest, None)
            self._orders[before.scope].pop(name, None)
        theirs = self._orders.setdefault(entry.scope, OrderedDict())
        theirs[name] = self._firm_newest[name] = entry
        self._firm_documents[new.digest] = new
        if len(theirs) > MOST_ORDERS:
            oldest, gone = theirs.popitem(last=False)
            del self._firm_newest[oldest], self._firm_documents[gone.digest]
        return new
