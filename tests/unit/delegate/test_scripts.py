"""Scripts as programs: values come by standard input, byte for byte, none is parsed, and `secret` alone comes out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from delegate.scripts import (
    Absence,
    Input,
    Program,
    bash_quoted,
    check_end,
    filled,
    handed_over,
    harvest,
    program,
    python_quoted,
)
from shared.crypto.plaintext import Plaintext
from shared.errors import Expired, Malformed, PrivySealError, Unavailable
from shared.templates import Shell

PATH = "<+spec.environmentVariables.path>"
TOKEN = '<+secrets.getValue("account.token")>'
SHELLS: list[Shell] = ["Bash", "Python"]
POWERSHELL = pytest.mark.skipif(shutil.which("pwsh") is None, reason="pwsh can't be had here")
ASSIGNED: Mapping[Shell, str] = {"Bash": 'secret="$path"', "Python": "secret = path", "PowerShell": "$secret = $path"}
HOSTILE = [
    "it's",
    '"',
    "''",
    "'\\''",
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    '"; touch pwned; "',
    "$'\\x41'",
    "${IFS}",
    "a[$(touch pwned)]",
    "-n",
    "\\",
    "\\n",
    "line\nline\n\n",
    "\r\n",
    "\t x ",
    "EOF\ntouch pwned\n",
    "* ~ ? [a]",
    "!!",
    "# no",
    "né €\u202e𝄞",
    "'''\n\"\"\"",
    "__privyseal_0__",
    '" + __import__("os").system("touch pwned") + "',
    "{path}%s",
    "<+secrets.getValue('x')>",
    "",
]


def ran(one: Program, cwd: Path | None = None, seconds: float = 30) -> subprocess.CompletedProcess[bytes]:
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LANG": "C.UTF-8"}
    return subprocess.run(
        one.argv, input=one.stdin, capture_output=True, env=environment, cwd=cwd, timeout=seconds, check=False
    )


def left(shell: Shell, script: str, cwd: Path | None = None, **inputs: Input) -> Plaintext | Absence:
    """What a script that ends well leaves."""
    done = ran(program(shell, script, inputs, {}), cwd)
    assert (done.returncode, done.stderr) == (0, b"")
    return harvest(Plaintext(done.stdout))


@pytest.mark.parametrize("value", HOSTILE[:-1])
@pytest.mark.parametrize("shell", [*SHELLS, pytest.param("PowerShell", marks=POWERSHELL)])
def test_a_hostile_input_comes_through_as_it_is_and_runs_nothing(shell: Shell, value: str, tmp_path: Path) -> None:
    assert left(shell, ASSIGNED[shell], tmp_path, path=value) == Plaintext(value.encode())
    assert list(tmp_path.iterdir()) == []


IN_BASH = """
bare=@@
double="<@@>"
single='<@@>'
ansi=$'<@@>'
nested="$(printf '%s.' '@@')"
here=$(cat <<EOF
'@@'
EOF
printf .)
one() { printf '%s' "$#$1"; }
secret="$bare|$double|$single|$ansi|$nested|$here|$(one @@; printf .)|$path"
"""
IN_PYTHON = """
bare = @@
secret = bare + '|<@@>' + "|<@@>" + f"|{bare}@@" + '''|@@''' + b"|@@".decode("utf-8", "surrogateescape") + "|" + path
"""


def expected(shell: Shell, raw: bytes) -> bytes:
    if shell == "Python":
        return b"%b|<%b>|<%b>|%b%b|%b|%b|%b" % ((raw,) * 8)
    return b"%b|<%b>|<%b>|<%b>|%b.|'%b'\n.|1%b.|%b" % ((raw,) * 8)


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize(("shell", "script"), [("Bash", IN_BASH), ("Python", IN_PYTHON)])
def test_an_expression_is_its_value_in_every_kind_of_quotes(
    shell: Shell, script: str, value: str, tmp_path: Path
) -> None:
    found = left(shell, script.replace("@@", PATH), tmp_path, path=value)
    assert found == Plaintext(expected(shell, value.encode()))
    assert list(tmp_path.iterdir()) == []


VALUES = st.binary(max_size=60).map(lambda raw: raw.replace(b"\0", b"")) | st.sampled_from(HOSTILE).map(str.encode)


@pytest.mark.parametrize(("shell", "script"), [("Bash", IN_BASH), ("Python", IN_PYTHON)])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(VALUES | st.sampled_from([b"'", b'"', b"\\", b"$", b"\n", b"\x01", b"\x7f", b"\xff"]), max_size=6)
)
def test_any_bytes_but_null_come_through_exactly(shell: Shell, script: str, parts: list[bytes], tmp_path: Path) -> None:
    raw = b"".join(parts)
    assert left(shell, script.replace("@@", PATH), tmp_path, path=Plaintext(raw)) == Plaintext(expected(shell, raw))
    assert list(tmp_path.iterdir()) == []


GARBAGE = st.lists(
    st.sampled_from(
        ["'", '"', "\\", "`", "$(", ")", "(", "${x:-", "}", "$'", "<<EOF\n", "EOF\n", "\n", "#", " ", "a", "@@"]
    ),
    max_size=25,
).map("".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=GARBAGE)
def test_a_wrong_guess_of_the_quotes_runs_nothing_of_a_value(script: str, tmp_path: Path) -> None:
    """Whatever stands around the expressions, the value's own quotes and substitutions are never parsed."""
    value = "x'; touch pwned; \"; touch pwned; `touch pwned`; $(touch pwned)\ntouch pwned\n"
    try:
        one = program("Bash", script.replace("@@", PATH), {"path": value}, {})
    except Malformed:
        return
    ran(one, tmp_path)
    assert not (tmp_path / "pwned").exists()


