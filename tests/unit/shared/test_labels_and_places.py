"""Labels and places: no two uses of a key and no two places of a ciphertext can coincide."""

from __future__ import annotations

import dataclasses
import itertools

from hypothesis import given
from hypothesis import strategies as st

from shared import labels
from shared.aad import Aad
from shared.canonical import b64u, sha256, unlp
from shared.hello import hello_message

TEXT = st.text("ab", max_size=3)
PLACES = st.builds(
    Aad,
    st.sampled_from(["store", "answer"]),
    TEXT,
    TEXT,
    TEXT,
    TEXT,
    st.integers(0, 2),
    TEXT,
    TEXT,
)


def test_no_label_is_the_beginning_of_another() -> None:
    for one, other in itertools.permutations(labels.LABELS, 2):
        assert not other.startswith(one)


def test_the_list_of_labels_is_whole() -> None:
    named = {value for name, value in vars(labels).items() if name.isupper() and isinstance(value, bytes)}
    assert named == set(labels.LABELS)
    assert all(label.startswith(b"privyseal/v1/") for label in named)


@given(PLACES, PLACES, st.sampled_from(labels.LABELS), st.sampled_from(labels.LABELS))
def test_two_places_never_have_one_form(one: Aad, other: Aad, label: bytes, another: bytes) -> None:
    assert (one.encode(label) == other.encode(another)) == (one == other and label == another)


def test_a_place_is_length_prefixed_field_after_field() -> None:
    place = Aad("store", "acct", "ring", "org/x", "secret", 7, "version", "connector")
    parts = [b"store", b"acct", b"ring", b"org/x", b"secret", (7).to_bytes(8, "big"), b"version", b"connector"]
    assert unlp(place.encode(labels.RECORD), 9) == [labels.RECORD, *parts]
    assert len(parts) == len(dataclasses.fields(Aad))


def test_what_a_key_service_may_log_names_nothing() -> None:
    place = Aad("store", "acct", "ring", "org/x", "secret", 7, "version", "connector")
    assert place.encryption_context(labels.WRAP) == {
        "privyseal:account": "acct",
        "privyseal:secret": "secret",
        "privyseal:aad": b64u(sha256(place.encode(labels.WRAP))),
    }


def test_the_proof_of_a_delegate_binds_origin_nonce_and_certificate() -> None:
    message = hello_message("https://m", b"n" * 32, "a.b.c")
    others = {
        hello_message("https://o", b"n" * 32, "a.b.c"),
        hello_message("https://m", b"m" * 32, "a.b.c"),
        hello_message("https://m", b"n" * 32, "a.b.d"),
        hello_message("https://mn", b"n" * 31, "a.b.c"),
    }
    assert message not in others and len(others) == 4
    assert unlp(message, 4)[0] == labels.HELLO
