"""Names and scopes: closed forms, nothing normalised, and a lower scope never stands for a higher one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Malformed
from shared.names import (
    ACCOUNT_SCOPE,
    Reference,
    Scope,
    check_account,
    check_identifier,
    check_name,
    is_opaque,
    opaque_id,
)

IDENTIFIERS = st.from_regex(r"[a-z_][0-9a-z_]{0,3}", fullmatch=True)
SCOPES = st.one_of(st.just(Scope()), st.builds(Scope, IDENTIFIERS), st.builds(Scope, IDENTIFIERS, IDENTIFIERS))
# Few names, so that scopes meet.
NEAR = st.sampled_from([Scope(), *(Scope(o, p) for o in ("a", "b") for p in ("", "a", "b"))])
HERE = Scope("acme", "web")


def path(scope: Scope) -> tuple[str, ...]:
    """The way from the account down to a scope, step by step."""
    return tuple(step for step in (scope.org, scope.project) if step)


@given(NEAR | SCOPES, NEAR | SCOPES)
def test_a_scope_covers_exactly_what_lies_at_or_below_it(one: Scope, other: Scope) -> None:
    assert one.covers(other) == (path(other)[: len(path(one))] == path(one))


@given(NEAR, NEAR, NEAR)
def test_covering_is_transitive_and_only_mutual_in_one_scope(a: Scope, b: Scope, c: Scope) -> None:
    if a.covers(b) and b.covers(c):
        assert a.covers(c)
    if a.covers(b) and b.covers(a):
        assert a == b


@given(SCOPES)
def test_a_scope_is_its_text(scope: Scope) -> None:
    assert Scope.parse(str(scope)) == scope


@given(st.text(max_size=40) | st.text("acountorg/projec_x", max_size=24))
def test_any_text_is_a_scope_or_malformed(text: str) -> None:
    try:
        scope = Scope.parse(text)
    except Malformed as why:
        assert why.code == "scope_malformed"
        return
    assert str(scope) == text


@pytest.mark.parametrize(
    "text",
    ["", "Account", "account\n", "account/", "org/", "org/a/", "org/a/project", "org/a/project/", "org/a/b", "org/1a"]  # noqa: RUF005
    + ["/org/a", "org/a/project/b/c", "org/é", "org/a b", "org/" + "a" * 129, "org/a/project/b\n", "org/../project/b"],
)
def test_another_form_of_a_scope_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        Scope.parse(text)


def test_children_go_down_to_projects_and_no_further() -> None:
    org = ACCOUNT_SCOPE.child("acme")
    assert (str(org), str(org.child("web"))) == ("org/acme", "org/acme/project/web")
    with pytest.raises(Malformed) as caught:
        HERE.child("more")
    assert caught.value.code == "scope_too_deep"
    with pytest.raises(Malformed) as caught:
        ACCOUNT_SCOPE.child("no/name")
    assert caught.value.code == "identifier_malformed"


@given(st.text(max_size=20))
def test_any_text_is_an_identifier_or_malformed(text: str) -> None:
    fits = bool(text) and text.isascii() and text.replace("_", "a").isalnum() and not text[0].isdigit()
    if fits:
        assert check_identifier(text, "secret") == text
    else:
        with pytest.raises(Malformed):
            check_identifier(text, "secret")


@pytest.mark.parametrize("text", ["a" * 129, "1a", "", "a-b", "a\n", "é", "a b"])
def test_another_form_of_an_identifier_is_malformed(text: str) -> None:
    with pytest.raises(Malformed) as caught:
        check_identifier(text, "secret")
    assert "secret" in caught.value.detail


@pytest.mark.parametrize("text", ["a", "a b", "-a", ".", "0", "_x.y-z", "a" * 128])
def test_names_are_for_people(text: str) -> None:
    assert check_name(text, "name") == text


@pytest.mark.parametrize("text", ["", " a", "a\n", "a\tb", "é", "a" * 129, "a\u202eb"])
def test_another_form_of_a_name_is_malformed(text: str) -> None:
    with pytest.raises(Malformed) as caught:
        check_name(text, "name")
    assert caught.value.code == "name_malformed"


def test_an_account_id_is_52_characters_of_base32() -> None:
    assert check_account("a2" * 26) == "a2" * 26
    for text in ("", "a" * 51, "a" * 53, "A" * 52, "1" * 52, "a" * 52 + "\n"):
        with pytest.raises(Malformed):
            check_account(text)


def test_an_opaque_id_is_made_of_16_random_bytes() -> None:
    assert opaque_id(bytes(16)) == "a" * 26
    with pytest.raises(ValueError, match="16"):
        opaque_id(bytes(15))
    assert is_opaque(opaque_id(b"x" * 16))
    assert not any(is_opaque(text) for text in ("", "a" * 25, "a" * 27, "A" * 26, "1" * 26, "a" * 26 + "\n"))


@pytest.mark.parametrize(
    ("text", "here", "scope"),
    [
        ("account.x", HERE, Scope()),
        ("account.x", Scope(), Scope()),
        ("org.x", HERE, Scope("acme")),
        ("org.x", Scope("acme"), Scope("acme")),
        ("x", HERE, HERE),
        ("x", Scope("acme"), Scope("acme")),
        ("x", Scope(), Scope()),
        ('<+secrets.getValue("account.x")>', HERE, Scope()),
        ("<+secrets.getValue('org.x')>", HERE, Scope("acme")),
        ('<+secrets.getValue("x")>', HERE, HERE),
    ],
)
def test_a_reference_means_a_place(text: str, here: Scope, scope: Scope) -> None:
    assert Reference.parse(text, here) == Reference(scope, "x")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("project.x", "reference_malformed"),
        ("acount.x", "reference_malformed"),
        (".x", "reference_malformed"),
        ("account.", "reference_malformed"),
        ("account.org.x", "reference_malformed"),
        ("", "reference_malformed"),
        ("x\n", "reference_malformed"),
        ("é", "reference_malformed"),
        ('<+secrets.getValue("x)>', "reference_malformed"),
        ("<+secrets.getValue(\"x')>", "reference_malformed"),
        ("<+secrets.getValue(x)>", "reference_malformed"),
        ('<+secrets.getValue("x")>\n', "reference_malformed"),
        ('<+secrets.getValue("<+x>")>', "reference_malformed"),
        ("<+pipeline.name>", "reference_malformed"),
    ],
)
def test_another_form_of_a_reference_is_malformed(text: str, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        Reference.parse(text, HERE)
    assert caught.value.code == code


def test_org_needs_an_organisation() -> None:
    with pytest.raises(Malformed) as caught:
        Reference.parse("org.x", Scope())
    assert caught.value.code == "reference_out_of_scope"


@given(st.text(max_size=40), NEAR)
def test_any_text_is_a_reference_or_malformed(text: str, here: Scope) -> None:
    try:
        reference = Reference.parse(text, here)
    except Malformed:
        return
    assert Reference.parse(str(reference), reference.scope) == reference


@given(SCOPES, IDENTIFIERS)
def test_a_reference_written_out_means_itself_in_its_own_scope(scope: Scope, identifier: str) -> None:
    reference = Reference(scope, identifier)
    assert Reference.parse(str(reference), scope) == reference