@given(st.binary())
def test_a_word_of_bash_is_one_word(raw: bytes) -> None:
    quoted = bash_quoted(raw)
    assert quoted.replace(rb"'\''", b"").count(b"'") == 2
    assert quoted[1:-1].replace(rb"'\''", b"'") == raw


@given(st.binary())
def test_an_expression_of_python_is_one_literal(raw: bytes) -> None:
    text = eval(python_quoted(raw), {"__privyseal_text": lambda one: one.decode("utf-8", "surrogateescape")})  # noqa: S307
    assert text.encode("utf-8", "surrogateescape") == raw


@pytest.mark.parametrize("shell", SHELLS)
def test_a_value_of_a_megabyte_comes_through(shell: Shell) -> None:
    raw = (b"'\"$(x)`\\\n" * 120_000)[:1_000_000]
    assert left(shell, ASSIGNED[shell], path=Plaintext(raw)) == Plaintext(raw)


@pytest.mark.parametrize("shell", ["Bash", "Python", "PowerShell"])
def test_a_value_with_a_null_byte_is_refused_and_not_repeated(shell: Shell) -> None:
    for value in (Plaintext(b"hunter2\0"), "hunter2\0"):
        with pytest.raises(Malformed) as caught:
            program(shell, "x", {"path": value}, {})
        assert caught.value.code == "value_unfit" and "hunter2" not in caught.value.detail and caught.value.hint
    with pytest.raises(Malformed):
        program(shell, TOKEN if shell != "PowerShell" else f'"{TOKEN}"', {}, {"account.token": Plaintext(b"\0")})


def test_a_value_that_is_no_text_is_refused_where_the_shell_has_only_texts() -> None:
    with pytest.raises(Malformed) as caught:
        program("PowerShell", "x", {"path": Plaintext(b"\xff")}, {})
    assert caught.value.code == "value_unfit"
    with pytest.raises(Malformed):
        program("Bash", "x", {"path": "\ud800"}, {})


@pytest.mark.parametrize("shell", ["Bash", "Python", "PowerShell"])
def test_nothing_of_a_script_or_a_value_is_in_an_argument(shell: Shell) -> None:
    one = program(shell, f'x = "{PATH}{TOKEN}"', {"path": "hunter2"}, {"account.token": Plaintext(b"hunter3")})
    assert one.argv == program(shell, "other", {}, {}).argv
    assert "hunter" not in repr(one)


