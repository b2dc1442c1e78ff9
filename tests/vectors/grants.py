"""Vectors of grants: who may hand on what to whom, and for how long."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from shared.crypto.identity import Identity
from shared.documents.grant import DAY, Principal
from shared.documents.jws import header_bytes
from tests.vectors import actors as a
from tests.vectors.stories import Stories, admit, may
from tests.vectors.trust import basis_of


def grants() -> dict[str, Any]:
    """Grants: taking them in, and what they allow."""
    s = Stories()
    basis = basis_of(s)
    owner = a.opaque("grant owner")

    def given(name: str, signer: Identity = a.OWNER, permissions: tuple[str, ...] = ("reveal",), **changes: Any) -> str:
        scope = changes.pop("scope", a.PROJECT)
        return s.sign(name, signer, a.grant(name, a.DEPUTY, permissions, scope, **{"parent": owner, **changes}))

    first = s.payload("status 1")
    s.sign("revokes the owner's grant", a.ADMINISTRATOR, a.after(first, a.ADMINISTRATOR, grants=(owner,)))
    s.sign(
        "revokes the reader's grant",
        a.ADMINISTRATOR,
        a.after(first, a.ADMINISTRATOR, grants=(a.opaque("grant reader"),)),
    )
    s.sign("revokes the owner's key", a.ADMINISTRATOR, a.after(first, a.ADMINISTRATOR, keys=(a.OWNER.kid,)))
    s.sign("revokes the reader's key", a.ADMINISTRATOR, a.after(first, a.ADMINISTRATOR, keys=(a.READER.kid,)))
    end = a.NOW + 30 * DAY

    where = [
        ("reveal", a.PROJECT),
        ("reveal", f"{a.PROJECT}2"),
        ("reveal", "org/orders"),
        ("reveal", "account"),
        ("edit", a.PROJECT),
    ]
    for (permission, scope), expect in zip(where, ["accepted", *["denied/grant_missing"] * 4], strict=True):
        s.tell(f"the reader: {permission} over {scope}", basis, may("reader", permission, scope, expect))
    s.tell("the reader: any resource", basis, may("reader", "reveal", a.PROJECT, resource=a.opaque("x")))
    s.tell("the owner: everything below", basis, may("owner", "edit", "org/orders/project/other"))
    s.tell("the owner: not what he doesn't hold", basis, may("owner", "delete", a.PROJECT, "denied/grant_missing"))
    s.tell("the owner: not another organisation", basis, may("owner", "edit", "org/orders2", "denied/grant_missing"))
    s.tell("an administrator: everything", basis, may("administrator", "exec", "org/x/project/y"))
    s.tell("a stranger: nothing", basis, may("stranger", "view", "account", "denied/grant_missing"))
    s.tell("a grant until its last second", basis, may("reader", "reveal", a.PROJECT, now=end - 1))
    s.tell("a grant from its end on", basis, may("reader", "reveal", a.PROJECT, "denied/grant_expired", now=end))
    for name in ("revokes the owner's grant", "revokes the reader's grant", "revokes the owner's key"):
        s.tell(name, basis, admit(name), may("reader", "reveal", a.PROJECT, "denied/grant_revoked"))
    s.tell(
        "revokes the reader's key",
        basis,
        admit("revokes the reader's key"),
        may("reader", "reveal", a.PROJECT, "denied/key_revoked"),
    )
    s.tell(
        "revokes the owner's key, for himself",
        basis,
        admit("revokes the owner's key"),
        may("owner", "edit", a.PROJECT, "denied/key_revoked"),
    )

    for name, made, expect in (
        (
            "one that is the grantor's whole",
            given("all", permissions=("admin", "edit", "reveal", "use"), scope="org/orders"),
            "accepted",
        ),
        ("more permissions", given("more", permissions=("delete", "reveal")), "denied/grant_exceeds"),
        ("a higher scope", given("higher", scope="account"), "denied/grant_exceeds"),
        ("another organisation", given("elsewhere", scope="org/other"), "denied/grant_exceeds"),
        ("a longer time", given("longer", exp=end + 1), "denied/grant_exceeds"),
        ("one by another than the parent's holder", given("by another", a.READER), "denied/grant_exceeds"),
        ("one by an administrator over another's grant", given("over", a.ADMINISTRATOR), "denied/grant_exceeds"),
        ("one without a parent", given("without", parent=None), "denied/grant_unfounded"),
        ("one by a stranger", given("by a stranger", a.STRANGER), "unauthenticated/signer_unknown"),
        ("one whose parent isn't known", given("orphan", parent=a.opaque("nothing")), "not_ready/grant_parent_missing"),
        (
            "one that stands on itself",
            given("itself", parent=a.opaque("grant itself")),
            "not_ready/grant_parent_missing",
        ),
        (
            "a parent without admin",
            given("on the reader", a.READER, parent=a.opaque("grant reader")),
            "denied/grant_exceeds",
        ),
        ("one from the future", given("future", iat=a.NOW + 121), "denied/grant_early"),
        ("one from the near future", given("near", iat=a.NOW + 120), "accepted"),
        ("one that has ended", given("ended", exp=a.NOW - 1), "accepted"),
        ("one with a permission twice", given("twice", permissions=("reveal", "reveal")), "accepted"),
    ):
        s.tell(f"taken in: {name}", basis, admit(made, expect))
    service = Principal("service", a.DEPUTY.key, "service")
    lasting: list[tuple[str, int, dict[str, Any], str]] = [
        ("a person for ninety days", 90, {}, "accepted"),
        ("a person for longer", 91, {}, "denied/grant_too_long"),
        ("a service for four hundred days", 400, {"principal": service}, "accepted"),
        ("a service for longer", 401, {"principal": service}, "denied/grant_too_long"),
    ]
    for name, days, changes, expect in lasting:
        made = given(name, a.ADMINISTRATOR, parent=None, iat=a.NOW, exp=a.NOW + days * DAY, **changes)
        s.tell(f"taken in: {name}", basis, admit(made, expect))

    resource = a.opaque("secret password")
    narrow = given("narrow", a.ADMINISTRATOR, ("admin", "reveal"), parent=None, resource=resource)
    s.tell(
        "one resource", [*basis, narrow],
        may("deputy", "reveal", a.PROJECT, resource=resource),
        may("deputy", "reveal", a.PROJECT, "denied/grant_missing", resource=a.opaque("x")),
        may("deputy", "reveal", a.PROJECT, "denied/grant_missing", resource=f"connector/{resource}"),
        may("deputy", "reveal", a.PROJECT, "denied/grant_missing"),
    )  # fmt: skip
    for name, onward, expect in (("the same resource", resource, "accepted"), ("no resource", None, "denied/grant_exceeds"),
                                 ("another resource", a.opaque("x"), "denied/grant_exceeds")):  # fmt: skip
        made = s.sign(
            name,
            a.DEPUTY,
            a.grant(name, a.READER, ("reveal",), a.PROJECT, parent=a.opaque("grant narrow"), resource=onward),
        )
        s.tell(f"handed on: {name}", [*basis, narrow], admit(made, expect))

    _paths(s, basis)

    links, holders = ["owner"], [a.OWNER, a.READER, a.EDITOR, a.DEPUTY, a.RENEWER]
    for grantor, holder in pairwise(holders):
        name = f"link {len(links) + 1}"
        parent = a.opaque(f"grant {links[-1]}")
        links.append(s.sign(name, grantor, a.grant(name, holder, ("admin", "reveal"), "org/orders", parent=parent)))
    s.tell("a chain of four", [*basis, *links[1:3]], admit(links[3]), may("deputy", "reveal", a.PROJECT))
    s.tell("a chain of five", [*basis, *links[1:4]], admit(links[4], "denied/grant_chain_long"))
    s.tell(
        "a chain whose middle is revoked", [*basis, *links[1:4]],
        admit(s.sign("revokes link 2", a.ADMINISTRATOR, a.after(first, a.ADMINISTRATOR, grants=(a.opaque("grant link 2"),)))),
        may("deputy", "reveal", a.PROJECT, "denied/grant_revoked"),
    )  # fmt: skip
    again = given(
        "again", a.ADMINISTRATOR, parent=None, principal=Principal("reader", a.READER.key, "person"), exp=end + DAY
    )
    s.tell("the other grant, when one has ended", [*basis, again], may("reader", "reveal", a.PROJECT, now=end))

    old = s.payload("reader")
    revised: list[tuple[str, Identity, dict[str, Any], str]] = [
        ("less", a.OWNER, {"permissions": ("view",)}, "denied/grant_exceeds"),
        ("another place", a.OWNER, {"scope": "org/orders/project/other"}, "accepted"),
        (
            "another principal",
            a.OWNER,
            {"principal": Principal("x", a.DEPUTY.key, "person")},
            "conflict/field_immutable",
        ),
        ("another parent", a.OWNER, {"parent": a.opaque("grant x")}, "conflict/field_immutable"),
        ("an administrator's", a.ADMINISTRATOR, {"parent": None}, "accepted"),
        ("one without a parent by the grantor", a.OWNER, {"parent": None}, "denied/grant_unfounded"),
        ("the holder's own", a.READER, {}, "denied/grant_exceeds"),
    ]
    for name, signer, changes, expect in revised:
        made = s.sign(f"reader, then {name}", signer, a.after(old, a.OWNER, **changes))
        s.tell(f"revised: {name}", basis, admit(made, expect))
    s.tell(
        "revised: what was given before no longer counts", [*basis, "reader, then another place"],
        may("reader", "reveal", a.PROJECT, "denied/grant_missing"),
    )  # fmt: skip
    bad = a.forged(a.OWNER, "grant", b"{}", header_bytes("grant", a.OWNER.kid))
    s.tell("taken in: nothing", basis, admit(s.put("nothing", bad), "malformed"))
    return s.file("Grants (formats, section 7). `may` asks whether the key of that name holds a permission.")


def _paths(s: Stories, basis: list[str]) -> None:
    """What a grant of a connector, or of a path below it, covers; and who may hand on what of it."""
    id = a.opaque("connector vault")
    vault = f"connector/{id}"
    fetch: tuple[str, ...] = ("admin", "fetch", "use")
    whole = s.sign(
        "of a connector", a.ADMINISTRATOR, a.grant("of a connector", a.DEPUTY, fetch, a.PROJECT, resource=vault)
    )
    path = s.sign(
        "of a path", a.ADMINISTRATOR, a.grant("of a path", a.DEPUTY, fetch, a.PROJECT, resource=f"{vault}/a/b")
    )
    secret = s.sign("of a secret", a.ADMINISTRATOR, a.grant("of a secret", a.DEPUTY, fetch, a.PROJECT, resource=id))
    for grant, covered, others in (
        (whole, ("", "/a", "/a/b/c", "/.../%2e%2e"), (id, f"{id}/a", f"{vault}a", f"connector/{id[:-1]}", "connector", "")),
        (path, ("/a/b", "/a/b/c", "/a/b/c/d e"), (vault, f"{vault}/a", f"{vault}/a/bc", f"{vault}/a/b c", f"{vault}/A/b",
                                                  f"{vault}/a/c", f"{vault}/x/a/b", f"{vault}/a\u2215b", f"{vault}/a%2fb")),
        (secret, (), (vault, f"{vault}/a", f"{id}x", "")),
    ):  # fmt: skip
        steps = [may("deputy", "fetch", a.PROJECT, resource=f"{vault}{one}") for one in covered]
        steps += [may("deputy", "fetch", a.PROJECT, "denied/grant_missing", resource=one) for one in others if one]
        s.tell(
            f"what a grant {grant} covers",
            [*basis, grant],
            *steps,
            may("deputy", "fetch", a.PROJECT, "denied/grant_missing"),
        )
    s.tell(
        "an administrator fetches everything", basis, may("administrator", "fetch", a.PROJECT, resource=f"{vault}/x")
    )
    s.tell("the owner doesn't, without the permission", basis,
           may("owner", "fetch", a.PROJECT, "denied/grant_missing", resource=f"{vault}/x"))  # fmt: skip
    for grant, resource, expect in (
        (whole, vault, "accepted"), (whole, f"{vault}/a", "accepted"), (whole, None, "denied/grant_exceeds"),
        (whole, id, "denied/grant_exceeds"), (whole, f"connector/{a.opaque('other')}/a", "denied/grant_exceeds"),
        (path, f"{vault}/a/b", "accepted"), (path, f"{vault}/a/b/c", "accepted"), (path, f"{vault}/a/bc", "denied/grant_exceeds"),
        (path, f"{vault}/a", "denied/grant_exceeds"), (path, vault, "denied/grant_exceeds"), (path, None, "denied/grant_exceeds"),
        (path, f"{vault}/c", "denied/grant_exceeds"), (secret, vault, "denied/grant_exceeds"),
    ):  # fmt: skip
        name = f"{resource or 'everything'}, {grant}"
        made = s.sign(
            name,
            a.DEPUTY,
            a.grant("onward", a.READER, ("fetch",), a.PROJECT, parent=a.opaque(f"grant {grant}"), resource=resource),
        )
        s.tell(f"handed on: {name}", [*basis, grant], admit(made, expect))
