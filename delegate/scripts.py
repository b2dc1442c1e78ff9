"""Scripts: a template's script as a program whose values come by its standard input, and what it leaves in `secret`.

    bash, python3 or pwsh with a fixed text as argument  <-  values, each quoted; our frame; the script, quoted like a value
    standard output: `+`, the variable's length in bytes, `:` and its exact bytes, or `-` where it isn't set
    standard error: what the script itself prints

Promises: no value and no part of the script is in an argument, the environment or a file; no value is parsed by the shell; an
end of the script by `exit` is as good as its last line. Must not run anything: `delegate.scripts_local` does, or one over SSH.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from shared.crypto.plaintext import Plaintext
from shared.documents.secret import LARGEST_VALUE_BYTES
from shared.errors import Expired, Malformed, Unavailable
from shared.expressions import Expression, Joined, SecretValue, Text, Variable, parse_text
from shared.templates import RESULT, Shell, check_script, composed, input_of, reference_of

Input = str | Plaintext
"""What a variable is given: a text, or bytes that nobody may see."""

LARGEST_OUTPUT_BYTES = LARGEST_VALUE_BYTES + len(f"+{LARGEST_VALUE_BYTES}:")
"""What a program writes for the longest value."""


@dataclass(frozen=True, slots=True)
class Program:
    """What is to be started and what it reads. The arguments are fixed texts: they hold nothing of a script or a value."""

    argv: tuple[str, ...]
    stdin: bytes = field(repr=False)


class Absence(Enum):
    """Why a script that ended well has left no value."""

    UNSET = "the variable secret isn't set"
    EMPTY = "the variable secret is empty"
    NULL = "the variable secret is the text null"


BASH = ("bash", "--noprofile", "--norc", "-c", 'eval "$(cat)"')
PYTHON = (
    "python3", "-I", "-c", "import sys; exec(compile(sys.stdin.buffer.read(), '<privyseal>', 'exec', 0, True))",
)  # fmt: skip
POWERSHELL = (
    "pwsh", "-NoLogo", "-NoProfile", "-NonInteractive", "-Command", ". ([ScriptBlock]::Create((@($input) -join [char]10)))",
)  # fmt: skip
"""With -Command, PowerShell reads its standard input itself and gives its lines in $input (about_Pwsh)."""

_BASH_FRAME = rb"""
exec {__privyseal_out}>&1 {__privyseal_twin}>&1 1>&2
__privyseal_hand() {
  { set +xv; } 2>/dev/null
  [[ $BASHPID == "$$" && -n ${__privyseal_out-} ]] || return 0
  [[ /dev/fd/$__privyseal_out -ef /dev/fd/$__privyseal_twin ]] || return 0
  if [[ -n ${secret+set} ]]; then
    builtin local LC_ALL=C
    builtin printf '+%d:%s' "${#secret}" "$secret" >&"$__privyseal_out" || return 0
  else
    builtin printf '-' >&"$__privyseal_out" || return 0
  fi
  __privyseal_out=
}
exit() {
  local __privyseal_status=$?
  __privyseal_hand
  builtin exit "${@:-$__privyseal_status}"
}
trap __privyseal_hand EXIT
eval -- "$__privyseal_script"
exit
"""
"""A trap of the script's own replaces ours, so that `exit` hands over too; in a subshell neither does.

A script that opens a file as the descriptor that we have would be handed its own value there: then the twin is another's.
The locale is C so that a length is one in bytes.
"""

_PYTHON_FRAME = rb"""
def __privyseal_run(inputs, variables, script):
    import ast, os, re, signal
    out = os.dup(1)
    os.dup2(2, 1)
    ours = os.getpid()
    marks = re.compile(r"__privyseal_[0-9]+__")
    class Filled(ast.NodeTransformer):
        def visit_Constant(self, node):
            if isinstance(node.value, str):
                node.value = marks.sub(lambda one: variables[one[0]], node.value)
            elif isinstance(node.value, bytes):
                text = node.value.decode("latin-1")
                node.value = marks.sub(lambda one: coded(variables[one[0]]).decode("latin-1"), text).encode("latin-1")
            return node
    def coded(text):
        return text.encode("utf-8", "surrogateescape")
    names = {"__name__": "__main__", "__builtins__": __builtins__, **inputs, **variables}
    tree = Filled().visit(ast.parse(script, "<script>"))
    def hand():
        if os.getpid() != ours:
            return
        secret = names.get("secret")
        if isinstance(secret, str):
            try:
                secret = coded(secret)
            except UnicodeError:
                raise SystemExit("secret is no text that UTF-8 can hold") from None
        if secret is not None and not isinstance(secret, (bytes, bytearray)):
            raise SystemExit("secret is neither str nor bytes")
        with os.fdopen(out, "wb") as file:
            file.write(b"-" if secret is None else b"+%d:%s" % (len(secret), secret))
    def end(number, frame):
        raise SystemExit(128 + number)
    signal.signal(signal.SIGTERM, end)
    try:
        exec(compile(tree, "<script>", "exec", 0, True), names)
    except SystemExit as ended:
        if ended.code not in (None, 0):
            raise
    finally:
        hand()
