"""The audit chain: every change to it shows, and no entry can hold free text."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.state import State
from shared.audit import FIELDS, GENESIS, Head, Link, encode_entry, entry_hash, verify
from shared.canonical import b64u, unb64u
from shared.errors import Malformed, Tampered


def chain(count: int, head: Head | None = None) -> list[Link]:
    """`count` entries after `head`."""
    head, links = head or Head(), []
    for n in range(count):
        entry = encode_entry({"at": n, "op": "reveal"})
        hash_ = entry_hash(head.hash, entry)
        links.append(Link(head.seq + 1, b64u(head.hash), b64u(hash_), entry.decode()))
        head = Head(head.seq + 1, hash_)
    return links


def test_the_hash_is_over_length_prefixed_label_previous_hash_and_entry() -> None:
    def lp(part: bytes) -> bytes:
        return len(part).to_bytes(4, "big") + part

    expected = hashlib.sha256(lp(b"privyseal/v1/audit") + lp(bytes(32)) + lp(b"{}")).digest()
    assert entry_hash(GENESIS, b"{}") == expected


def test_an_entry_is_canonical_json() -> None:
    assert encode_entry({"op": "reveal", "at": 5, "code": ""}) == b'{"at":5,"code":"","op":"reveal"}'


def test_an_unbroken_chain_verifies_from_any_of_its_links() -> None:
    links = chain(5)
    end = verify(links)
    assert end == Head(5, unb64u(links[-1].hash, 32))
    assert verify(links[3:], verify(links[:3])) == end
    assert verify([]) == Head()


@pytest.mark.parametrize("place", range(4))
def test_every_change_breaks_the_chain_where_it_happened(place: int) -> None:
    links = chain(5)
    other = links[place + 1]
    changes = {
        "entry": links[place].entry.replace("reveal", "delete"),
        "hash": other.hash,
        "prev": other.prev,
        "seq": other.seq,
    }
    for name, value in changes.items():
        changed = [*links]
        changed[place] = msgspec.structs.replace(links[place], **{name: value})
        with pytest.raises(Tampered) as refused:
            verify(changed)
        assert refused.value.facts == {"seq": place + 1}
    with pytest.raises(Tampered):
        verify(links[:place] + links[place + 1 :])
    swapped = [*links]
    swapped[place], swapped[place + 1] = swapped[place + 1], swapped[place]
    with pytest.raises(Tampered):
        verify(swapped)


def test_a_chain_rewritten_from_the_middle_does_not_follow_the_known_head() -> None:
    known = verify(chain(3))
    forged = chain(4, Head(1, bytes(32)))
    with pytest.raises(Tampered):
        verify(forged[2:], known)


@given(st.lists(st.builds(Link, st.integers(), st.text(), st.text(), st.text(st.characters(codec=None))), min_size=1))
def test_garbage_is_tampered_and_nothing_else(links: list[Link]) -> None:
    with pytest.raises(Tampered):
        verify(links)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"op": "x"},
        {"at": "1"},
        {"at": True},
        {"at": -1},
        {"at": 2**53},
        {"at": 1, "message": "x"},
        {"at": 1, "op": "two words"},
        {"at": 1, "op": "line\n"},
        {"at": 1, "op": "é"},
        {"at": 1, "op": "x" * 513},
        {"at": 1, "targets": "x" * 65537},
        {"at": 1, "op": None},
        {"at": 1, "op": ["x"]},
        {"at": 1, "count": 1.5},
        {"at": 1, "count": False},
    ],
)
def test_an_entry_holds_names_digests_codes_and_numbers_only(entry: dict[str, str | int]) -> None:
    with pytest.raises(Malformed):
        encode_entry(entry)


def test_the_closed_list_of_fields_is_accepted() -> None:
    entry: dict[str, str | int] = dict.fromkeys(FIELDS, "x" * 512)
    entry |= {"at": 2**53 - 1, "targets": "x" * 65536, "count": 0}
    assert msgspec.json.decode(encode_entry(entry)) == entry


def test_a_head_needs_a_whole_hash() -> None:
    state = State("account")
    state.seen.audit = (1, "AAAA")
    with pytest.raises(Malformed):
        _ = state.audit
