"""Grant chains, against a slow obvious reference: every sequence of grants is tried, by the rules' words."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.canonical import b64u, sha256
from shared.crypto.identity import Identity
from shared.documents.account import AccountDocument, Administrator
from shared.documents.fields import Permission
from shared.documents.grant import DAY, LONGEST_SECONDS, GrantDocument, Principal
from shared.documents.jws import Verified
from shared.documents.status import StatusDocument
from shared.errors import Denied
from shared.names import Scope
from shared.trust import authority as authority_module
from shared.trust.authority import FOREVER, LONGEST_CHAIN, SKEW_SECONDS, Authority
from tests.fakes.refusal import refused

NOW = 1_800_000_000
PEOPLE = [Identity.from_seed(bytes([n]) * 32) for n in range(6)]
ADMINISTRATOR, *OTHERS = PEOPLE
IDS = [letter * 26 for letter in "abcde"]
SCOPES = ["account", "org/x", "org/y", "org/x/project/p", "org/x/project/q"]
RESOURCES = ["r" * 26, "s" * 26]
ACCOUNT = AccountDocument(
    v=1,
    acct="a" * 52,
    name="account",
    roots=(PEOPLE[5].key,),
    administrators=(Administrator("administrator", ADMINISTRATOR.key),),
    rev=1,
    iat=0,
)


def status_of(grants: Iterable[str] = (), keys: Iterable[str] = ()) -> StatusDocument:
    """A status that revokes these."""
    return StatusDocument(
        v=1, acct="a" * 52, id="status", rev=1, iat=0, exp=2**33, grants=tuple(grants), keys=tuple(keys)
    )


def signed(document: GrantDocument, signer: Identity) -> Verified[GrantDocument]:
    """As if its signature had been checked: chains are judged by what a verified document says."""
    return Verified("grant", signer.kid, document, "", b64u(sha256(repr(document).encode() + signer.public.raw)))


@dataclass(frozen=True)
class Question:
    """May this key do that there?"""

    kid: str
    permission: Permission
    scope: str
    resource: str | None
    now: int


def lies_in(inner: str, outer: str) -> bool:
    """By the text of both: the account holds all, and what begins with the outer's path lies in it."""
    return outer == "account" or inner == outer or inner.startswith(outer + "/")


def is_chain(
    links: Sequence[Verified[GrantDocument]], asked: Question, administrators: set[str], status: StatusDocument
) -> bool:
    """Whether these grants, the holder's own first, carry it. Each sentence is one of DESIGN section 3."""
    own = links[0].document
    # The first is the asker's, carries the permission, covers the scope, and is for this resource or for all.
    if holder_of(own) != asked.kid or asked.permission not in own.permissions:
        return False
    if not lies_in(asked.scope, own.scope) or own.resource not in (None, asked.resource):
        return False
    # The last is an administrator's own.
    if links[-1].document.parent is not None or links[-1].kid not in administrators:
        return False
    if links[-1].kid in status.keys:
        return False
    for link in links:
        document = link.document
        lasting = 90 * DAY if document.principal.type == "person" else 400 * DAY
        # None is revoked, by its id or its holder's key; each has begun, has not ended, and doesn't last too long.
        if document.id in status.grants or holder_of(document) in status.keys:
            return False
        if not document.iat - 120 <= asked.now < document.exp or document.exp > document.iat + lasting:
            return False
    for child, parent in itertools.pairwise(links):
        # Each stands on the next, whose holder signed it and may give; it gives no more than he holds, nor longer.
        given, held = child.document, parent.document
        if given.parent != held.id or child.kid != holder_of(held) or "admin" not in held.permissions:
            return False
        if any(permission not in held.permissions for permission in given.permissions):
            return False
        if not lies_in(given.scope, held.scope) or held.resource not in (None, given.resource):
            return False
        if given.exp > held.exp:
            return False
    return True


def holder_of(document: GrantDocument) -> str:
    """The holder's thumbprint."""
    return next(one.kid for one in PEOPLE if one.key == document.principal.key)


def reference(grants: Sequence[Verified[GrantDocument]], asked: Question, status: StatusDocument) -> bool:
    """Tries every sequence of one to four grants."""
    administrators = {ADMINISTRATOR.kid}
    if asked.kid in status.keys:
        return False
    if asked.kid in administrators:
        return True
    return any(
        is_chain(links, asked, administrators, status)
        for length in range(1, 5)
        for links in itertools.product(grants, repeat=length)
    )


