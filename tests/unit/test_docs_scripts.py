"""docs/scripts.md says what scripts do: its examples run, its codes and limits are those of the program."""

from __future__ import annotations

import re
import subprocess

import pytest

from delegate import scripts, scripts_local, tails
from delegate.runs import TERM_SECONDS
from delegate.scripts import BASH, POWERSHELL, PYTHON, harvest, program
from shared import expressions, quoting, references, templates
from shared.crypto.plaintext import Plaintext
from shared.documents.secret import LARGEST_VALUE_BYTES
from shared.errors import Malformed
from shared.templates import Shell, check_input, check_script
from tests.architecture.source import ROOT

PAGE = (ROOT / "docs/scripts.md").read_text()
MODULES = (expressions, quoting, references, templates, scripts, scripts_local)
SOURCE = "".join((ROOT / f"{one.__name__.replace('.', '/')}.py").read_text() for one in MODULES)
SHELLS: dict[str, Shell] = {"bash": "Bash", "python": "Python"}


def blocks() -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_error_code_is_on_the_page_and_no_other_is() -> None:
    raised = set(re.findall(r'(?:Malformed|NotFound|Unavailable|Expired|Denied)\(\s*"(\w+)"', SOURCE))
    table = PAGE.partition("## Errors")[2]
    assert set(re.findall(r"`([a-z]+_[a-z_]+)`", table)) == raised


@pytest.mark.parametrize(("language", "script"), blocks())
def test_the_examples_are_scripts(language: str, script: str) -> None:
    check_script(SHELLS[language], script, ["path"])
    if "curl" in script:
        return
    one = program(SHELLS[language], script, {}, {})
    done = subprocess.run(one.argv, input=one.stdin, capture_output=True, check=True, timeout=30)
    assert harvest(Plaintext(done.stdout)) == Plaintext(b"a value")


def test_the_limits_are_those_of_the_program() -> None:
    assert f"{LARGEST_VALUE_BYTES:,} bytes" in PAGE and f"{scripts_local.PROCESSES} processes" in PAGE
    assert f"{scripts_local.ADDRESS_BYTES >> 30} GiB of address space" in PAGE
    assert f"files of {scripts_local.FILE_BYTES >> 20} MiB" in PAGE and f"the last {tails.KEPT_BYTES >> 10} KiB" in PAGE
    assert TERM_SECONDS == 5 and "SIGTERM, five seconds, SIGKILL" in PAGE


def test_the_shells_are_started_as_the_page_says() -> None:
    told = re.findall(r"`((?:bash|python3|pwsh) -[^`]*)`", PAGE.partition("## How it runs")[2])
    for options, argv in zip(told, (BASH, PYTHON, POWERSHELL), strict=True):
        assert set(options.split()) <= set(argv)


def test_the_names_that_no_input_can_have_are_refused() -> None:
    sentence = PAGE.partition("(`input_reserved`): ")[2].partition(", names that")[0]
    for name in re.findall(r"`([^`]+)`", sentence):
        with pytest.raises(Malformed):
            check_input("Bash", name.replace("...", "X"))
