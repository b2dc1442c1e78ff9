"""Quoting: what stands for an expression fits the place that it stands in, as the reader of each shell understands it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Malformed
from shared.powershell_quoting import PowerShell
from shared.quoting import Bash, Reader

OPEN, DOUBLE, SINGLE, ANSI = '"${V}"', "${V}", "'\"${V}\"'", "'\"${V}\"$'"


def filled(reader: Reader, script: str) -> list[str]:
    """What stands at each `@@`."""
    first, *rest = script.split("@@")
    reader.feed(first)
    found = []
    for piece in rest:
        found.append(reader.reference("V"))
        reader.feed(piece)
    reader.feed("\n")
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
        ('read -r x <<< "@@"; read y < @@ z', [DOUBLE, OPEN]),
        ("read x < <(curl @@ | cat)", [OPEN]),
        ("printf '%s' @@; printf -v x '%s' @@; printf @@", [OPEN, OPEN, OPEN]),
        ("declare x=@@ y; local -r z=@@; export X=@@ @@", [OPEN, OPEN, OPEN, OPEN]),
        ("declare -A m; m[a]=@@; m+=(@@ x[@@])", [OPEN, OPEN, OPEN]),
        ("a[1]=@@ b=@@ c", [OPEN, OPEN]),
        ("echo a[@@] {b[1]@@", [OPEN, OPEN]),
        ('"${x:-$(curl @@)}" ${y-`echo @@`}', [OPEN, OPEN]),
        ("[[ 1 -eq 1 && @@ == x || a == b@@ ]] && x=@@", [OPEN, OPEN, OPEN]),
        ("[[ (@@ == a) ]]; [[ @@ < b ]]; [[\n @@ == c ]]", [OPEN, OPEN, OPEN]),
        ("test -n @@ -a -v x; [ -z @@ ]", [OPEN, OPEN]),
        ("x=$(case a in a) echo '@@';; (b) echo @@;; esac)'@@'", [SINGLE, OPEN, SINGLE]),
        ("x=$( (cd /; pwd); echo '@@')'@@' $((cd /); echo '@@')'@@'", [SINGLE, SINGLE, SINGLE, SINGLE]),
        ("x=$(( (1+(2)) << 3 ))'@@'; y=$[ 1 + 2 ]'@@'", [SINGLE, SINGLE]),
        ("(true)# don't\n'@@' ''# '@@", [SINGLE, SINGLE]),
        ("`: # don't` '@@'", [SINGLE]),
        ("((1))# don't\n'@@' $((1))# don't@@' $[1]#'@@'", [SINGLE, SINGLE, SINGLE]),
        ("cat <<EOF\n$(curl '@@' @@)\n$((1)) \\$(( @@\nEOF\n@@", [SINGLE, OPEN, DOUBLE, OPEN]),
        ("cat <<EOF\n`curl @@`${x:-y}@@\nEOF\n@@", [OPEN, DOUBLE, OPEN]),
        ("cmd >&2 2>/dev/null &>@@ @@ >| @@", [OPEN, OPEN, OPEN]),
        ("" + "x" * 2_000 + "=@@", [OPEN]),
        ("# let @@\n@@", [OPEN, OPEN]),
        ('"`echo \\"it\'s @@\\"`" `echo \\" @@`', [DOUBLE, OPEN]),
    ],
)
def test_what_stands_for_an_expression_fits_bashs_quotes(script: str, references: list[str]) -> None:
    assert filled(Bash(), script) == references


EVALUATED = [
    *["x=$[@@]", 'echo "$[1+@@]"', 'echo $(( "@@" ))', "echo $(( $(echo @@) ))", "echo $(( (1+(2)) + @@ ))"],
    *["if((@@)); then :; fi", "while((@@)); do :; done", "for((i=@@;;)); do :; done", "!((@@))", "x && ((@@))"],
    *["if x; then((@@)); fi", "{ ((@@)); }", "time((@@))", "case x in x)((@@));; esac", "f() ((@@))", "((1)); ((@@))"],
    *[
        "cat <<EOF\n$((@@))\nEOF",
        "cat <<EOF\n${x:@@}\nEOF",
        "cat <<EOF\n$[@@]\nEOF",
        "cat <<-A <<B\nA\n`echo $((@@))`\nB",
    ],
    *[
        'echo "`echo \\$(( @@ ))`"',
        "`echo \\$(( @@ ))`",
        "`: # hi` $((@@))",
        "echo ''# $((@@))",
        "cat <<'A' <<B\n$((\nA\n$((@@))\nB",
    ],
    *[
        "a[1+@@]=5",
        "a[ @@ ]=5",
        'a["1+@@"]=5',
        "x=1 a[@@]=2",
        "if x; then a[@@]=1; fi",
        "a[b[1]+@@]=1",
        "a[" + "1" * 2_000 + "]=@@",
    ],
    *["a=([@@]=1)", "a+=(1 2 [@@]=1)", "declare -a a=([@@]=1)", "declare a[@@]=1", 'declare "a[@@]=1"', "declare @@=1"],
    *["exec {a[@@]}>x", "exec {fd}>x; exec 2> {a[@@]"],
    *[
        "declare -r -i y=@@",
        "typeset -i y=@@",
        "f() { local -i y=@@; }",
        "declare -i y; y=@@",
        "y=@@; declare -i y",
        "declare -n y=@@",
    ],
    *["declare -i y; y=(@@)", "y+=@@; typeset -ai x y=1\n"],
    *["RANDOM=@@", "OPTIND=@@ x", "HISTCMD=@@", "PS4='@@'", "PS4=x@@"],
    *[
        "test -v @@",
        '[ -v "a@@" ]',
        "printf -v @@ x",
        "printf -v'a[@@]' x",
        "read @@",
        "read a <<< x @@",
        "mapfile -O @@ x",
        "unset 'a[@@]'",
    ],
    *[
        "let \\\n y=@@",
        "! let y=@@",
        "builtin let y=@@",
        "{ let y=@@; }",
        "x=1 let @@",
        "let 1>&2 @@",
        "'let' @@",
        "\\let @@",
        "x & let @@",
    ],
    *["a[(1 + @@)]=1", "a[1;\n2 < @@]=1"],
    *["x >&@@", "x 2>& '@@'", 'x <&"@@"', "x >&a@@"],
    *["$(true) read @@", "`true` let x=@@", "$none read @@", "$@ $1${none} declare -i x=@@", "$none a[@@]=1"],
    *[
        "[[ ${b[0]} -eq @@ ]]",
        '[[ "]" == x || 1 -eq @@ ]]',
        "[[ 1 -eq 1+@@ ]]",
        "[[ 1 -eq $'@@' ]]",
        "[[ @@+1 -eq 1 ]]",
        '[[ "@@ " -eq 1 ]]',
    ],
    *[
        "[[ true &&\n 1 -eq @@ ]]",
        "[[ true &&\n @@ -eq 1 ]]",
        "[[ 1 \\\n -eq @@ ]]",
        "[[ (1 -eq @@) ]]",
        "[[\n1 -eq @@ ]]",
    ],
]
"""Each runs a command in Bash if it is let through and the value is a[$(COMMAND)]."""


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
        *[(script, "arithmetic") for script in EVALUATED],
        ("cat <<'EOF'\n@@\nEOF", "quoted"),
        ("`cat <<EOF\na\nEOF\n` @@", "backquotes"),
        ("$(" * 200 + "@@", "too many"),
        ("$(cat <<EOF\n" * 120 + "@@", "too many"),
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
