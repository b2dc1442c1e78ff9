"""Expressions: what users write in `<+ ... >` parses into a small tree, and everything else is Malformed with its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Malformed
from shared.expressions import (
    DEEPEST,
    LONGEST,
    LONGEST_RESULT,
    LONGEST_TEXT,
    MOST,
    Expression,
    Joined,
    SecretCall,
    SecretValue,
    Text,
    Variable,
    evaluate,
    parse_text,
)

VARIABLES = {"pipeline.variables.x": "db", "env.name": "prod", "spec.environmentVariables.path": "a/b", "x": "1"}


def one(text: str) -> Expression:
    (expression,) = parse_text(text)
    assert not isinstance(expression, str)
    return expression


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ('<+secrets.getValue("id")>', SecretCall("id")),
        ("<+secrets.getValue('org.id')>", SecretCall("org.id")),
        ('<+ secrets.getValue ( "account.id" ) >', SecretCall("account.id")),
        ("<+secrets.getValue(<+pipeline.variables.x>)>", SecretCall("db")),
        ("<+secrets.getValue(pipeline.variables.x)>", SecretCall("db")),
        ('<+secrets.getValue("prefix_" + <+env.name>)>', SecretCall("prefix_prod")),
        ('<+secrets.getValue("prefix_<+env.name>")>', SecretCall("prefix_prod")),
        ('<+secrets.getValue("prefix_".concat(env.name).concat("_1"))>', SecretCall("prefix_prod_1")),
        ('<+secrets.getValue(env.name.concat("_a"))>', SecretCall("prod_a")),
        ('<+secrets.getValue(env.name.concat ("_a"))>', SecretCall("prod_a")),
        ("<+secrets.getValue((env.name + '_') + (\"a\" + x))>", SecretCall("prod_a1")),
        (
            '<+secrets.getValue("account.hashicorpvault://connId/path/secret#key")>',
            SecretCall("account.hashicorpvault://connId/path/secret#key"),
        ),
        ("<+<+secrets.getValue('a')>>", SecretCall("a")),
        ("<+spec.environmentVariables.path>", "a/b"),
        ("<+x>", "1"),
        ('<+"it\'s" + \' "so" \'>', 'it\'s "so" '),
        (r'<+"a\"b\\c\'d">', "a\"b\\c'd"),
        ('<+"">', ""),
        ('<+"" + "">', ""),
        ('<+"a > b + c">', "a > b + c"),
        ('<+\n  "a"\n  + "b"\n>', "ab"),
    ],
)
def test_an_expression_means_what_users_mean(text: str, meant: str | SecretCall) -> None:
    assert evaluate(one(text), VARIABLES) == meant


def test_a_text_keeps_its_order_and_what_stands_as_it_is() -> None:
    parts = parse_text('user:<+secrets.getValue("a")>@<+x>\n')
    assert parts == ("user:", SecretValue(Text("a")), "@", Variable("x"), "\n")
    assert parse_text("<+x><+x>") == (Variable("x"), Variable("x"))
    assert parse_text("nothing < + here>") == ("nothing < + here>",)
    assert parse_text("") == ()


def test_texts_that_meet_are_one() -> None:
    assert one('<+"a" + "b" + x + "" + "c">') == Joined((Text("ab"), Variable("x"), Text("c")))
    assert one('<+"" + x>') == Variable("x")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("<+", "line 1, column 3"),
        ("<+>", "line 1, column 3"),
        ("<+x", "line 1, column 4"),
        ("a\nb <+x y>", "line 2, column 7"),
        ("<+x ? y : z>", "line 1, column 5"),
        ("<+x-y>", "line 1, column 4"),
        ("<+1>", "line 1, column 3"),
        ("<+secrets.getValue(>", "line 1, column 20"),
        ('<+secrets.getValue("a">', "line 1, column 23"),
        ('<+secrets.getValue("a)>', "line 1, column 20"),
        ('<+secrets.getValue("a\n")>', "line 1, column 20"),
        ('<+"a\\n">', "line 1, column 5"),
        ('<+"a\\', "line 1, column 5"),
        ("<+secrets.obtain('a')>", "line 1, column 3"),
        ("<+concat('a')>", "line 1, column 3"),
        ('<+"a".concat>', "line 1, column 13"),
        ('<+"a".length()>', "line 1, column 6"),
        ("<+.x>", "line 1, column 3"),
        ("<+x.>", "line 1, column 4"),
        ("<+x.1>", "line 1, column 4"),
        ("<+x[0]>", "line 1, column 4"),
        ("<+x + >", "line 1, column 7"),
        ("<+(x>", "line 1, column 5"),
        ("<+é>", "line 1, column 3"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_text(text)
    assert caught.value.code == "expression_malformed" and caught.value.hint
    assert f"at {place} " in caught.value.detail


@pytest.mark.parametrize(
    "text",
    [
        '<+"user:" + secrets.getValue("a")>',
        '<+secrets.getValue("a").concat("b")>',
        '<+"b".concat(secrets.getValue("a"))>',
        '<+"text <+secrets.getValue("a")>">',
        '<+secrets.getValue(secrets.getValue("a"))>',
        '<+secrets.getValue(<+secrets.getValue("a")>)>',
        '<+secrets.getValue("x" + <+secrets.getValue("a")>)>',
    ],
)
def test_a_secrets_value_is_part_of_nothing(text: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_text(text)
    assert caught.value.code == "expression_secret_within" and caught.value.hint


def test_what_a_variable_holds_is_never_parsed_again() -> None:
    found = evaluate(one("<+secrets.getValue(x)>"), {"x": '<+secrets.getValue("other")>'})
    assert found == SecretCall('<+secrets.getValue("other")>')
    assert evaluate(one("<+x>"), {"x": "<+y>"}) == "<+y>"


def test_an_unknown_variable_is_named_with_its_place_and_no_value_is_told() -> None:
    with pytest.raises(Malformed) as caught:
        evaluate(one("\n <+env.nmae>".strip()), {"env.name": "hunter2"})
    assert caught.value.code == "expression_unknown"
    assert "env.nmae" in caught.value.detail and "line 1, column 3" in caught.value.detail
    assert "env.name" in caught.value.hint and "hunter2" not in caught.value.detail + caught.value.hint
    with pytest.raises(Malformed) as caught:
        evaluate(Variable("x"), {})
    assert "no variable is known" in caught.value.hint and "an unknown place" in caught.value.detail


def test_an_error_repeats_nothing_of_a_text_in_quotes() -> None:
    with pytest.raises(Malformed) as caught:
        parse_text('<+"hunter2" ? "hunter3">')
    assert "hunter" not in caught.value.detail + caught.value.hint


def test_an_expression_has_bounds() -> None:
    deep = "(" * (DEEPEST - 1) + "x" + ")" * (DEEPEST - 1)
    assert parse_text(f"<+{deep}>") == (Variable("x"),)
    with pytest.raises(Malformed, match="too many brackets"):
        parse_text(f"<+({deep})>")
    with pytest.raises(Malformed, match="too many brackets"):
        parse_text("<+" * 100_000)
    with pytest.raises(Malformed, match="is too long"):
        parse_text('<+"' + "a" * LONGEST + '">')
    assert len(parse_text("<+x>" * MOST)) == MOST
    with pytest.raises(Malformed, match="one too many"):
        parse_text("<+x>" * (MOST + 1))
    with pytest.raises(Malformed, match="too long"):
        parse_text("a" * (LONGEST_TEXT + 1))


@pytest.mark.parametrize("text", ['<+"' + '\\"' * 100_000, "<+" + "a+" * 100_000, "<+a" + ".concat(b)" * 100_000])
def test_what_is_too_long_is_read_no_further(text: str) -> None:
    """Its end isn't looked for: a megabyte of pieces took ten seconds to put together."""
    with pytest.raises(Malformed, match="is too long"):
        parse_text(text)


def test_what_an_expression_makes_has_bounds() -> None:
    half = "a" * (LONGEST_RESULT // 2)
    assert evaluate(one("<+x + x>"), {"x": half}) == half + half
    with pytest.raises(Malformed) as caught:
        evaluate(one("<+x + x + '!'>"), {"x": half})
    assert caught.value.code == "expression_too_long"


PIECES = st.sampled_from(
    ["<+", ">", '"', "'", "(", ")", "+", ".", "\\", " ", "\n", "x", "env.name", "secrets.getValue", ".concat", "1", "é"]
)


@given(st.lists(PIECES | st.text(max_size=3), max_size=40).map("".join))
def test_garbage_parses_or_is_malformed(text: str) -> None:
    try:
        parts = parse_text(text)
    except Malformed:
        return
    for part in parts:
        if not isinstance(part, str):
            try:
                evaluate(part, VARIABLES)
            except Malformed as error:
                assert error.code == "expression_unknown"


@given(st.text(), st.text())
def test_a_text_without_an_opening_stands_as_it_is(before: str, after: str) -> None:
    text = (before + after).replace("<", "")
    assert "".join(map(str, parse_text(text))) == text
