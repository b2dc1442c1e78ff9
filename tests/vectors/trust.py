"""Vectors of trust: the account's chain of documents, and status documents."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from shared.canonical import b64u
from shared.crypto.identity import Identity
from shared.documents.account import Administrator, account_id
from shared.documents.grant import DAY
from shared.trust.account import consent_message
from tests.vectors import actors as a
from tests.vectors.stories import Stories, admit, may

SECOND = Administrator("second administrator", a.SECOND_ADMINISTRATOR.key)


def _joined(payload: Any, *new: Identity) -> Any:
    return structs.replace(
        payload, consents={one.key: b64u(one.sign(consent_message(payload, one.key))) for one in new}
    )


def accounts() -> dict[str, Any]:
    """The account's own chain of documents."""
    s = Stories()
    both = (a.ROOT.key, a.SECOND_ROOT.key)
    first, plain = a.ACCOUNT_1, a.after(a.ACCOUNT_1, a.ROOT, roots=both)
    second = _joined(plain, a.SECOND_ROOT)
    consent = second.consents[a.SECOND_ROOT.key]
    moved = _joined(a.after(a.ACCOUNT_1, a.ROOT, roots=(a.SECOND_ROOT.key,)), a.SECOND_ROOT)
    other = structs.replace(first, name="Other")
    s.sign("1", a.ROOT, first)
    s.sign("1 with another name", a.ROOT, other)
    s.sign("1 of another account", a.ROOT, structs.replace(other, acct=account_id(other)))
    s.sign("1 by another key", a.STRANGER, first)
    s.sign("2", a.ROOT, second)
    s.sign("2 with another name", a.ROOT, structs.replace(second, name="Other"))
    s.sign("2 by an administrator", a.ADMINISTRATOR, second)
    s.sign("2 by the new root alone", a.SECOND_ROOT, second)
    s.sign("2 without consent", a.ROOT, plain)
    s.sign("2 with a consent by another key", a.ROOT, structs.replace(
        plain, consents={a.SECOND_ROOT.key: b64u(a.STRANGER.sign(consent_message(plain, a.SECOND_ROOT.key)))}
    ))  # fmt: skip
    for change in ({"rev": 3}, {"prev": b64u(bytes(32))}):
        elsewhere = consent_message(structs.replace(plain, **change), a.SECOND_ROOT.key)
        consents = {a.SECOND_ROOT.key: b64u(a.SECOND_ROOT.sign(elsewhere))}
        s.sign(f"2 with a consent to another {next(iter(change))}", a.ROOT, structs.replace(plain, consents=consents))
    s.sign("2 with a consent to another key", a.ROOT, structs.replace(
        plain, consents={a.SECOND_ROOT.key: b64u(a.SECOND_ROOT.sign(consent_message(plain, a.ROOT.key)))}
    ))  # fmt: skip
    s.sign("2 with a needless consent", a.ROOT, a.after(first, a.ROOT, consents={a.READER.key: consent}))
    s.sign("2 after another first", a.ROOT, structs.replace(second, prev=b64u(bytes(32))))
    s.sign("2 with the new root alone", a.ROOT, moved)
    s.sign("3 by the old root", a.ROOT, a.after(moved, a.ROOT))
    s.sign("3 by the new root", a.SECOND_ROOT, a.after(moved, a.ROOT))
    s.sign("3 of the first line", a.SECOND_ROOT, a.after(second, a.ROOT, administrators=(SECOND,)))
    broken = s.compact["2"]
    s.put("2 with a changed signature", broken[:-8] + ("A" if broken[-8] != "A" else "B") + broken[-7:])

    s.tell("the first document", [], admit("1"))
    s.tell("the first document again", ["1"], admit("1"))
    s.tell("a first document that doesn't make the id", [], admit("1 with another name", "tampered/account_forged"))
    s.tell("a first document of another account", [], admit("1 of another account", "tampered/account_foreign"))
    s.tell("a first document by no root", [], admit("1 by another key", "tampered/signer_unknown"))
    s.tell("a second document before the first", [], admit("2", "not_ready/account_documents_missing"))
    s.tell("a new root with both signatures", ["1"], admit("2"))
    s.tell("the first document again, after the second", ["1", "2"], admit("1"))
    s.tell("another first document after the first", ["1"], admit("1 by another key", "tampered/revision_forked"))
    s.tell("another first document after the second", ["1", "2"], admit("1 by another key", "conflict/revision_stale"))
    s.tell("another second document", ["1", "2"], admit("2 with another name", "tampered/revision_forked"))
    s.tell("a document by an administrator", ["1"], admit("2 by an administrator", "tampered/signer_unknown"))
    s.tell("a new root that signs alone", ["1"], admit("2 by the new root alone", "tampered/signer_unknown"))
    s.tell("a new root without its consent", ["1"], admit("2 without consent", "tampered/root_consent_missing"))
    for what in ("by another key", "to another rev", "to another prev", "to another key"):
        s.tell(f"a consent {what}", ["1"], admit(f"2 with a consent {what}", "tampered/signature_invalid"))
    s.tell("a consent of a key that isn't new", ["1"], admit("2 with a needless consent"))
    s.tell("a document that continues another one", ["1"], admit("2 after another first", "tampered/revision_forked"))
    s.tell(
        "a document with a changed signature", ["1"], admit("2 with a changed signature", "tampered/signature_invalid")
    )
    s.tell(
        "a document with one missing in between",
        ["1"],
        admit("3 of the first line", "not_ready/account_documents_missing"),
    )
    s.tell(
        "a root that has left",
        ["1", "2 with the new root alone"],
        admit("3 by the old root", "tampered/signer_unknown"),
    )
    s.tell("a root that has come", ["1", "2 with the new root alone"], admit("3 by the new root"))
    s.tell("the administrator of the first document", ["1"], may("administrator", "reveal", "account"))
    s.tell("a root key is no administrator", ["1"], may("root", "view", "account", "denied/grant_missing"))
    s.tell(
        "an administrator who has left", ["1", "2", "3 of the first line"],
        may("second administrator", "admin", "account"),
        may("administrator", "view", "account", "denied/grant_missing"),
    )  # fmt: skip
    return s.file("The account's chain of documents (formats, section 6).")