def grant(n: int, to: Identity, by: Identity, **changes: object) -> Verified[GrantDocument]:
    """A grant for a month."""
    fields: dict[str, object] = {
        "v": 1,
        "acct": "a" * 52,
        "id": IDS[n],
        "principal": Principal("holder", to.key, "person"),
        "permissions": ("admin", "edit", "reveal"),
        "scope": "org/x",
        "rev": 1,
        "iat": NOW - DAY,
        "exp": NOW + 30 * DAY,
    }
    return signed(GrantDocument(**{**fields, **changes}), by)  # type: ignore[arg-type]


CHANGES: st.SearchStrategy[dict[str, object]] = st.one_of(
    st.fixed_dictionaries(
        {"permissions": st.sampled_from([("reveal",), ("admin",), ("edit", "reveal"), ("admin", "edit")])}
    ),
    st.fixed_dictionaries({"scope": st.sampled_from(SCOPES)}),
    st.fixed_dictionaries({"resource": st.sampled_from(RESOURCES)}),
    st.fixed_dictionaries({"parent": st.none() | st.sampled_from(IDS)}),
    st.fixed_dictionaries({"principal": st.sampled_from([Principal("holder", one.key, "person") for one in PEOPLE])}),
    st.fixed_dictionaries({"iat": st.sampled_from([NOW + SKEW_SECONDS + n for n in (-1, 0, 1)])}),
    st.fixed_dictionaries({"exp": st.sampled_from([NOW - 1, NOW, NOW + 1, NOW + DAY, NOW + 31 * DAY])}),
    st.sampled_from([{"iat": NOW - DAY, "exp": NOW - DAY + LONGEST_SECONDS["person"] + n} for n in (-1, 0, 1)]),
)
Change = tuple[int, bool, dict[str, object]]


@st.composite
def grants_of(draw: st.DrawFn) -> list[Verified[GrantDocument]]:
    """A chain of one to five grants, the administrator's first; up to three things are other than right."""
    count = draw(st.integers(1, 5))
    # (which, the others below it too?, what)
    change = st.tuples(st.integers(0, count - 1), st.booleans(), CHANGES)
    changes: list[Change] = draw(st.lists(change, max_size=3))
    forged = draw(st.sampled_from([None] * 5 + list(range(count))))
    grants: list[Verified[GrantDocument]] = []
    for n in range(count):
        fields: dict[str, object] = {"parent": IDS[n - 1] if n else None}
        for at, below, what in changes:
            if at == n or (below and at < n and "parent" not in what and "principal" not in what):
                fields |= what
        signer = PEOPLE[n] if n != forged else draw(st.sampled_from(PEOPLE))
        grants.append(grant(n, OTHERS[n], signer, **fields))
    return draw(st.permutations(grants))


QUESTIONS = st.builds(
    Question,
    st.sampled_from([one.kid for one in (*OTHERS, *OTHERS, *OTHERS, *PEOPLE)]),
    st.sampled_from(["reveal", "reveal", "reveal", "edit", "admin"]),
    st.sampled_from(["org/x", "org/x", "org/x/project/p", *SCOPES]),
    st.sampled_from([None, None, *RESOURCES]),
    st.sampled_from([NOW, NOW, NOW, NOW, NOW - 1, NOW + 1, NOW + 40 * DAY]),
)
STATUSES = st.builds(
    status_of,
    st.lists(st.sampled_from(IDS), max_size=1) | st.just([]) | st.just([]),
    st.lists(st.sampled_from([one.kid for one in PEOPLE]), max_size=1) | st.just([]) | st.just([]),
)