def test_a_script_of_powershell_is_pure_ascii_whatever_it_holds() -> None:
    one = program("PowerShell", 'Write-Host "né\u2019 <+spec.environmentVariables.path>"', {"path": "\u2018é\n'"}, {})
    assert one.stdin.isascii() and b"${path} = [Text.Encoding]" in one.stdin and b"${__privyseal_0__} = " in one.stdin


@pytest.mark.parametrize("shell", [*SHELLS, pytest.param("PowerShell", marks=POWERSHELL)])
def test_a_secret_that_a_script_names_is_in_its_expression(shell: Shell) -> None:
    scripts = {"Bash": f"secret={TOKEN}", "Python": f"secret = {TOKEN}", "PowerShell": f'$secret = "{TOKEN}"'}
    done = ran(program(shell, scripts[shell], {}, {"account.token": Plaintext(b"hunter2 '")}))
    assert harvest(Plaintext(done.stdout)) == Plaintext(b"hunter2 '")


def test_a_text_that_is_joined_is_one_value() -> None:
    script = 'secret=<+"https://".concat(spec.environmentVariables.path) + "/$(x)"><+"!">'
    assert left("Bash", script, path=Plaintext(b"a b")) == Plaintext(b"https://a b/$(x)!")


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_script_does_to_a_variable_does_not_change_its_expression(shell: Shell) -> None:
    scripts = {"Bash": f'path=x; secret="{PATH}$path"', "Python": f"path = 'x'; secret = '{PATH}' + path"}
    assert left(shell, scripts[shell], path="a") == Plaintext(b"ax")


def test_a_secret_that_is_not_given_is_refused() -> None:
    with pytest.raises(Malformed) as caught:
        program("Bash", TOKEN, {}, {"token": Plaintext(b"x")})
    assert caught.value.code == "secret_unlisted" and "account.token" in caught.value.detail
    with pytest.raises(Malformed) as caught:
        program("Bash", PATH, {}, {})
    assert caught.value.code == "expression_unknown"


@pytest.mark.parametrize("shell", [*SHELLS, pytest.param("PowerShell", marks=POWERSHELL)])
def test_a_script_that_writes_has_the_value_in_secret(shell: Shell, tmp_path: Path) -> None:
    scripts = {
        "Bash": 'printf %s "$secret" > kept',
        "Python": "open('kept', 'wb').write(secret.encode('utf-8', 'surrogateescape'))",
        "PowerShell": "[IO.File]::WriteAllText((Join-Path (Get-Location) 'kept'), $secret)",
    }
    value = b"it's $(x)\n" + (b"" if shell == "PowerShell" else b"\xff")
    assert ran(program(shell, scripts[shell], {}, {}, Plaintext(value)), tmp_path).returncode == 0
    assert (tmp_path / "kept").read_bytes() == value