def __privyseal_text(raw):
    return raw.decode("utf-8", "surrogateescape")
"""
"""A script that fails hands over too: its value is then masked in what it printed."""

_POWERSHELL_FRAME = b"""
$ErrorActionPreference = 'Stop'
try {
  . ([ScriptBlock]::Create($__privyseal_script)) *>&1 | ForEach-Object { [Console]::Error.WriteLine("$_") }
} finally {
  $__privyseal_raw = (New-Object Text.UTF8Encoding $false).GetBytes([string]$secret)
  $__privyseal_head = if ($null -eq $secret) { '-' } else { '+' + $__privyseal_raw.Length + ':' }
  $__privyseal_head = [Text.Encoding]::ASCII.GetBytes($__privyseal_head)
  $__privyseal_out = [Console]::OpenStandardOutput()
  $__privyseal_out.Write($__privyseal_head, 0, $__privyseal_head.Length)
  $__privyseal_out.Write($__privyseal_raw, 0, $__privyseal_raw.Length)
  $__privyseal_out.Flush()
}
"""


def bash_quoted(raw: bytes) -> bytes:
    """A word of Bash that is these bytes; none may be null."""
    return b"'" + raw.replace(b"'", rb"'\''") + b"'"


def python_quoted(raw: bytes) -> bytes:
    """An expression of Python that is these bytes as a text, what isn't UTF-8 as lone surrogates (PEP 383)."""
    return b"__privyseal_text(" + repr(raw).encode() + b")"


def powershell_quoted(raw: bytes) -> bytes:
    """An expression of PowerShell that is these bytes as a text; they are UTF-8. Its quotes have too many forms to escape."""
    return b"[Text.Encoding]::UTF8.GetString([Convert]::FromBase64String('" + base64.b64encode(raw) + b"'))"


def program(
    shell: Shell,
    script: str,
    inputs: Mapping[str, Input],
    secrets: Mapping[str, Plaintext],
    value: Plaintext | None = None,
) -> Program:
    """The program that runs a script with `inputs` in variables and `secrets` by their references.

    With `value`, which a script is to write, `secret` holds it from the beginning. Raises Malformed for a script that isn't
    understood, that uses what isn't given, and for a value that the shell can't hold.
    """
    check_script(shell, script, inputs)
    found = composed(shell, script)
    raw = {name: _raw(shell, f"the input {name}", text) for name, text in inputs.items()}
    variables = {name: _held(shell, expression, raw, secrets) for name, expression in found.variables.items()}
    if value is not None:
        raw[RESULT] = _raw(shell, "the value to be written", value)
    write: Callable[..., bytes] = {"Bash": _bash, "Python": _python, "PowerShell": _powershell}[shell]
    argv = {"Bash": BASH, "Python": PYTHON, "PowerShell": POWERSHELL}[shell]
    return Program(argv, write(raw, variables, found.script.encode()))


def filled(text: str, secrets: Mapping[str, Plaintext]) -> Input:
    """The value of an input whose expressions name secrets: a text where there are none. Raises Malformed."""
    parts = parse_text(text)
    if not any(isinstance(part, SecretValue) for part in parts):
        return "".join(part if isinstance(part, str) else _text(part) for part in parts)
    return Plaintext(
        b"".join(
            part.encode()
            if isinstance(part, str)
            else _secret(part, secrets).reveal()
            if isinstance(part, SecretValue)
            else _text(part).encode()
            for part in parts
        )
    )


def handed_over(stdout: Plaintext) -> tuple[Plaintext, ...] | None:
    """The value that a script left, or none, from all that its program wrote; None where it was ended before it had told it whole."""
    raw = stdout.reveal()
    if raw == b"-":
        return ()
    head, _, value = raw.partition(b":")
    return (Plaintext(value),) if head == b"+%d" % len(value) else None


