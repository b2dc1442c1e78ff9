"""Vectors of the audit chain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.audit import GENESIS, encode_entry, entry_hash
from shared.canonical import b64u, unb64u
from tests.vectors import actors as a

Link = dict[str, Any]


def chain(count: int = 4) -> list[Link]:
    """A chain of so many links."""
    head, links = GENESIS, []
    for seq in range(1, count + 1):
        entry = encode_entry(
            {
                "at": a.NOW + seq,
                "principal": a.READER.kid,
                "op": "reveal",
                "task": b64u(a.fixed(f"task {seq}")),
                "targets": ",".join(a.opaque(f"secret {n}") for n in range(seq)),
                "outcome": "ok",
            }
        )
        after = entry_hash(head, entry)
        links.append({"seq": seq, "prev": b64u(head), "hash": b64u(after), "entry": entry.decode()})
        head = after
    return links


def audits() -> dict[str, Any]:
    """Chains from the beginning, unless a case names the head that it goes on from."""
    links = chain()

    def changed(at: int, **members: Any) -> list[Link]:
        return [{**link, **members} if index == at else link for index, link in enumerate(links)]

    head = {"seq": 2, "hash": links[1]["hash"]}
    altered = links[1]["entry"].replace("reveal", "delete")
    rehashed = b64u(entry_hash(unb64u(links[0]["hash"]), altered.encode()))
    bad: Mapping[str, list[Link]] = {
        "an entry changed": changed(1, entry=altered),
        "an entry changed and hashed anew": changed(1, entry=altered, hash=rehashed),
        "an entry with a space": changed(1, entry=links[1]["entry"].replace(":", ": ", 1)),
        "an entry missing": links[:1] + links[2:],
        "the first missing": links[1:],
        "two swapped": [links[0], links[2], links[1], links[3]],
        "one twice": [*links[:2], *links[1:]],
        "a number that is wrong": changed(2, seq=9),
        "a hash of another entry": changed(2, hash=links[1]["hash"]),
        "a prev of another entry": changed(2, prev=links[0]["prev"]),
        "a hash with padding": changed(2, hash=links[2]["hash"] + "="),
    }
    cases = [
        a.case("from the beginning", "accepted", links=links, head={"seq": 4, "hash": links[-1]["hash"]}),
        a.case("nothing", "accepted", links=[], head={"seq": 0, "hash": b64u(GENESIS)}),
        a.case("from a head", "accepted", after=head, links=links[2:], head={"seq": 4, "hash": links[-1]["hash"]}),
        *(a.case(name, "tampered/audit_broken", links=one) for name, one in bad.items()),
        a.case("from another head", "tampered/audit_broken", after={**head, "hash": links[2]["hash"]}, links=links[2:]),
        a.case("from a head that is further", "tampered/audit_broken", after={**head, "seq": 3}, links=links[2:]),
    ]
    return a.file("The audit chain (formats, section 18).", cases)