def test_the_value_of_an_input_is_filled_with_secrets() -> None:
    secrets = {"account.token": Plaintext(b"t"), "b": Plaintext(b"\xff")}
    assert filled('a<+"b">', secrets) == "ab"
    assert filled(f'user:{TOKEN}<+"@"><+secrets.getValue("b")>', secrets) == Plaintext(b"user:t@\xff")
    for text, code in (
        ('<+secrets.getValue("other")>', "secret_unlisted"),
        ("<+variable.x>", "expression_unknown"),
        (f"{TOKEN}<+x>", "expression_unknown"),
    ):
        with pytest.raises(Malformed) as caught:
            filled(text, secrets)
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("shell", "script", "value"),
    [
        ("Bash", "true", Absence.UNSET),
        ("Bash", "secret=", Absence.EMPTY),
        ("Bash", "secret=null", Absence.NULL),
        ("Bash", "secret=nullable", Plaintext(b"nullable")),
        ("Bash", "secret=$'a\\n\\n'", Plaintext(b"a\n\n")),
        ("Bash", "secret=x; exit", Plaintext(b"x")),
        ("Bash", "secret=x; exit 0; secret=y", Plaintext(b"x")),
        ("Bash", "f() { local secret=y; exit 0; }; secret=x; f", Plaintext(b"y")),
        ("Bash", "set -euo pipefail; secret=x", Plaintext(b"x")),
        ("Bash", "set -o posix; secret=x; exit 0", Plaintext(b"x")),
        ("Bash", "secret=x; trap 'secret=late' EXIT", Plaintext(b"x")),
        ("Bash", "trap 'true' EXIT; secret=x; exit 0", Plaintext(b"x")),
        ("Bash", "trap 'exit 0' EXIT; secret=x; exit 0", Plaintext(b"x")),
        ("Bash", "secret=x; unset -f exit; exit 0", Plaintext(b"x")),
        ("Bash", "secret=x; (exit 3); y=$(exit 4); echo | (secret=z; exit 0)", Plaintext(b"x")),
        ("Bash", "IFS=x; secret='axb c'", Plaintext(b"axb c")),
        ("Bash", "printf() { :; }; secret=x", Plaintext(b"x")),
        ("Bash", 'read -r a || secret="none$a$(cat)"', Plaintext(b"none")),
        ("Bash", "secret=x; exec 1>&- 2>&-", Plaintext(b"x")),
        ("Bash", "set -- a b; shift; secret=$1$#", Plaintext(b"b1")),
        ("Python", "pass", Absence.UNSET),
        ("Python", "secret = None", Absence.UNSET),
        ("Python", "secret = ''", Absence.EMPTY),
        ("Python", "secret = b'null'", Absence.NULL),
        ("Python", "secret = b'\\xff\\n'", Plaintext(b"\xff\n")),
        ("Python", "secret = bytearray(b'x')", Plaintext(b"x")),
        ("Python", "secret = 'é'; raise SystemExit", Plaintext("é".encode())),
        ("Python", "import os; child = os.fork(); secret = 'x'; child and os.wait()", Plaintext(b"x")),
        ("Python", "import sys; secret = 'x'; sys.exit(0)", Plaintext(b"x")),
        ("Python", "import sys; secret = 'none' + sys.stdin.read()", Plaintext(b"none")),
        (
            "Python",
            "def f():\n    return g()\ndef g():\n    return 'x'\nsecret = f() + __name__",
            Plaintext(b"x__main__"),
        ),
    ],
)
def test_the_variable_secret_is_the_value(shell: Shell, script: str, value: Plaintext | Absence) -> None:
    assert left(shell, script) == value


@pytest.mark.parametrize("number", [10, 11])
def test_a_file_that_a_script_opens_as_our_descriptor_gets_no_value(number: int, tmp_path: Path) -> None:
    done = ran(program("Bash", f"exec {number}>lock; secret=hunter2", {}, {}), tmp_path)
    assert (done.stdout, (tmp_path / "lock").read_bytes()) == (b"", b"")


def test_an_expression_in_a_class_of_python_is_no_private_name() -> None:
    assert left("Python", f"class A:\n    b = {PATH}\nsecret = A.b", path="x") == Plaintext(b"x")


@pytest.mark.parametrize(
    ("shell", "script", "status"),
    [
        ("Bash", "secret=x; exit 3", 3),
        ("Bash", "secret=x; false", 1),
        ("Bash", "set -e; secret=x; false; secret=y", 1),
        ("Bash", "set -u; secret=x; echo $undefined", 127),
        ("Bash", "secret=x; 'unclosed", 2),
        ("Bash", "secret=x\nif true", 2),
        ("Bash", "secret=x\n)", 2),
        ("Bash", "trap 'exit 4' EXIT; secret=x; exit 0", 4),
        ("Bash", "there-is-no-such-program", 127),
        ("Python", "secret = 'x'; raise SystemExit(3)", 3),
        ("Python", "import sys; secret = 'x'; sys.exit('why')", 1),
        ("Python", "secret = 1 / 0", 1),
        ("Python", "secret = ", 1),
        ("Python", "secret = 42", 1),
        ("Python", "secret = '\\ud800'", 1),
    ],
)
def test_a_script_that_fails_has_no_value_whatever_it_set(shell: Shell, script: str, status: int) -> None:
    assert ran(program(shell, script, {}, {})).returncode == status


