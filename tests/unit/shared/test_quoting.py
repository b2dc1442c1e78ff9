"""Quoting: what stands for an expression fits the place that it stands in, as the reader of each shell understands it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Malformed
from shared.quoting import Bash, PowerShell, Reader

OPEN, DOUBLE, SINGLE, ANSI = '"${V}"', "${V}", "'\"${V}\"'", "'\"${V}\"$'"


def filled(reader: Reader, script: str) -> list[str]:
    """What stands at each `@@`."""
    first, *rest = script.split("@@")
    reader.feed(first)
    found = []
    for piece in rest:
        found.append(reader.reference("V"))
        reader.feed(piece)
    return found


@pytest.mark.parametrize(
    ("script", "references"),
    [
        ("@@", [OPEN]),
        ("curl https://@@/x", [OPEN]),
        ("a=@@@@", [OPEN, OPEN]),
        ('curl "https://@@/x" @@', [DOUBLE, OPEN]),
        ("curl 'https://@@/x' @@", [SINGLE, OPEN]),
        ("curl $'a\\'@@' @@", [ANSI, OPEN]),
        ('$"@@" @@', [DOUBLE, OPEN]),
        ("a\\'@@", [OPEN]),
        ('a\\"@@', [OPEN]),
        ('"a\\"@@" @@', [DOUBLE, OPEN]),
        ("'a\\'@@", [OPEN]),
        ('"it\'s @@" @@', [DOUBLE, OPEN]),
        ("'say \"@@\"' @@", [SINGLE, OPEN]),
        ("secret=$(curl 'https://@@' \"@@\" @@) @@", [SINGLE, DOUBLE, OPEN, OPEN]),
        ('secret="$(curl \'https://@@\' "@@" @@)@@" @@', [SINGLE, DOUBLE, OPEN, DOUBLE, OPEN]),
        ("secret=\"`curl 'https://@@' @@`@@\" @@", [SINGLE, OPEN, DOUBLE, OPEN]),
        ('"`a "b` @@"', [DOUBLE]),
        ("(cd /; echo '@@') @@ )@@", [SINGLE, OPEN, OPEN]),
        ('"$x ${y} $ @@" @@', [DOUBLE, OPEN]),
        ('"${y:-\'} @@" @@', [DOUBLE, OPEN]),
        ("${y:-'}'} @@", [OPEN]),
        ('"${y:-"}"} @@" @@', [DOUBLE, OPEN]),
        ("${y:-\\}\\'} '@@'", [SINGLE]),
        ("# don't @@\n@@", [OPEN, OPEN]),
        ("# don't @@ isn't @@ won't\n@@ '@@'", [OPEN, OPEN, OPEN, SINGLE]),
        ("# don't", []),
        ("# don't\n'@@'", [SINGLE]),
        ("a#don't @@'", [SINGLE]),
        ("echo $# '@@'", [SINGLE]),
        ("echo ${#x} '@@'", [SINGLE]),
        ("x=$((1 + (2)))'@@' @@", [SINGLE, OPEN]),
        ("x=$(( (1) ))'@@' @@", [SINGLE, OPEN]),
        ("x=$((16#ff << 2))'@@' @@", [SINGLE, OPEN]),
        ("((x > 1)) && echo '@@'", [SINGLE]),
        ("a=(1 2 '@@' @@)", [SINGLE, OPEN]),
        ("diff <(echo '@@') @@", [SINGLE, OPEN]),
        ("cat <<EOF\nit's \"@@\n EOF\nEOF\n@@ '@@'", [DOUBLE, OPEN, SINGLE]),
        ("cat <<EOF; echo @@\n@@\nEOF\n@@", [OPEN, DOUBLE, OPEN]),
        ("cat <<EOF\n@@EOF\n@@\nEOF\n'@@'", [DOUBLE, DOUBLE, SINGLE]),
        ("cat <<-EOF\n\t@@\n\tEOF\n'@@'", [DOUBLE, SINGLE]),
        ("cat <<A <<B\n@@\nB\nA\n@@\nB\n'@@'", [DOUBLE, DOUBLE, SINGLE]),
        ("cat <<'EOF'\nit's\nEOF\n'@@' @@", [SINGLE, OPEN]),
        ('cat <<"E F"\nit\'s\nE F\n@@', [OPEN]),
        ("cat <<\\EOF\nit's\nEOF\n@@", [OPEN]),
        ('x="$(cat <<EOF\nit\'s @@\nEOF\n)@@"', [DOUBLE, DOUBLE]),
        ("cat <<EOF\n\\\\@@\nEOF\n", [DOUBLE]),
        ("cat <<< '@@' @@", [SINGLE, OPEN]),
        ("cat < file '@@'", [SINGLE]),
        ("cat << \n'@@'", [SINGLE]),
        ("a \\\n '@@'", [SINGLE]),
        ("[ @@ -gt 1 ] || [ 1 -lt @@ ]", [OPEN, OPEN]),
        ("[[ @@ == prod && a =~ @@ ]]", [OPEN, OPEN]),
        ("[[ 1 -eq 1 ]] && echo @@ -eq", [OPEN]),
        ("curl -v @@ '?a[@@]'; jq '.data[\"@@\"]' | jq .a[@@]", [OPEN, SINGLE, SINGLE, OPEN]),
        ("echo let @@; let x=1; echo @@", [OPEN, OPEN]),
    ],
)
def test_what_stands_for_an_expression_fits_bashs_quotes(script: str, references: list[str]) -> None:
    assert filled(Bash(), script) == references


@pytest.mark.parametrize(
    ("script", "where"),
    [
        ("echo \\@@", "backslash"),
        ('echo "\\@@"', "backslash"),
        ("cat <<EOF\n\\@@\nEOF", "backslash"),
        ("echo $(( @@ ))", "arithmetic"),
        ('echo "$(( (1 + @@) ))"', "arithmetic"),
        ("((x = @@))", "arithmetic"),
        ("echo ${x:@@}", "arithmetic"),
        ("echo ${@@}", "arithmetic"),
        ("if [[ @@ -gt 1 ]]", "arithmetic"),
        ('if [[ "@@" -eq 1 ]]', "arithmetic"),
        ("if [[ 1 -lt @@ ]]", "arithmetic"),
        ("[[ a && 1 -ne '@@' ]]", "arithmetic"),
        ("[[ -v @@ ]]", "arithmetic"),
        ("let x=@@", "arithmetic"),
        ("a; let 'x = @@'", "arithmetic"),
        ("declare -i x=@@", "arithmetic"),
        ("[ -v '@@' ]", "arithmetic"),
        ("a[@@]=1", "arithmetic"),
        ('a; b["@@"]=1', "arithmetic"),
        ("cat <<'EOF'\n@@\nEOF", "quoted"),
        ('cat <<"EOF"\na\n@@\nEOF', "quoted"),
        ("cat <<E\\OF\n@@\nEOF", "quoted"),
    ],
)
def test_an_expression_is_refused_where_bash_would_parse_it_or_leave_it(script: str, where: str) -> None:
    with pytest.raises(Malformed) as caught:
        filled(Bash(), script)
    assert caught.value.code == "expression_misplaced" and where in caught.value.detail and caught.value.hint


@pytest.mark.parametrize(
    "script",
    [
        "@@",
        '"@@" @@',
        "'it''s' @@",
        '"it\'s @@"',
        '"`"@@" + "a""@@"',
        "`'@@",
        "'a`' @@",
        "# don't\n@@",
        "<# don't\n ' #> @@",
        "<# it's never closed",
        "'# a' \"# b @@\" '<#' @@",
        '@"\nit\'s "@@"\n"@ + @@',
        "@'\nit''s \"\n'@ + @@",
        "\u2018it\u2019 @@",
        "\u201cit's\u201d @@",
        "'@\"\n' @@",
        "\"@'\n@@",
        '@"\nnever closed @@',
    ],
)
def test_what_stands_for_an_expression_in_powershell_is_expanded(script: str) -> None:
    assert set(filled(PowerShell(), script)) <= {"${V}"}


@pytest.mark.parametrize("script", ["'@@'", "@'\n@@\n'@", "\u2018@@\u2019", "\"'\" + '@@'", "'it''@@'", "'\"@@'"])
def test_an_expression_is_refused_where_powershell_would_leave_it(script: str) -> None:
    with pytest.raises(Malformed) as caught:
        filled(PowerShell(), script)
    assert caught.value.code == "expression_misplaced"


PIECES = st.sampled_from(
    [
        "'",
        '"',
        "\\",
        "`",
        "$(",
        "$((",
        "((",
        "))",
        ")",
        "${",
        "}",
        "$'",
        "<<EOF",
        "<<-'EOF'",
        "EOF",
        "\n",
        "#",
        " ",
        "a",
        "@@",
        "@'",
        "'@",
    ]
)


@given(st.sampled_from([Bash, PowerShell]), st.lists(PIECES | st.text(max_size=2), max_size=40).map("".join))
def test_garbage_has_an_expansion_of_ours_or_is_refused(make: type[Bash | PowerShell], script: str) -> None:
    try:
        found = filled(make(), script)
    except Malformed as error:
        assert error.code == "expression_misplaced"
        return
    assert set(found) <= {OPEN, DOUBLE, SINGLE, ANSI}
