"""Whoever may choose the value of an input, and no more, attacks the script that gets it: in a real Bash, none of them runs."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from delegate.scripts import program
from shared.errors import Malformed

VALUES = (
    *("a[$(touch RUN)]", "a[`touch RUN`]+1", "x=a[$(touch RUN)]", "$(touch RUN)", "`touch RUN`", "\n: $(touch RUN)\n"),
    *('";touch RUN;"', "';touch RUN;'", "E\ntouch RUN\n", ")\ntouch RUN\n", "}$(touch RUN)", "\\", "'", '"'),
)
PIECES = (
    *(
        "'",
        '"',
        "\\",
        "`",
        "$(",
        "$((",
        "((",
        "))",
        ")",
        "${y",
        "}",
        "$'",
        "<<E\n",
        "<<-'E'\n",
        "\nE\n",
        "\n",
        "#",
        " ",
    ),
    *(
        "a",
        "@",
        "@",
        "@",
        "[[ ",
        " ]]",
        " -eq ",
        "a[",
        "]=",
        "a=(",
        "declare -i ",
        "let ",
        "; ",
        "&&",
        "|",
        "if ",
        "then ",
    ),
    *(
        "fi\n",
        "case a in a)",
        ";;",
        "esac",
        "$[",
        "]",
        "<<<",
        "<(",
        "{ ",
        "}\n",
        "while ",
        "do ",
        "echo ",
        "printf -v ",
    ),
    *("read ", "test -v ", "x=", "+", "1", "\\\n", "!", '\\"', "\\$", "#'", "it's"),
)
FRAMES = (
    *(
        "echo %s",
        "x=$(echo %s)",
        "if [[ %s ]]; then echo %s; fi",
        "cat <<E\n%s\nE\n%s",
        "%s\n%s",
        "echo \"%s\" '%s' %s",
    ),
    *("case a in a) %s;; esac; echo %s", "echo $(( %s )) %s", "`echo %s` %s", "(%s) %s", "a=(%s) %s", '"$(%s)" %s'),
)


def garbled(chance: random.Random, depth: int = 0) -> str:
    if depth < 3 and chance.random() < 0.5:
        frame = chance.choice(FRAMES)
        return frame % tuple(garbled(chance, depth + 1) for _ in range(frame.count("%s")))
    return "".join(chance.choice(PIECES) for _ in range(chance.randint(1, 8)))


@pytest.mark.parametrize("seed", range(4))
def test_no_value_runs_wherever_its_expression_stands_in_a_script(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)  # noqa: S311 (which scripts, no secret)
    taken = 0
    while taken < 40:
        script = garbled(chance).replace("@", "<+spec.environmentVariables.X>")
        try:
            made = program("Bash", script, {"X": chance.choice(VALUES)}, {})
        except Malformed:
            continue
        taken += "<+" in script
        limits = ("/bin/sh", "-c", 'ulimit -t 2 -f 100; exec "$@"', "sh", *made.argv)
        subprocess.run(limits, input=made.stdin, capture_output=True, cwd=tmp_path, timeout=20, check=False)
        assert not (tmp_path / "RUN").exists(), script