@pytest.mark.parametrize(
    ("shell", "script"),
    [
        ("Bash", "secret=x; exec true"),
        ("Bash", 'secret=x; for one in 3 4 5 6 7 8 9 10 11 12; do eval "exec $one>&-"; done'),
        ("Bash", "secret=x; set -n"),
        ("Python", "import os; secret = 'x'; os._exit(0)"),
    ],
)
def test_a_script_that_does_not_come_to_its_end_has_no_value(shell: Shell, script: str) -> None:
    done = ran(program(shell, script, {}, {}))
    assert done.returncode == 0
    with pytest.raises(Unavailable) as caught:
        harvest(Plaintext(done.stdout))
    assert caught.value.code == "script_unfinished"


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_script_hands_over_is_not_taken_for_whole_before_its_last_byte(shell: Shell) -> None:
    value = "né €:𝄞+5:\n"
    written = ran(program(shell, ASSIGNED[shell], {"path": value}, {})).stdout
    assert handed_over(Plaintext(written)) == (Plaintext(value.encode()),)
    for length in range(len(written)):
        cut = Plaintext(written[:length])
        assert handed_over(cut) is None
        with pytest.raises(Unavailable) as caught:
            harvest(cut)
        assert caught.value.code == "script_unfinished"


@pytest.mark.parametrize("written", [b"+1:xx", b"+-1:", b"+01:x", b"+ 1:x", b"+1x", b"1:x", b"--", b":", b"+:"])
def test_what_is_no_handing_over_is_none(written: bytes) -> None:
    assert handed_over(Plaintext(written)) is None


def test_a_script_may_have_a_locale_of_its_own() -> None:
    assert left("Bash", "export LC_ALL=C.UTF-8 LANG=C; secret=né") == Plaintext("né".encode())


@pytest.mark.parametrize(
    ("shell", "script"),
    [
        ("Bash", "echo fake; echo +fake >&1; secret=x; (echo fake); sh -c 'echo fake'"),
        ("Python", "import os; print('fake'); os.write(1, b'+fake'); os.system('echo fake'); secret = 'x'"),
    ],
)
def test_what_a_script_prints_is_not_its_value(shell: Shell, script: str) -> None:
    done = ran(program(shell, script, {}, {}))
    assert done.stdout == b"+1:x" and done.stderr.count(b"fake") >= 3


def test_a_script_that_is_traced_does_not_trace_the_value_that_it_hands_over() -> None:
    done = ran(program("Bash", "secret=$(printf hun; printf ter2); set -x; exit 0", {}, {}))
    assert done.stdout == b"+7:hunter2" and b"hunter2" not in done.stderr


def test_no_value_is_in_the_environment_of_what_a_script_runs() -> None:
    script = f'printf %s "{PATH}{TOKEN}$path" > /dev/null; env; cat /proc/$$/environ /proc/$$/cmdline'
    done = ran(program("Bash", script, {"path": "hunter2"}, {"account.token": Plaintext(b"hunter3")}))
    assert done.returncode == 0 and b"PATH=" in done.stderr and b"hunter" not in done.stderr


@pytest.mark.parametrize(
    ("end", "error", "code"),
    [
        ((None, 15, "timed_out"), Expired, "script_timed_out"),
        ((0, None, "timed_out"), Expired, "script_timed_out"),
        ((3, None, "exited"), Unavailable, "script_failed"),
        ((None, 9, "exited"), Unavailable, "script_failed"),
        ((0, None, "cancelled"), Unavailable, "script_failed"),
    ],
)
def test_an_end_that_is_no_success_is_an_error(end: tuple[object, ...], error: type[PrivySealError], code: str) -> None:
    with pytest.raises(error) as caught:
        check_end(*end)  # type: ignore[arg-type]
    assert caught.value.code == code and caught.value.hint
    check_end(0, None, "exited")
