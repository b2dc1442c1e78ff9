"""Names of Secret objects: one to one with identifiers, and of a form that Kubernetes takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delegate.secret_managers.kubernetes_object import LONGEST_NAME, name_of
from shared.connectors.kubernetes_secrets import is_object_name
from shared.names import IDENTIFIER

IDENTIFIERS = st.from_regex(IDENTIFIER.replace("$(?!\\n)", r"\Z"), fullmatch=True)
PLACES = st.lists(
    IDENTIFIERS | st.text("_aA0-", min_size=1, max_size=6).filter(str.isidentifier), min_size=1, max_size=3
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("db", "db"),
        ("acme.web.db", "acme.web.db"),
        ("my_secret", "my--secret"),
        ("dbPassword", "db-password"),
        ("DB", "0-d-b"),
        ("_", "0---0"),
        ("a_.B", "a---0.0-b"),
    ],
)
def test_names_are_readable(text: str, name: str) -> None:
    assert name_of(text) == name


@given(PLACES)
def test_kubernetes_takes_every_name(parts: list[str]) -> None:
    assert is_object_name(name_of(".".join(parts)))


@given(PLACES, PLACES)
def test_two_secrets_never_have_one_name(one: list[str], other: list[str]) -> None:
    assert (name_of(".".join(one)) == name_of(".".join(other))) == (one == other)


def test_what_is_too_long_ends_with_a_digest_of_all_of_it() -> None:
    names = {name_of(f"{'A_' * 64}.{'b' * 127}{end}") for end in "abc"} | {name_of("_" * 128 + "." + "_" * 128)}
    assert len(names) == 4
    assert all(is_object_name(one) and len(one) <= LONGEST_NAME for one in names)
