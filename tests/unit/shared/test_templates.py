"""What a template's scripts may use: its inputs and stored secrets, by names that mean nothing to a shell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Malformed
from shared.expressions import SecretValue, Text, Variable, parse_text
from shared.templates import OURS, Shell, Used, check_input, check_script, composed, input_of, reference_of, secrets_in

PATH = "<+spec.environmentVariables.path>"
TOKEN = '<+secrets.getValue("account.token")>'
SHELLS: list[Shell] = ["Bash", "Python", "PowerShell"]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_says_which_inputs_and_secrets_it_uses(shell: Shell) -> None:
    script = f'a = "{PATH}/{PATH}" "{TOKEN}" "<+secrets.getValue(\'org.key\')>"'
    assert check_script(shell, script, ["path", "other"]) == Used(("path",), ("account.token", "org.key"))
    assert check_script(shell, "nothing", []) == Used((), ())


def test_an_input_has_the_name_that_public_examples_give_it() -> None:
    used = check_script("Bash", 'secret="<+secretManager.environmentVariables.path>"', ["path"])
    assert used.inputs == ("path",)
    assert input_of("secretManager.environmentVariables.path") == input_of("spec.environmentVariables.path") == "path"


def test_a_text_of_inputs_counts_for_each_of_them() -> None:
    script = 'curl <+spec.environmentVariables.url.concat("/").concat(spec.environmentVariables.path)> <+"text">'
    assert check_script("Bash", script, ["url", "path"]).inputs == ("path", "url")


def test_each_expression_has_one_variable_wherever_it_stands() -> None:
    found = composed("Bash", f"a '{PATH}' \"{TOKEN}\" {PATH}")
    assert found.script == 'a \'\'"${__privyseal_0__}"\'\' "${__privyseal_1__}" "${__privyseal_0__}"'
    assert found.variables == {
        "__privyseal_0__": Variable("spec.environmentVariables.path"),
        "__privyseal_1__": SecretValue(Text("account.token")),
    }
    assert composed("Python", f"a = '{PATH}'").script == "a = '__privyseal_0__'"
    assert composed("PowerShell", f'$a = "{PATH}"').script == '$a = "${__privyseal_0__}"'


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (PATH, "expression_unknown"),
        ("<+pipeline.variables.x>", "expression_unknown"),
        ("<+path>", "expression_unknown"),
        ('<+"a" + pipeline.variables.x>', "expression_unknown"),
        ("<+secrets.getValue(<+spec.environmentVariables.name>)>", "expression_secret_unfixed"),
        ('<+secrets.getValue("hashicorpvault://c/path")>', "reference_malformed"),
        ('<+secrets.getValue("project.x")>', "reference_malformed"),
        ('<+secrets.getValue("")>', "reference_malformed"),
        ("<+spec.", "expression_malformed"),
        (f"echo {OURS}0__", "script_malformed"),
        ("echo \0", "script_malformed"),
    ],
)
@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_that_uses_anything_else_is_refused(shell: Shell, script: str, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        check_script(shell, script, ["name"])
    assert caught.value.code == code and caught.value.hint


@pytest.mark.parametrize(
    ("script", "place"),
    [
        (f"echo\necho $(( {PATH} ))", "line 2, column 12"),
        (f"echo $(( {TOKEN} ))", "line 1, column 12"),
        (f"[[ {TOKEN} -eq 1 ]]", "line 1, column 6"),
        ("echo $(( <+'1' + spec.environmentVariables.path> ))", "line 1, column 18"),
    ],
)
def test_an_expression_at_a_wrong_place_is_told_with_its_place(script: str, place: str) -> None:
    with pytest.raises(Malformed) as caught:
        check_script("Bash", script, ["path"])
    assert caught.value.code == "expression_misplaced" and f"the expression at {place} " in caught.value.detail


def test_a_text_at_a_wrong_place_is_refused() -> None:
    with pytest.raises(Malformed) as caught:
        check_script("Bash", "echo $(( <+'1'> ))", [])
    assert caught.value.code == "expression_misplaced"


@pytest.mark.parametrize("name", ["path", "url", "id", "type", "host", "input", "Home", "in", "class", "_x", "x1"])
def test_the_names_that_users_give_inputs_are_taken(name: str) -> None:
    check_input("Bash", name)


@pytest.mark.parametrize(
    "name",
    [
        "PATH", "IFS", "HOME", "BASH_ENV", "ENV", "SHELLOPTS", "PS4", "LD_PRELOAD", "PYTHONPATH", "PYTHONWARNINGS", "secret",
        "__privyseal_0__", "__builtins__", "_", "PRIVYSEAL_TOKEN", "UID", "RANDOM", "LC_ALL", "LANG", "OPTIND", "HTTPS_PROXY",
        "https_proxy", "TMPDIR", "BASHPID", "SECONDS", "PWD", "GIT_SSH", "1a", "a-b", "a b", "", "a\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("shell", SHELLS)
def test_an_input_cannot_change_how_a_shell_works(shell: Shell, name: str) -> None:
    with pytest.raises(Malformed) as caught:
        check_script(shell, "x", [name])
    assert caught.value.code == "input_reserved" and caught.value.hint


@pytest.mark.parametrize(
    ("shell", "name"),
    [
        ("Python", "class"),
        ("Python", "None"),
        ("PowerShell", "Host"),
        ("PowerShell", "args"),
        ("PowerShell", "Secret"),
        ("PowerShell", "ErrorActionPreference"),
    ],
)
def test_an_input_cannot_have_a_name_that_means_something_to_its_own_shell(shell: Shell, name: str) -> None:
    with pytest.raises(Malformed):
        check_input(shell, name)
    check_input("Bash", name)


def test_two_inputs_cannot_be_one_variable() -> None:
    check_script("Bash", "x", ["path", "Path"])
    for shell, names in (("PowerShell", ["path", "Path"]), ("Bash", ["path", "path"])):
        with pytest.raises(Malformed) as caught:
            check_script(shell, "x", names)  # type: ignore[arg-type]
        assert caught.value.code == "input_doubled"


def test_the_value_of_an_input_may_name_secrets_and_no_variables() -> None:
    assert secrets_in(f'user:{TOKEN}<+"@" + "x"><+secrets.getValue("b")>{TOKEN}') == ("account.token", "b")
    assert secrets_in("plain") == ()
    with pytest.raises(Malformed) as caught:
        secrets_in("<+variable.path>")
    assert caught.value.code == "expression_unknown"


def test_a_secrets_name_may_be_made_of_texts() -> None:
    (secret,) = parse_text('<+secrets.getValue("account." + "token")>')
    assert isinstance(secret, SecretValue) and reference_of(secret) == "account.token"


@given(st.sampled_from(SHELLS), st.text(st.sampled_from("<+>'\"\\$(){}`#\n @ax.")), st.text(max_size=20))
def test_garbage_is_a_script_or_malformed(shell: Shell, script: str, name: str) -> None:
    try:
        check_script(shell, f"{script}{PATH}{script}", ["path", name])
    except Malformed:
        pass
