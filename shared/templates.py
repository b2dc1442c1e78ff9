"""What a template's scripts may use, and how they come to it: the inputs and secrets that expressions name become variables.

    <+spec.environmentVariables.NAME>       an input, which is also in the variable NAME (also <+secretManager. ...>)
    <+secrets.getValue("account.NAME")>     a stored secret; a template says by itself which, so a text alone names it

Promises: a script is checked in the same way by who signs it and by who runs it; no value ever becomes a part of a script's
text, so none is parsed; no input can change how a shell works. Must not hold a value.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from shared.command import check_variable
from shared.errors import Malformed
from shared.expressions import (
    Expression,
    Joined,
    SecretCall,
    SecretValue,
    Text,
    Variable,
    evaluate,
    parse_text,
)
from shared.names import SECRET_REFERENCE
from shared.powershell_quoting import PowerShell
from shared.quoting import Bash, Reader

Shell = Literal["Bash", "PowerShell", "Python"]

INPUTS = ("spec.environmentVariables.", "secretManager.environmentVariables.")
"""What stands before an input's name; public examples of today have the second."""

RESULT = "secret"
"""The variable that a script leaves the value in."""

OURS = "__privyseal_"
"""What the names of our own variables begin with."""

_reference = re.compile(SECRET_REFERENCE)
_RESERVED = re.compile(
    r"(_|__.*|BASH.*|COMP_.*|COPROC|CDPATH|DIRSTACK|EPOCH.*|EUID|EXECIGNORE|FCEDIT|FIGNORE|FUNC(NAME|NEST)|GLOBIGNORE|GLOBSORT|"
    r"GROUPS|HIST.*|HOST(NAME|TYPE)|INPUTRC|INSIDE_EMACS|LANG|LANGUAGE|LC_.*|LINENO|LINES|COLUMNS|MACHTYPE|MAIL.*|MAPFILE|NLSPATH|"
    r"OLDPWD|OPTARG|OPTERR|OPTIND|OSTYPE|PIPESTATUS|POSIXLY_CORRECT|PPID|PROMPT_.*|PS[0-9]|PWD|RANDOM|READLINE_.*|REPLY|SECONDS|"
    r"SHELL|SHLVL|SRANDOM|TERM|TIMEFORMAT|TMOUT|UID|PYTHON.*|TEMP|TMP|(HTTPS?|FTP|ALL|NO)_PROXY|(https?|ftp|all|no)_proxy)\Z"
)
_AUTOMATIC = frozenset(
    """
    args consolefilename error event eventargs eventsubscriber executioncontext false foreach home host input iscoreclr islinux
    ismacos iswindows lastexitcode matches myinvocation nestedpromptlevel null pid profile psboundparameters pscmdlet
    pscommandpath psculture psdebugcontext psedition pshome psitem psscriptroot pssenderinfo psuiculture psversiontable pwd sender
    shellid stacktrace switch this true env psmoduleautoloadingpreference psdefaultparametervalues ofs outputencoding
    psnativecommandargumentpassing psnativecommanduseerroractionpreference
    """.split()
)
"""PowerShell's own variables, whatever their case (about_Automatic_Variables, about_Preference_Variables)."""


@dataclass(frozen=True, slots=True)
class Used:
    """The inputs and the secrets' references that a script uses, sorted, each once."""

    inputs: tuple[str, ...]
    secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Composed:
    """A script whose expressions are references to variables, and what each of these variables holds."""

    script: str
    variables: Mapping[str, Expression]


def check_input(shell: Shell, name: str) -> None:
    """Raises Malformed for the name of an input that a script couldn't have as a variable, or that means something to the shell."""
    if _means_something(shell, name):
        raise Malformed(
            "input_reserved",
            f"the input {name} has no name of a variable, or one that means something to {shell} or to us",
            "give it another name, of letters, digits and _",
        )


def _means_something(shell: Shell, name: str) -> bool:
    try:
        check_variable(name)
    except Malformed:
        return True
    if name == RESULT or _RESERVED.match(name):
        return True
    if shell == "PowerShell":
        folded = name.lower()
        return folded == RESULT or folded in _AUTOMATIC or folded.endswith("preference")
    return shell == "Python" and keyword.iskeyword(name)