def basis_of(s: Stories) -> list[str]:
    """An account with a status, an owner of an organisation and a reader of one project in it; the names to set up."""
    s.sign("account", a.ROOT, a.ACCOUNT_1)
    s.sign("account 2", a.ROOT, a.after(a.ACCOUNT_1, a.ROOT, administrators=(*a.ACCOUNT_1.administrators, SECOND)))
    s.sign("status 1", a.ADMINISTRATOR, a.status())
    s.sign("owner", a.ADMINISTRATOR, a.grant("owner", a.OWNER, ("admin", "edit", "reveal", "use"), "org/orders"))
    s.sign("reader", a.OWNER, a.grant("reader", a.READER, ("reveal",), a.PROJECT, parent=a.opaque("grant owner")))
    return ["account", "status 1", "owner", "reader"]


def statuses() -> dict[str, Any]:
    """Status documents and their renewal."""
    s = Stories()
    basis = basis_of(s)
    first = s.payload("status 1")
    floors = {"secrets": {a.opaque("secret password"): 2}, "grants": (a.opaque("grant x"),), "keys": (a.STRANGER.kid,)}
    second = a.after(first, a.ADMINISTRATOR, iat=a.NOW, keyrings={a.KEYRING: 2}, **floors)
    s.sign("renewer", a.ADMINISTRATOR, a.grant("renewer", a.RENEWER, ("renew",), "account"))
    s.sign("renewer below", a.ADMINISTRATOR, a.grant("deputy", a.DEPUTY, ("renew",), "org/orders"))
    s.sign("2", a.ADMINISTRATOR, second)
    s.sign("2 with other contents", a.ADMINISTRATOR, a.after(first, a.ADMINISTRATOR, iat=a.NOW))
    s.sign("2 after another first", a.ADMINISTRATOR, structs.replace(second, prev=b64u(bytes(32))))
    s.sign("5", a.ADMINISTRATOR, structs.replace(second, rev=5, prev=b64u(bytes(32))))
    s.sign("2 by the owner", a.OWNER, second)
    s.sign("2 by a stranger", a.STRANGER, second)
    s.sign("2 of another account", a.ADMINISTRATOR, structs.replace(second, acct="a" * 52))
    s.sign("2 for 401 days", a.ADMINISTRATOR, structs.replace(second, exp=a.NOW + 401 * DAY))
    s.sign("2 for 400 days", a.ADMINISTRATOR, structs.replace(second, exp=a.NOW + 400 * DAY))
    s.sign("2 from the future", a.ADMINISTRATOR, structs.replace(second, iat=a.NOW + 121))
    s.sign("2 from the near future", a.ADMINISTRATOR, structs.replace(second, iat=a.NOW + 120))
    base = s.digest("2")
    third = a.after(second, a.ADMINISTRATOR, iat=a.NOW + 1, exp=second.exp + DAY, base=base)
    s.sign("3 renewed", a.RENEWER, third)
    s.sign("3 renewed by an administrator", a.ADMINISTRATOR, third)
    s.sign("3 renewed by the owner", a.OWNER, third)
    s.sign("3 renewed from below", a.DEPUTY, third)
    for field, value in {
        "secrets": {},
        "grants": (),
        "keys": (),
        "keyrings": {a.KEYRING: 1},
        "groups": {"builders": 2},
    }.items():
        s.sign(f"3 renewed with other {field}", a.RENEWER, structs.replace(third, **{field: value}))
    s.sign("3 renewed from the first", a.RENEWER, structs.replace(third, base=s.digest("status 1")))
    s.sign("3 renewed from nothing", a.RENEWER, structs.replace(third, base=b64u(bytes(32))))
    s.sign("4 renewed again", a.RENEWER, a.after(third, a.RENEWER, iat=a.NOW + 2))
    renewed = a.after(third, a.RENEWER, base=s.digest("3 renewed"))
    s.sign("4 renewed from a renewed one", a.RENEWER, renewed)
    s.sign("4 by an administrator", a.ADMINISTRATOR, a.after(third, a.RENEWER, base=None, keys=()))
    s.sign(
        "2 that revokes the renewer",
        a.ADMINISTRATOR,
        a.after(first, a.ADMINISTRATOR, grants=(a.opaque("grant renewer"),)),
    )
    revoked = s.payload("2 that revokes the renewer")
    s.sign(
        "3 by the revoked renewer",
        a.RENEWER,
        a.after(revoked, a.ADMINISTRATOR, base=s.digest("2 that revokes the renewer")),
    )
    s.sign(
        "2 that revokes the administrator",
        a.SECOND_ADMINISTRATOR,
        a.after(first, a.ADMINISTRATOR, keys=(a.ADMINISTRATOR.kid,)),
    )
    left = s.payload("2 that revokes the administrator")
    s.sign("3 by the revoked administrator", a.ADMINISTRATOR, a.after(left, a.SECOND_ADMINISTRATOR, keys=()))

    s.tell("an administrator's", basis[:1], admit("status 1"))
    s.tell("the next", basis, admit("2"))
    s.tell("the same again", basis, admit("status 1"))
    s.tell("one after a gap", basis, admit("5"))
    s.tell("one that is rolled back", [*basis, "5"], admit("2", "conflict/status_rolled_back"))
    s.tell("two with one serial", [*basis, "2"], admit("2 with other contents", "tampered/status_forked"))
    s.tell("one that continues another", basis, admit("2 after another first", "tampered/status_forked"))
    s.tell("one by no administrator", basis, admit("2 by the owner", "denied/status_unfounded"))
    s.tell("one by a stranger", basis, admit("2 by a stranger", "unauthenticated/signer_unknown"))
    s.tell("one of another account", basis, admit("2 of another account", "tampered/account_foreign"))
    s.tell("one that lasts too long", basis, admit("2 for 401 days", "denied/status_too_long"))
    s.tell("one that lasts just long enough", basis, admit("2 for 400 days"))
    s.tell("one from the future", basis, admit("2 from the future", "denied/status_too_long"))
    s.tell("one from the near future", basis, admit("2 from the near future"))
    with_base = [*basis, "renewer", "renewer below", "2"]
    s.tell("a renewal", with_base, admit("3 renewed"))
    s.tell("a renewal of a renewal", [*with_base, "3 renewed"], admit("4 renewed again"))
    s.tell("an administrator's after a renewal", [*with_base, "3 renewed"], admit("4 by an administrator"))
    s.tell("a renewal by an administrator", with_base, admit("3 renewed by an administrator"))
    s.tell("a renewal without the permission", with_base, admit("3 renewed by the owner", "denied/grant_missing"))
    s.tell(
        "a renewal with the permission further down", with_base, admit("3 renewed from below", "denied/grant_missing")
    )
    for field in ("secrets", "grants", "keys", "keyrings", "groups"):
        s.tell(
            f"a renewal that changes {field}",
            with_base,
            admit(f"3 renewed with other {field}", "tampered/status_changed"),
        )
    s.tell("a renewal of an older one", with_base, admit("3 renewed from the first", "tampered/status_rolled_back"))
    for name, rev, expect in (("far", 100_002, "accepted"), ("too far", 100_003, "denied/status_too_far")):
        made = s.sign(f"renewed {name}", a.RENEWER, structs.replace(third, rev=rev))
        s.tell(f"a renewal {name} ahead", with_base, admit(made, expect))
    s.sign("1 with prev", a.ADMINISTRATOR, structs.replace(first, prev=base))
    s.sign("2 without prev", a.ADMINISTRATOR, structs.replace(second, prev=None))
    s.tell("a first with prev", basis[:1], admit("1 with prev", "malformed/revision_malformed"))
    s.tell("a second without prev", basis, admit("2 without prev", "malformed/revision_malformed"))
    s.tell(
        "a renewal of one that nobody has", with_base, admit("3 renewed from nothing", "not_ready/status_base_missing")
    )
    s.tell("a renewal whose base hasn't come", with_base[:-1], admit("3 renewed", "not_ready/status_base_missing"))
    s.tell(
        "a renewal that names a renewal", [*with_base, "3 renewed"],
        admit("4 renewed from a renewed one", "denied/status_unfounded"),
    )  # fmt: skip
    s.tell(
        "a renewal by a revoked grant", [*basis, "renewer", "2 that revokes the renewer"],
        admit("3 by the revoked renewer", "denied/grant_revoked"),
    )  # fmt: skip
    s.tell(
        "one by a revoked administrator", [*basis, "account 2", "2 that revokes the administrator"],
        admit("3 by the revoked administrator", "denied/status_unfounded"),
    )  # fmt: skip
    s.tell(
        "a revoked administrator takes all that he granted with him", [*basis, "account 2"],
        may("reader", "reveal", a.PROJECT),
        admit("2 that revokes the administrator"),
        may("administrator", "view", "account", "denied/key_revoked"),
        may("reader", "reveal", a.PROJECT, "denied/grant_unfounded"),
    )  # fmt: skip
    return s.file("Status documents (formats, section 8).")