@given(grants_of(), STATUSES, st.lists(QUESTIONS, min_size=1, max_size=8))
@settings(max_examples=400, deadline=None)
def test_a_chain_is_found_exactly_where_the_reference_finds_one(
    grants: list[Verified[GrantDocument]], status: StatusDocument, questions: list[Question]
) -> None:
    authority = Authority(ACCOUNT, status, grants)
    # Each is asked twice, the second time after all others: what is remembered must not be stale at another moment.
    for asked in (*questions, *questions):
        arguments = (asked.kid, asked.permission, Scope.parse(asked.scope), asked.resource, asked.now)
        if reference(grants, asked, status):
            chain = authority.chain(*arguments)
            assert len(chain.grants) <= LONGEST_CHAIN
            assert asked.now < chain.until
            if chain.grants:
                assert is_chain(chain.grants, asked, {ADMINISTRATOR.kid}, status)
                assert chain.until == min(link.document.exp for link in chain.grants)
            else:
                assert (asked.kid, chain.until) == (ADMINISTRATOR.kid, FOREVER)
        else:
            with pytest.raises(Denied):
                authority.chain(*arguments)


def test_the_refusal_says_why_the_nearest_grant_does_not_carry_it() -> None:
    one = OTHERS[0]
    expired = Authority(ACCOUNT, None, [grant(0, one, ADMINISTRATOR, exp=NOW)])
    with refused(Denied, "grant_expired"):
        expired.chain(one.kid, "reveal", Scope("x"), None, NOW)
    with refused(Denied, "grant_missing"):
        expired.chain(one.kid, "delete", Scope("x"), None, NOW)


def test_a_second_grant_carries_what_the_first_does_not() -> None:
    one = OTHERS[0]
    both = [grant(0, one, ADMINISTRATOR, exp=NOW), grant(1, one, ADMINISTRATOR)]
    chain = Authority(ACCOUNT, None, both).chain(one.kid, "reveal", Scope("x"), None, NOW)
    assert chain.grants == (both[1],)


def test_a_decision_is_remembered_until_its_first_grant_ends() -> None:
    one, other = OTHERS[:2]
    short = grant(0, one, ADMINISTRATOR, exp=NOW + 10)
    links = [short, grant(1, other, one, parent=IDS[0], exp=NOW + 10)]
    authority = Authority(ACCOUNT, None, links)
    question = (other.kid, "reveal", Scope("x"), None)
    first = authority.chain(*question, NOW)  # type: ignore[arg-type]
    assert authority.chain(*question, NOW + 9) is first  # type: ignore[arg-type]
    with refused(Denied, "grant_expired"):
        authority.chain(*question, NOW + 10)  # type: ignore[arg-type]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority_module, "MOST_REMEMBERED", 3)
    one = OTHERS[0]
    authority = Authority(ACCOUNT, None, [grant(0, one, ADMINISTRATOR)])
    for n in range(10):
        authority.chain(one.kid, "reveal", Scope("x", f"p{n}"), None, NOW)
        assert len(authority._remembered) <= 3


def test_a_clock_that_is_set_back_is_asked_anew() -> None:
    one = OTHERS[0]
    authority = Authority(ACCOUNT, None, [grant(0, one, ADMINISTRATOR, iat=NOW)])
    authority.chain(one.kid, "reveal", Scope("x"), None, NOW)
    with refused(Denied, "grant_early"):
        authority.chain(one.kid, "reveal", Scope("x"), None, NOW - SKEW_SECONDS - 1)


def test_who_may_not_give_has_given_nothing() -> None:
    one, other = OTHERS[:2]
    links = [
        grant(0, one, ADMINISTRATOR, permissions=("edit", "reveal")),
        grant(1, other, one, permissions=("reveal",), parent=IDS[0]),
    ]
    with refused(Denied, "grant_exceeds"):
        Authority(ACCOUNT, None, links).chain(other.kid, "reveal", Scope("x"), None, NOW)


def test_a_grant_stands_on_an_administrator_or_is_denied() -> None:
    one = grant(0, OTHERS[0], ADMINISTRATOR)
    Authority(ACCOUNT, None, [one]).found(one, NOW)
    with refused(Denied, "grant_unfounded"):
        Authority(ACCOUNT, None, []).found(grant(1, OTHERS[1], OTHERS[0], parent=IDS[0]), NOW)


def test_grants_that_stand_on_each_other_stand_on_nothing() -> None:
    one = grant(0, OTHERS[0], OTHERS[1], parent=IDS[1])
    other = grant(1, OTHERS[1], OTHERS[0], parent=IDS[0])
    with refused(Denied, "grant_chain_long"):
        Authority(ACCOUNT, None, [one, other]).chain(OTHERS[0].kid, "reveal", Scope("x"), None, NOW)