def check_script(shell: Shell, script: str, inputs: Iterable[str]) -> Used:
    """What a script uses. Raises Malformed for one that isn't understood, or uses anything but `inputs` and stored secrets."""
    names = list(inputs)
    for name in names:
        check_input(shell, name)
    spellings = {name.lower() if shell == "PowerShell" else name for name in names}
    if len(spellings) < len(names):
        raise Malformed("input_doubled", "two inputs of the template have one name", "give each its own")
    used_inputs: set[str] = set()
    used_secrets: set[str] = set()
    for expression in composed(shell, script).variables.values():
        if isinstance(expression, SecretValue):
            used_secrets.add(reference_of(expression))
        else:
            used_inputs.update(_inputs_of(expression, names))
    return Used(tuple(sorted(used_inputs)), tuple(sorted(used_secrets)))


def secrets_in(text: str) -> tuple[str, ...]:
    """The references of the secrets in the value of an input, sorted, each once. Raises Malformed for any other expression."""
    found: set[str] = set()
    for part in parse_text(text):
        if isinstance(part, SecretValue):
            found.add(reference_of(part))
        elif not isinstance(part, str):
            evaluate(part, {})
    return tuple(sorted(found))


def reference_of(secret: SecretValue) -> str:
    """`account.NAME`, `org.NAME` or `NAME`. Raises Malformed for a name that isn't fixed, and for what is no stored secret."""
    if not isinstance(secret.reference, Text):
        raise Malformed(
            "expression_secret_unfixed",
            f"the expression at {secret.place} names a secret by a variable, so that nobody could say which may be used",
            'name it by a text, or make an input of it whose value is <+secrets.getValue("...")>',
        )
    call = evaluate(secret, {})
    assert isinstance(call, SecretCall)
    if not _reference.match(call.reference):
        raise Malformed(
            "reference_malformed",
            f"the expression at {secret.place} names what is no stored secret",
            "write account.NAME, org.NAME or NAME",
        )
    return call.reference


def composed(shell: Shell, script: str) -> Composed:
    """The script as it is run. Raises Malformed for an expression that isn't understood or can't stand where it does."""
    if OURS in script:
        raise Malformed(
            "script_malformed", f"the script has {OURS} in it, which our own names begin with", "leave it out"
        )
    if "\0" in script:
        raise Malformed("script_malformed", "the script has a null character", "leave it out")
    reader = _READERS[shell]()
    pieces: list[str] = []
    names: dict[Expression, str] = {}
    last: Expression = Text("")
    for part in parse_text(script):
        if isinstance(part, str):
            with _told(last):
                reader.feed(part)
            pieces.append(part)
        else:
            last = part
            name = names.setdefault(part, f"{OURS}{len(names)}__")
            with _told(part):
                pieces.append(reader.reference(name))
    with _told(last):
        # Its last word ends.
        reader.feed("\n")
    return Composed("".join(pieces), {name: expression for expression, name in names.items()})


class Python:
    """Python needs no quoting: a name stands for a variable, and within a text for what replaces it once it is parsed."""

    def feed(self, piece: str) -> None:
        """Nothing to follow."""

    def reference(self, name: str) -> str:
        """The name."""
        return name


_READERS: Mapping[Shell, Callable[[], Reader]] = {"Bash": Bash, "PowerShell": PowerShell, "Python": Python}


@contextmanager
def _told(expression: Expression) -> Iterator[None]:
    """What is wrong with an expression's place is told with that place."""
    try:
        yield
    except Malformed as error:
        place = _place(expression)
        detail = error.detail.replace("an expression", f"the expression at {place}") if place else error.detail
        raise Malformed(error.code, detail, error.hint) from None


def _place(expression: Expression) -> str:
    match expression:
        case Variable() | SecretValue():
            return expression.place
        case Joined():
            return next((one.place for one in expression.parts if isinstance(one, Variable)), "")
    return ""


def input_of(path: str) -> str:
    """The name of the input that a variable's path means."""
    return path.rpartition(".")[2]


def _inputs_of(expression: Expression, names: Iterable[str]) -> Iterable[str]:
    known = {prefix + name: name for name in names for prefix in INPUTS}
    evaluate(expression, known)
    parts = expression.parts if isinstance(expression, Joined) else (expression,)
    return [known[one.path] for one in parts if isinstance(one, Variable)]