def harvest(stdout: Plaintext) -> Plaintext | Absence:
    """What a script left, from all that its program wrote. Raises Unavailable where it didn't come to its end."""
    handed = handed_over(stdout)
    if handed is None:
        raise Unavailable(
            "script_unfinished",
            "the script ended without handing over the variable secret",
            "let it end by its last line or by exit, and not by exec; it must leave descriptors alone that it didn't open",
        )
    if not handed:
        return Absence.UNSET
    if not len(handed[0]):
        return Absence.EMPTY
    return Absence.NULL if handed[0].reveal() == b"null" else handed[0]


def check_end(exit: int | None, signal: int | None, reason: Literal["exited", "timed_out", "cancelled"]) -> None:
    """Raises Expired for a script that took too long, Unavailable for one that failed; what it printed isn't told."""
    if reason == "timed_out":
        raise Expired(
            "script_timed_out",
            "the script took longer than it may, and was ended",
            "see what it waits for, or give the connector a longer timeout",
        )
    if reason == "cancelled" or signal is not None or exit is None:
        how = "was ended" if signal is None else f"was ended by signal {signal}"
        raise Unavailable(
            "script_failed",
            f"the script {how}",
            "it may have met a limit: look for script.failed in the delegate's log",
        )
    if exit != 0:
        raise Unavailable(
            "script_failed",
            f"the script ended with status {exit}",
            "what it printed stands, masked, at script.failed in the delegate's log",
        )


def _held(shell: Shell, expression: Expression, inputs: Mapping[str, bytes], secrets: Mapping[str, Plaintext]) -> bytes:
    match expression:
        case SecretValue():
            return _raw(shell, f"the secret {reference_of(expression)}", _secret(expression, secrets))
        case Text(text):
            return _raw(shell, "a text in an expression", text)
        case Variable(path):
            return inputs[input_of(path)]
        case Joined(parts):
            return b"".join(_held(shell, part, inputs, secrets) for part in parts)


def _secret(expression: SecretValue, secrets: Mapping[str, Plaintext]) -> Plaintext:
    reference = reference_of(expression)
    found = secrets.get(reference)
    if found is None:
        raise Malformed(
            "secret_unlisted",
            f"the expression at {expression.place} names the secret {reference}, which the template doesn't list",
            "apply the template again",
        )
    return found


def _text(expression: Expression) -> str:
    if not isinstance(expression, Text):
        raise Malformed(
            "expression_unknown",
            "the value of an input uses a variable",
            'it may use <+secrets.getValue("account.NAME")> alone',
        )
    return expression.text


def _raw(shell: Shell, what: str, text: Input) -> bytes:
    """The bytes for a variable. Raises Malformed where the shell has none that could hold them."""
    try:
        raw = text.reveal() if isinstance(text, Plaintext) else text.encode()
        if shell == "PowerShell":
            raw.decode()
    except UnicodeError:
        raise _unfit(what, "isn't UTF-8", shell) from None
    if b"\0" in raw:
        raise _unfit(what, "has a null byte", shell)
    return raw


def _unfit(what: str, why: str, shell: Shell) -> Malformed:
    return Malformed(
        "value_unfit",
        f"{what} {why}, which no variable of {shell} can hold",
        "store it as base64 and have the script decode it",
    )


def _bash(values: Mapping[str, bytes], variables: Mapping[str, bytes], script: bytes) -> bytes:
    given = {**values, **variables, "__privyseal_script": script}
    return b"".join(b"%s=%s\n" % (name.encode(), bash_quoted(raw)) for name, raw in given.items()) + _BASH_FRAME


def _python(values: Mapping[str, bytes], variables: Mapping[str, bytes], script: bytes) -> bytes:
    call = b", ".join((_mapping(values), _mapping(variables), repr(script).encode()))
    return _PYTHON_FRAME + b"__privyseal_run(" + call + b")\n"


def _mapping(values: Mapping[str, bytes]) -> bytes:
    pairs = (repr(name).encode() + b": " + python_quoted(raw) for name, raw in values.items())
    return b"{" + b", ".join(pairs) + b"}"


def _powershell(values: Mapping[str, bytes], variables: Mapping[str, bytes], script: bytes) -> bytes:
    given = {**values, **variables, "__privyseal_script": script}
    lines = (b"${%s} = %s\n" % (name.encode(), powershell_quoted(raw)) for name, raw in given.items())
    return b"".join(lines) + _POWERSHELL_FRAME
